import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.config import ConfigDict

from mmpose_ext.errors import InputError
from mmpose_ext.multitask import CocoPersonDataset

COCO_MINI = Path(__file__).parents[3] / 'shared/data/coco_mini'
JOINTS = [[i, 2 * i, i % 3] for i in range(17)]
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]
EMPTY = dict(size=[60, 80], counts=[4800])
# Four keypoints, of which 1 and 2 are a pair.
FOUR = dict(
    dataset_name='four',
    keypoint_info={
        i: dict(name=name, id=i, color=[0, 0, 0], type='', swap=swap)
        for i, (name, swap) in enumerate(
            [('top', ''), ('left', 'right'), ('right', 'left'), ('end', '')]
        )
    },
    skeleton_info={0: dict(link=('top', 'left'), id=0, color=[0, 0, 0])},
    joint_weights=[1.0] * 4,
    sigmas=[0.1] * 4,
)


def person(image_id=1, **kwargs):
    ann = dict(
        image_id=image_id,
        category_id=1,
        bbox=[10, 10, 10, 10],
        area=100,
        iscrowd=0,
        segmentation=SQUARE,
        keypoints=np.ravel(JOINTS).tolist(),
    )
    ann.update(kwargs)
    return {k: v for k, v in ann.items() if v is not None}


def make(folder, anns, num_images=1, categories=('person',), **kwargs):
    """The dataset of images of 80x60 px; annotation ids start at 100."""
    images = [
        dict(id=i + 1, file_name=f'{i + 1}.png', width=80, height=60)
        for i in range(num_images)
    ]
    anns = [dict(ann, id=100 + i) for i, ann in enumerate(anns)]
    path = folder / 'persons.json'
    path.write_text(
        json.dumps(
            dict(
                images=images,
                annotations=anns,
                categories=[
                    dict(id=i, name=c) for i, c in enumerate(categories, 1)
                ],
            )
        )
    )
    return CocoPersonDataset(
        ann_file=str(path),
        data_prefix=dict(img='img/'),
        serialize_data=False,
        **kwargs,
    )


def test_metainfo_is_mmposes_and_mmdets():
    meta = CocoPersonDataset.METAINFO
    assert meta['classes'] == ('person',) and len(meta['palette']) == 1
    assert meta['num_keypoints'] == len(meta['sigmas']) == 17
    assert meta['keypoint_id2name'][5] == 'left_shoulder'
    flip = meta['flip_indices']
    assert flip == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert {tuple(sorted(link)) for link in meta['skeleton_links']} >= {
        (5, 7),
        (13, 15),
    }
    assert DATASETS.get('CocoPersonDataset') is CocoPersonDataset


def test_an_instance_has_box_mask_and_keypoints(tmp_path):
    info = make(tmp_path, [person()]).get_data_info(0)
    assert info['img_path'] == 'img/1.png' and info['img_id'] == 1
    assert info['flip_indices'] == CocoPersonDataset.METAINFO['flip_indices']
    assert info['instances'] == [
        dict(
            bbox=[10, 10, 20, 20],
            bbox_label=0,
            ignore_flag=0,
            mask=SQUARE,
            keypoints=JOINTS,
        )
    ]


@pytest.mark.parametrize('keypoints', [None, [], [0] * 51])
def test_person_without_keypoints(tmp_path, keypoints):
    dataset = make(tmp_path, [person(keypoints=keypoints)])
    (instance,) = dataset.get_data_info(0)['instances']
    assert instance['keypoints'] == [[0, 0, 0]] * 17


@pytest.mark.parametrize(
    'segmentation',
    [
        None,
        [],
        [[1, 2, 3, 4]],
    ],
)
def test_person_without_a_segmentation_is_kept(tmp_path, segmentation):
    dataset = make(tmp_path, [person(segmentation=segmentation)])
    (instance,) = dataset.get_data_info(0)['instances']
    assert instance['mask'] == EMPTY and not instance['ignore_flag']
    assert instance['keypoints'] == JOINTS


@pytest.mark.parametrize(
    'segmentation',
    [
        SQUARE,
        dict(size=[60, 80], counts=[10, 20, 4770]),
        # The same, as COCO's library compresses it.
        dict(size=[60, 80], counts=':d0Re4'),
    ],
)
def test_valid_segmentations_are_left_alone(tmp_path, segmentation):
    dataset = make(tmp_path, [person(segmentation=segmentation)])
    (instance,) = dataset.get_data_info(0)['instances']
    assert instance['mask'] == segmentation


def test_bad_persons_are_left_out_with_their_keypoints(tmp_path):
    """What MMDet skips must not shift the keypoints of the others."""
    anns = [
        person(keypoints=[i, i, 1] * 17, **bad)
        for i, bad in enumerate(
            [
                dict(bbox=[10, 10, 10, 0]),
                dict(),
                dict(bbox=[10, 10, 0.5, 10]),
                dict(bbox=[90, 10, 10, 10]),
                dict(ignore=True),
                dict(category_id=2),
                dict(iscrowd=1),
            ]
        )
    ]
    instances = make(
        tmp_path, anns, categories=('person', 'dog')
    ).get_data_info(0)['instances']
    assert [i['keypoints'][0][0] for i in instances] == [1, 6]
    assert [i['ignore_flag'] for i in instances] == [0, 1]


