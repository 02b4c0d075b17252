"""A small annotation file, and what the reader makes of it."""

import json

import pytest

from mmpose_ext.checks import read_annotations


def person(id_, image_id, **changes):
    """A person of three keypoints, the last of which is not labelled."""
    return {
        **dict(
            id=id_,
            image_id=image_id,
            category_id=1,
            bbox=[10, 20, 30, 40],
            area=900.5,
            iscrowd=0,
            num_keypoints=2,
            keypoints=[15, 30, 2, 20.5, 35, 1, 0, 0, 0],
            segmentation=[[10, 20, 40, 20, 40, 60]],
        ),
        **changes,
    }


@pytest.fixture
def content():
    """The content of a file without any fault."""
    crowd = dict(size=[80, 100], counts=[100, 50, 7850])
    return dict(
        info=dict(year=2017),
        images=[
            dict(id=3, file_name='a.jpg', width=100, height=80),
            dict(id=4, file_name='b.jpg', width=60, height=90),
            dict(id=9, file_name='c.jpg', width=64, height=64),
        ],
        annotations=[
            person(7, 3),
            person(8, 3, iscrowd=1, segmentation=crowd),
            person(21, 4, bbox=[0, 0, 60, 90]),
        ],
        categories=[dict(id=1, name='person')],
    )


@pytest.fixture
def read(tmp_path):
    """Write a content to ``a.json``, and read it."""

    def write_and_read(content, **kwargs):
        path = tmp_path / 'a.json'
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text)
        return read_annotations(str(path), **kwargs)

    return write_and_read


@pytest.fixture
def warnings(monkeypatch):
    """The warnings of the reader."""
    from mmpose_ext.checks.coco import problems

    said = []
    monkeypatch.setattr(
        problems, 'print_log', lambda text, *_: said.append(text)
    )
    return said
