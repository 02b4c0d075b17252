import copy
import json
from pathlib import Path

import pytest
from mmengine.config import Config
from PIL import Image

from mmpose_ext import checks
from mmpose_ext.errors import InputError


def boxes(**changes):
    box = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)
    return [box, {**box, 'score': 0.9, **changes}]


@pytest.fixture
def cfg(tiny_config):
    return Config.fromfile(tiny_config)


@pytest.mark.parametrize('mode', ['train', 'test'])
def test_good_config_passes(cfg, mode):
    before = copy.deepcopy(cfg._cfg_dict)
    assert checks.check_config(cfg, mode) == []
    assert cfg._cfg_dict == before


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('dataset.ann_file', 'no.json', 'annotation file .*ann_file.*no.json'),
        ('dataset.data_prefix.img', 'no/', "image folder '.*no/' .*exist"),
        ('dataset.data_prefix.img', '', "'' .*|has none of the first 6"),
        ('dataset.metainfo', dict(from_file='no/such.py'), 'no/such.py'),
        ('dataset.type', 'CrowdPoseDataset',
         'out_channels is 17, but .*Crowd'),
        ('dataset.bbox_file', 'no.json', 'detection file .*no.json.*exist'),
    ],
)  # fmt: skip
def test_wrong_files_of_a_config(cfg, key, value, message):
    cfg.merge_from_dict({f'test_dataloader.{key}': value})
    with pytest.raises(InputError, match=message):
        checks.check_config(cfg, 'test')
    checks.check_config(cfg, 'train')  # the test data are not in use


def test_datasets_inside_wrappers(cfg):
    part = cfg.train_dataloader.dataset
    wrong = dict(part, ann_file='no.json')
    cfg.train_dataloader.dataset = dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=[part, dict(type='RepeatDataset', times=2, dataset=wrong)],
    )
    with pytest.raises(InputError, match=r'datasets\[1\]\.dataset\.ann_file'):
        checks.check_config(cfg, 'train')


def test_detections_of_a_config(cfg, tmp_path):
    found = tmp_path / 'boxes.json'
    dataset = cfg.test_dataloader.dataset
    dataset.bbox_file = str(found)
    found.write_text('[]')
    assert checks.check_config(cfg, 'test') == [dataset]
    found.write_text(json.dumps(boxes()))
    assert checks.check_config(cfg, 'test') == []
    dataset.filter_cfg = dict(bbox_score_thr=0.95)
    assert checks.check_config(cfg, 'test') == [dataset]
    found.write_text(json.dumps(boxes(image_id=391895)))
    with pytest.raises(InputError, match='391895'):
        checks.check_config(cfg, 'test')
    dataset.test_mode = False
    with pytest.raises(InputError, match='test_mode=True'):
        checks.check_config(cfg, 'test')


@pytest.fixture
def detection_cfg(cfg):
    """MMDet's view of the same data."""
    cfg.default_scope = 'mmdet'
    cfg.model = dict(type='MaskRCNN')
    cfg.optim_wrapper.pop('constructor', None)
    cfg.default_hooks = cfg.visualizer = cfg.custom_hooks = None
    for split in ('train', 'val', 'test'):
        data = cfg[f'{split}_dataloader'].dataset
        data.pop('data_mode')
        data.metainfo = dict(classes=('person',))
        data.pipeline = [
            dict(type='LoadImageFromFile', backend_args=None),
            dict(type='LoadAnnotations', with_mask=True),
            dict(type='PackDetInputs'),
        ]
    return cfg


OURS = 'mmpose_ext.multitask.CocoPersonDataset'


@pytest.mark.parametrize('type_', ['CocoDataset', OURS])
def test_files_of_a_detector(detection_cfg, type_):
    data = 'train_dataloader.dataset'
    detection_cfg.merge_from_dict({f'{data}.type': type_})
    for mode in ('train', 'test'):
        assert checks.check_config(detection_cfg, mode) == []
    for key, value, message in (
        ('ann_file', 'no.json', 'annotation file .*ann_file.*no.json'),
        ('data_prefix.img', 'no/', "image folder '.*no/' .*exist"),
        ('metainfo.classes', ['dog'], 'has the categories person, but train_'),
    ):
        cfg = copy.deepcopy(detection_cfg)
        cfg.merge_from_dict({f'{data}.{key}': value})
        with pytest.raises(InputError, match=message):
            checks.check_config(cfg, 'train')
        checks.check_config(cfg, 'test')


@pytest.mark.parametrize('split', ['train', 'test'])
def test_wrong_objects_of_a_detector(detection_cfg, split, tmp_path):
    data = detection_cfg[f'{split}_dataloader'].dataset
    source = Path(data.data_root, data.ann_file)
    content = json.loads(source.read_text())
    person = next(a for a in content['annotations'] if not a['iscrowd'])
    data.ann_file = str(tmp_path / 'a.json')

    def error(**change):
        changed = dict(content, annotations=[{**person, **change}])
        Path(data.ann_file).write_text(json.dumps(changed))
        with pytest.raises(InputError) as e:
            checks.check_config(detection_cfg, split)
        return str(e.value)

    # Persons of ours may lack a mask, but have as many keypoints as theirs.
    assert 'no segmentation, but the pipeline' in error(segmentation=[])
    data.type = OURS
    short = [1, 1, 2] * 5
    message = error(segmentation=[], keypoints=short)
    place = f'{split}_dataloader.dataset (CocoPersonDataset metainfo)'
    assert f'5 keypoints, but {place} has 17' in message