@pytest.mark.parametrize('number', [1, 48, 52])
def test_wrong_number_of_keypoints(tmp_path, number):
    anns = [person(), person(keypoints=[1] * number)]
    with pytest.raises(InputError) as e:
        make(tmp_path, anns)
    for part in ('annotation 101', 'persons.json', f'{number} ', '51'):
        assert part in str(e.value)


def test_wrong_category(tmp_path):
    with pytest.raises(InputError, match=r"persons.json.*\['person'\]"):
        make(tmp_path, [person()], categories=['dog'])
    dataset = make(
        tmp_path,
        [person()],
        categories=['dog'],
        metainfo=dict(classes=('dog',)),
    )
    assert len(dataset.get_data_info(0)['instances']) == 1
    assert dataset.metainfo['num_keypoints'] == 17


@pytest.mark.parametrize('wrap', [dict, ConfigDict])
def test_other_keypoints(tmp_path, wrap):
    joints = [[0, 1, 2], [3, 4, 1], [6, 7, 0], [9, 10, 2]]
    dataset = make(
        tmp_path,
        [person(keypoints=np.ravel(joints).tolist())],
        metainfo=wrap(**FOUR, classes=('person',)),
    )
    info = dataset.get_data_info(0)
    assert info['flip_indices'] == [0, 2, 1, 3]
    assert info['instances'][0]['keypoints'] == joints
    meta = dataset.metainfo
    assert meta['num_keypoints'] == 4 and len(meta['sigmas']) == 4
    assert meta['dataset_name'] == 'four' and meta['classes'] == ('person',)
    assert 'keypoint_info' not in meta
    assert CocoPersonDataset.METAINFO['num_keypoints'] == 17
    with pytest.raises(InputError, match=r'51 .* expected 12'):
        make(tmp_path, [person()], metainfo=FOUR)


def test_keypoints_from_a_file(tmp_path):
    path = tmp_path / 'four.py'
    path.write_text(f'dataset_info = {FOUR!r}')
    meta = make(
        tmp_path, [], num_images=1, metainfo=dict(from_file=str(path))
    ).metainfo
    assert meta['num_keypoints'] == 4 and 'from_file' not in meta
    with warnings.catch_warnings():  # not there: taken from MMPose
        warnings.simplefilter('ignore')
        name = 'configs/_base_/datasets/crowdpose.py'
        meta = CocoPersonDataset(
            lazy_init=True, metainfo=dict(from_file=name)
        ).metainfo
    assert meta['num_keypoints'] == 14 and meta['classes'] == ('person',)


def ids(dataset):
    return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]


def test_filter(tmp_path):
    """Images with 1: 11 labelled, 2: only a crowd, 3: nothing, 4: 1 + 1."""
    one = [5, 5, 1] + [0] * 48
    anns = [
        person(1),
        person(2, iscrowd=1),
        person(4, keypoints=one),
        person(4, keypoints=one),
        person(4, keypoints=None),
        person(5, keypoints=None),
    ]

    def kept(test_mode=False, **cfg):
        return ids(
            make(
                tmp_path, anns, 5, filter_cfg=cfg or None, test_mode=test_mode
            )
        )

    assert kept() == [1, 2, 3, 4, 5]
    assert kept(filter_empty_gt=True) == [1, 2, 4, 5]
    assert kept(min_keypoints=0) == [1, 2, 3, 4, 5]
    assert kept(min_keypoints=1) == [1, 4]
    assert kept(min_keypoints=2) == [1, 4]
    assert kept(min_keypoints=3) == [1]
    assert kept(min_keypoints=11) == [1]
    assert kept(test_mode=True, min_keypoints=3) == [1, 2, 3, 4, 5]
    for cfg in (dict(min_keypoints=12), dict(min_size=61)):
        with pytest.raises(InputError, match=r'none of 5 images .*persons'):
            kept(**cfg)


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason='no COCO images')
def test_coco_gives_what_mmdet_gives_and_the_keypoints():
    kwargs = dict(
        data_root=str(COCO_MINI),
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
    )
    ours = CocoPersonDataset(**kwargs)
    theirs = CocoDataset(metainfo=dict(classes=('person',)), **kwargs)
    anns = json.loads(Path(ours.ann_file).read_text())['annotations']
    assert len(ours) == len(theirs) > 0
    joints = []
    for i in range(len(ours)):
        info, expected = ours.get_data_info(i), theirs.get_data_info(i)
        info.pop('flip_indices')
        joints += [instance.pop('keypoints') for instance in info['instances']]
        assert info == expected
    assert sum(v > 0 for person in joints for *_, v in person) == sum(
        ann['num_keypoints'] for ann in anns
    )
    # Serialised, an image takes little more than with its numbers alone.
    size = len(ours.data_bytes) - len(theirs.data_bytes)
    assert size < len(pickle.dumps(joints)) + 150 * len(ours)
