import json

import pytest

from mmpose_ext.checks import annotations
from mmpose_ext.errors import InputError


def coco(**changes):
    """What the reader makes of a file."""
    person = dict(
        id=7,
        image_id=1,
        category_id=1,
        bbox=[10, 20, 30, 40],
        area=900,
        num_keypoints=17,
        keypoints=[15, 30, 2] * 17,
        iscrowd=0,
        segmentation=[[1, 1, 5, 1, 5, 5]],
    )
    content = dict(
        images=[dict(id=1, file_name='1.jpg', width=100, height=80)],
        annotations=[person],
        categories=[dict(id=1, name='person')],
    )
    content['annotations'].append({**person, 'id': 8, **changes})
    return content


def check_persons(content, num_keypoints=17):
    annotations.check_keypoints(
        content, 'a.json', num_keypoints, 'CocoDataset'
    )


def test_annotations_of_persons():
    check_persons(coco())
    check_persons(coco(keypoints=[1, 1, 2] * 5), num_keypoints=None)
    for content, message in (
        (dict(coco(), annotations=[]), 'has no annotations'),
        (dict(coco(), annotations=[dict(bbox=[])]), 'none of its 1 annota'),
        (coco(keypoints=[1, 1, 2] * 14), 'annotation 8 has 14 keypoints, but '
         r'CocoDataset has 17 \(1 of 2'),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            check_persons(content)


@pytest.mark.parametrize('bbox', [[10, 20, 0, 40], [99, 20, 30, 40],
                                  [-50, 3, 40, 40]])  # fmt: skip
def test_boxes_without_area_are_counted_as_mmpose_leaves_them_out(
    bbox, monkeypatch, tmp_path
):
    said = []
    monkeypatch.setattr(
        annotations, 'print_log', lambda text, **_: said.append(text)
    )
    content = coco(bbox=bbox)
    check_persons(content)
    assert len(said) == 1
    assert said[0].startswith("1 of 2 persons in 'a.json' have a box without")
    assert f'annotation 8, {bbox}' in said[0]
    # MMPose's own decision
    from mmpose.datasets import CocoDataset

    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    assert len(CocoDataset(ann_file=str(path))) == 1

    for annotation in content['annotations']:
        annotation['bbox'] = bbox
    with pytest.raises(InputError, match='none of its 2 persons'):
        check_persons(content)


def test_unlabelled_persons_and_crowds_do_not_count():
    for change in (dict(num_keypoints=0), dict(iscrowd=1),
                   dict(keypoints=[0] * 51)):  # fmt: skip
        content = coco()
        for annotation in content['annotations']:
            annotation.update(change)
        with pytest.raises(InputError, match='none of its 2 persons'):
            check_persons(content)


def check_objects(content, **kwargs):
    meta = dict(classes=('person',), num_keypoints=17)
    annotations.check_objects(content, 'a.json', meta, 'Persons', **kwargs)


def test_good_objects_pass():
    check_objects(coco(), with_masks=True)
    for unused in (
        dict(bbox=[10, 20, 0.5, 40]),
        dict(area=0),
        dict(bbox=[100, 20, 30, 40]),
        dict(category_id=2),
        dict(ignore=True, bbox=None),
    ):
        check_objects(coco(segmentation=[], **unused), with_masks=True)
    # Persons without keypoints, images without persons.
    content = coco(keypoints=[])
    content['images'].append(dict(content['images'][0], id=2))
    check_objects(content)
    content['annotations'] = []
    check_objects(content, training=False)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(coco(), categories=[dict(id=1, name='dog')]),
         'has the categories dog, but Persons has the classes person'),
        (dict(coco(), categories=[dict(id=i, name=f'c{i}')
                                  for i in range(99)]),
         r'c0, .*, c9, \.\.\., but'),
        (dict(coco(), categories=[]), 'has the categories none, but'),
        (dict(coco(), annotations=[]), 'none of its 0 annotations is an obj'),
        (coco(keypoints=[1, 1, 2] * 14), 'annotation 8 has 14 keypoints, but '
         r'Persons has 17 \(1 of 2'),
    ],
)  # fmt: skip
def test_wrong_objects(content, message):
    with pytest.raises(InputError, match=message):
        check_objects(content)


@pytest.mark.parametrize(
    'change',
    [
        dict(iscrowd=1),
        dict(category_id=2),
        dict(area=0),
        dict(bbox=[10, 20, 0.5, 40]),
        dict(bbox=[100, 20, 30, 40]),
        dict(bbox=[-30, 20, 30, 40]),
        dict(image_id=2),
    ],
)
def test_objects_are_left_out_as_mmdet_leaves_them_out(change, tmp_path):
    from mmdet.datasets import CocoDataset

    content = coco()
    for annotation in content['annotations']:
        annotation.update(change)
    with pytest.raises(InputError, match='none of its 2 annotations'):
        check_objects(content)
    check_objects(content, training=False)
    # MMDet's own decision
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    dataset = CocoDataset(
        ann_file=str(path),
        data_prefix=dict(img=''),
        metainfo=dict(classes=('person',)),
        pipeline=[],
        filter_cfg=dict(filter_empty_gt=False),
    )
    instances = dataset.get_data_info(0)['instances']
    assert not [i for i in instances if not i['ignore_flag']]


def test_object_without_a_mask():
    empty = coco(segmentation=dict(size=[80, 100], counts=[8000]))
    check_objects(empty)
    empty['annotations'][1]['area'] = 0.5
    with pytest.raises(InputError, match='annotation 8 has no segmentation'):
        check_objects(empty, with_masks=True)
    whole = coco(segmentation=dict(size=[80, 100], counts=[0, 8000]))
    check_objects(whole, with_masks=True)


def test_image_folder(tmp_path):
    with pytest.raises(InputError, match=r"'no/such' \(key\) does not exist"):
        annotations.check_images(coco(), 'no/such', 'key')
    with pytest.raises(InputError, match=r"none of the first 1 .*'1\.jpg'"):
        annotations.check_images(coco(), str(tmp_path), 'key')
    (tmp_path / '1.jpg').touch()
    annotations.check_images(coco(), str(tmp_path), 'key')