def test_annotations_in_another_form_than_cocos_are_left_alone(
    detection_cfg, tmp_path
):
    data = detection_cfg.test_dataloader.dataset
    data.ann_file = str(tmp_path / 'a.json')
    for type_, content in (
        ('CrowdHumanDataset', 'odgt'),  # not even JSON
        ('LVISV1Dataset', '{"images": [{"id": 1, "coco_url": "1"}]}'),
    ):
        data.type = type_
        (tmp_path / 'a.json').write_text(content)
        checks.check_config(detection_cfg, 'test')


def test_metric_with_a_missing_file(cfg):
    missing = dict(type='CocoMetric', ann_file='no.json')
    for evaluator in (
        missing,
        [dict(type='AUC'), missing],
        dict(metrics=[missing]),
    ):
        cfg.test_evaluator = evaluator
        with pytest.raises(InputError, match=r'\(test_evaluator.ann_file\)'):
            checks.check_config(cfg, 'test')


def change_file(source, target, **changes):
    """Write a file whose first annotation is changed, or lacks an area."""
    content = json.loads(Path(source).read_text())
    first = content['annotations'][0]
    del first['area']
    first.update(changes)
    Path(target).write_text(json.dumps(content))
    return str(target)


@pytest.mark.parametrize(
    'type_',
    ['CocoMetric', 'EmptySafeCocoMetric', 'mmdet.CocoMetric',
     'mmpose_ext.multitask.CocoKeypointMetric', 'PoseTrack18Metric'],
)  # fmt: skip
def test_file_of_a_metric_is_read_by_the_same_rules(cfg, tmp_path, type_):
    source = cfg.test_evaluator.ann_file
    good = change_file(source, tmp_path / 'a.json')
    cfg.test_evaluator = dict(type=type_, ann_file=good)
    checks.check_config(cfg, 'test')
    bad = change_file(source, tmp_path / 'b.json', bbox=None)
    cfg.test_evaluator = [dict(type='AUC'), dict(type=type_, ann_file=bad)]
    message = r'\(test_evaluator.ann_file\) .*b.json.* bbox None, expected'
    with pytest.raises(InputError, match=message):
        checks.check_config(cfg, 'test')


def test_file_of_another_metric_is_left_alone(cfg, tmp_path):
    path = tmp_path / 'a.odgt'
    path.write_text('no JSON')
    metric = dict(type='mmdet.CrowdHumanMetric', ann_file=str(path))
    cfg.test_evaluator = metric
    checks.check_config(cfg, 'test')


@pytest.mark.parametrize('swapped', [False, True])
@pytest.mark.parametrize('color_type', ['color', 'unchanged'])
def test_sizes_are_those_of_the_loaded_images(
    cfg, tmp_path, swapped, color_type
):
    """Photographs with an EXIF orientation, which not all loaders heed."""
    data = cfg.test_dataloader.dataset
    folder = Path(data.data_root, data.data_prefix.img)
    content = json.loads(Path(data.data_root, data.ann_file).read_text())
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    for image in content['images']:
        picture = Image.open(folder / image['file_name'])
        picture.save(tmp_path / image['file_name'], exif=exif)
        if swapped:
            size = image['height'], image['width']
            image['width'], image['height'] = size
    for annotation in content['annotations']:
        annotation['segmentation'] = []
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    data.update(ann_file=str(path), data_prefix=dict(img=str(tmp_path)))
    data.pipeline[0].color_type = color_type
    if swapped == (color_type == 'color'):
        checks.check_config(cfg, 'test')
    else:
        with pytest.raises(InputError, match='width and height are swapped'):
            checks.check_config(cfg, 'test')


def test_areas_are_estimated_for_our_datasets_alone(detection_cfg, tmp_path):
    data = detection_cfg.test_dataloader.dataset
    source = Path(data.data_root, data.ann_file)
    data.ann_file = change_file(source, tmp_path / 'a.json')
    with pytest.raises(InputError, match='area nothing, expected'):
        checks.check_config(detection_cfg, 'test')
    data.type = OURS
    checks.check_config(detection_cfg, 'test')


def test_each_file_is_read_once(cfg, monkeypatch):
    read = []
    original = json.loads
    monkeypatch.setattr(
        json, 'loads', lambda *a, **k: read.append(a) or original(*a, **k)
    )
    cfg.val_dataloader = copy.deepcopy(cfg.train_dataloader)
    checks.check_config(cfg, 'train')
    assert len(read) == 2  # of training, and that of the evaluator


def test_what_is_not_on_the_disk_or_not_coco_is_left_alone(cfg, tmp_path):
    data = cfg.test_dataloader.dataset
    data.data_prefix = dict(img='no/')
    data.pipeline[0].backend_args = dict(backend='petrel')
    checks.check_config(cfg, 'test')
    data.bbox_file = 's3://bucket/boxes.json'
    checks.check_config(cfg, 'test')
    data.ann_file = 's3://bucket/no.json'
    checks.check_config(cfg, 'test')
    data.ann_file = str(tmp_path / 'mpii.json')
    (tmp_path / 'mpii.json').write_text('[]')
    data.type = 'MpiiDataset'
    cfg.model.head.out_channels = 16
    checks.check_config(cfg, 'test')
    data.ann_file = ''
    checks.check_config(cfg, 'test')


def test_config_without_the_data_of_its_mode(cfg):
    cfg.val_dataloader = None
    checks.check_config(cfg, 'train')
    cfg.train_dataloader = None
    with pytest.raises(InputError, match='no train_dataloader'):
        checks.check_config(cfg, 'train')
