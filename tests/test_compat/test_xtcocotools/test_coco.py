"""Annotations and results, as xtcocotools reads them."""

import json

import numpy as np
import pytest
import xtcocotools.coco

from mmpose_ext.compat.xtcocotools import mask
from mmpose_ext.compat.xtcocotools.coco import COCO

# The second is xtcocotools' where that is installed.
pytestmark = pytest.mark.parametrize('api', [COCO, xtcocotools.coco.COCO])
BOX = [1.0, 2.0, 4.0, 3.0]


@pytest.fixture
def content():
    """Three annotations of two categories in two of three images."""
    annotations = [
        dict(id=9, image_id=7, category_id=1, area=12, iscrowd=1),
        dict(id=3, image_id=5, category_id=2, area=30, iscrowd=0),
        dict(id=4, image_id=7, category_id=2, area=12),
    ]
    for i, annotation in enumerate(annotations):
        annotation['keypoints'] = [i, 2, 2, 3, 4, 1]
        annotation['segmentation'] = [[1, 2, 5, 2, 5, 5, 1, 5]]
    return dict(
        info=dict(year=2020),
        images=[dict(id=i, width=8, height=6) for i in (7, 5, 6)],
        annotations=annotations,
        categories=[dict(id=1, name='dog'), dict(id=2, name='person')],
    )


@pytest.fixture
def path(content, tmp_path):
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(content))
    return str(path)


def test_annotations(api, path):
    coco = api(path)
    assert coco.getImgIds() == [7, 5, 6] == list(coco.imgs)
    assert coco.getImgIds(catIds=1) == [7]
    assert coco.getCatIds() == [1, 2]
    assert coco.getCatIds(catNms=['person']) == [2]
    assert coco.getAnnIds() == [9, 3, 4]
    assert coco.getAnnIds(imgIds=[5, 7]) == [3, 9, 4]
    assert coco.getAnnIds(imgIds=7, iscrowd=False) == [4]
    assert coco.getAnnIds(catIds=2, areaRng=[13, 40]) == [3]
    assert coco.getAnnIds(imgIds=6) == []
    assert coco.loadAnns(4) == coco.loadAnns([4]) == [coco.anns[4]]
    assert coco.anns[4]['iscrowd'] == 0
    assert [c['name'] for c in coco.loadCats([2, 1])] == ['person', 'dog']
    assert coco.loadImgs(6) == [dict(id=6, width=8, height=6)]
    assert coco.annToMask(coco.anns[3])[2:5, 1:5].sum() == 12


def test_content_instead_of_the_file(api, path, content):
    given = api(path, ann_data=dict(content, annotations=[]))
    assert given.anns == {} and list(given.imgs) == [7, 5, 6]
    assert api(ann_data=content).dataset == api().dataset == {}
    chosen = api(path, test_index=[1])
    assert chosen.anns[9]['keypoints'] == [3, 4, 1]


def test_results(api, path, tmp_path):
    coco = api(path)
    keypoints = dict(image_id=7, category_id=2, score=0.5)
    keypoints['keypoints'] = [1.0, 2, 0.1, 5, 5, 0]
    code = mask.encode(np.ones((6, 8), np.uint8, order='F'))
    for kind, expected in (
        (dict(keypoints), dict(bbox=BOX, area=12)),
        (dict(keypoints, bbox=BOX), dict(bbox=BOX, area=12, iscrowd=0)),
        (dict(image_id=5, category_id=2, segmentation=code), dict(area=48)),
    ):
        (found,) = coco.loadRes([kind]).anns.values()
        assert found['id'] == 1
        assert {key: found[key] for key in expected} == expected
    file = tmp_path / 'results.json'
    file.write_text(json.dumps([keypoints]))
    assert coco.loadRes(str(file)).anns[1]['area'] == 12
    assert coco.loadRes(str(file), [{**keypoints}, keypoints]).getAnnIds() == [
        1,
        2,
    ]
    rows = np.array([[5, *BOX, 0.5, 2], [7, *BOX, 0.4, 1]])
    assert coco.loadRes(rows).anns[2]['category_id'] == 1
    with pytest.raises(AssertionError, match='do not correspond'):
        coco.loadRes([dict(keypoints, image_id=8)])


def test_no_results(api, path):
    coco = api(path)
    found = coco.loadRes([])
    assert found.getImgIds() == [7, 5, 6] and found.getAnnIds() == []
