import copy
import inspect
import json
from pathlib import Path

import mmengine.registry as root
import mmpose
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.engine import checks
from mmpose_ext.engine.checks import annotations
from mmpose_ext.errors import InputError

# ---------------------------------------------------------------- type names

KEYS = ('model', 'train_dataloader', 'custom_hooks', 'test_evaluator')
USED_BY_RUNNER = inspect.signature(Runner).parameters


def type_config(**changes):
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(
                type='TopdownPoseEstimator',
                backbone=dict(type='HRNet', norm_cfg=dict(type='BN')),
                head=dict(
                    type='HeatmapHead',
                    loss=dict(type='KeypointMSELoss'),
                    decoder=dict(type='MSRAHeatmap'),
                    init_cfg=dict(type='Normal', layer='Conv2d'),
                ),
            ),
            train_dataloader=dict(
                sampler=dict(type='DefaultSampler'),
                dataset=dict(
                    type='RepeatDataset',
                    dataset=dict(
                        type='CocoDataset',
                        pipeline=[dict(type='LoadImage'), dict(type='Cutout')],
                    ),
                ),
            ),
            custom_hooks=[dict(type='SyncBuffersHook')],
            test_evaluator=[dict(type='CocoMetric')],
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def test_types_that_exist_pass():
    checks.check_type_names(type_config(), KEYS)


def test_types_of_mmposes_own_configs_pass():
    configs = Path(mmpose.__file__).parent / '.mim' / 'configs'
    paths = sorted(configs.glob('body_2d_keypoint/*/*/*.py'))[::9]
    assert len(paths) > 20
    for path in paths:
        cfg = Config.fromfile(path)
        checks.check_type_names(cfg, [k for k in cfg if k in USED_BY_RUNNER])


@pytest.mark.parametrize(
    ('where', 'name', 'hint'),
    [
        ('model.type', 'TopDownPoseEstimator', "'TopdownPoseEstimator'"),
        ('model.backbone.type', 'hrnet', "'HRNet'"),
        ('model.head.loss.type', 'KeypointMSELos', "'KeypointMSELoss'"),
        ('model.head.decoder.type', 'MRSAHeatmap', "'MSRAHeatmap'"),
        ('model.head.init_cfg.type', 'Norml', "'Normal'"),
        ('train_dataloader.sampler.type', 'DefaultSample', 'DefaultSampler'),
        ('train_dataloader.dataset.dataset.type', 'CocoDatset', 'CocoDataset'),
        (
            'train_dataloader.dataset.dataset.pipeline[1].type',
            'CutOut',
            "'Cutout'",
        ),
        ('custom_hooks[0].type', 'SyncBufersHook', "'SyncBuffersHook'"),
        ('test_evaluator[0].type', 'CocoMetrics', "'CocoMetric'"),
        ('model.backbone.type', 'mmdet.ResNest', "'ResNeSt'"),
        ('model.backbone.type', 'nosuchpackage.Net', ''),
        ('model.backbone.type', 'a..b', ''),
    ],
)
def test_wrong_type_is_named_with_its_place(where, name, hint):
    key = where.replace('[', '.').replace(']', '')
    with pytest.raises(InputError) as e:
        checks.check_type_names(type_config(**{key: name}), KEYS)
    assert f"'{name}' at {where}" in str(e.value)
    assert hint in str(e.value)


@pytest.mark.parametrize(
    'name',
    [
        HeatmapHead,
        'mmpose.models.heads.HeatmapHead',
        'mmdet.Shared2FCBBoxHead',
        'mmpretrain.VisionTransformer',  # not installed: not looked at
    ],
)
def test_classes_paths_and_other_packages_pass(name):
    checks.check_type_names(type_config(**{'model.head.type': name}), KEYS)


def test_scope_of_a_part_of_the_config():
    part = dict(_delete_=True, _scope_='mmdet', type='FCOSHead')
    cfg = type_config(**{'model.neck': part})
    checks.check_type_names(cfg, KEYS)
    cfg.model.neck.type = 'HeatmapHead'  # which MMDet does not have
    with pytest.raises(InputError, match='registry of mmdet has no such'):
        checks.check_type_names(cfg, KEYS)


@pytest.mark.parametrize(
    ('key', 'name', 'hint'),
    [
        ('model.train_cfg.sampler', 'RandomSample', "'RandomSampler'"),
        ('model.train_cfg.assigner', 'MaxIoUAssign', "'MaxIoUAssigner'"),
        ('model.bbox_coder', 'DeltaXYWHBoxCoder', "'DeltaXYWHBBoxCoder'"),
        ('model.roi_extractor', 'SingleRoIExtract', "'SingleRoIExtractor'"),
        ('model.roi_head', 'StandardRoIHed', "'StandardRoIHead'"),
        ('train_dataloader.sampler', 'InfinteSampler', "'InfiniteSampler'"),
    ],
)
def test_types_of_detectors_are_looked_up_where_they_belong(key, name, hint):
    cfg = Config(dict(default_scope='mmdet', model=dict(type='MaskRCNN')))
    cfg.merge_from_dict({f'{key}.type': name})
    with pytest.raises(InputError) as e:
        checks.check_type_names(cfg, ('model', 'train_dataloader'))
    assert f"'{name}' at {key}.type: the" in str(e.value)
    assert f'did you mean {hint}' in str(e.value)


def test_type_that_fails_to_be_built_is_explained():
    cfg = type_config(**{'model.plugin': dict(type='ContextBlok')})
    checks.check_type_names(cfg, KEYS)  # not a place with a known registry
    with pytest.raises(InputError) as e, checks.explain_errors(cfg):
        MODELS.build(cfg.model.plugin)
    assert "unknown type 'ContextBlok' at model.plugin.type" in str(e.value)
    assert "'ContextBlock'" in str(e.value)

    missing = dict(type='mmpretrain.VisionTransformer')
    with pytest.raises(InputError) as e, checks.explain_errors(cfg):
        MODELS.build(missing)
    assert 'needs mmpretrain, which is not installed' in str(e.value)
    with pytest.raises(KeyError), checks.explain_errors(cfg):
        raise KeyError('something else')


def test_broken_import_is_not_taken_for_a_wrong_name(monkeypatch):
    def fail(self):
        raise RuntimeError('operator does not exist')

    monkeypatch.setattr(root.Registry, 'import_from_location', fail)
    with pytest.raises(RuntimeError, match='operator does not exist'):
        checks.check_type_names(type_config(), KEYS)


# --------------------------------------------------------------- annotations


def coco(**changes):
    person = dict(
        id=7,
        image_id=1,
        category_id=1,
        bbox=[10, 20, 30, 40],
        area=900,
        num_keypoints=17,
        keypoints=[15, 30, 2] * 17,
        iscrowd=0,
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


def test_good_annotations_pass():
    checks.check_coco(coco(), 'a.json')
    check_persons(coco())
    check_persons(coco(keypoints=[1, 1, 2] * 5), num_keypoints=None)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([], 'not in COCO format.*got a list'),
        (dict(data_list=[], metainfo={}), r"\['data_list', 'metainfo'\]"),
        (dict(images=[]), 'has no images'),
        (dict(images=[dict(id=3, file_name='')]), 'image 3 lacks height, w'),
    ],
)
def test_file_of_another_form(content, message):
    with pytest.raises(InputError, match=message):
        checks.check_coco(content, 'a.json')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(coco(), annotations=[]), 'has no annotations'),
        (dict(coco(), annotations=[dict(bbox=[])]), 'none of its 1 annota'),
        (coco(keypoints=[1, 1, 2] * 14), 'annotation 8 has 14 keypoints, but '
         r'CocoDataset has 17 \(1 of 2'),
        (coco(keypoints=[1, 1, 2] * 17 + [3]), '17.3333 keypoints'),
        (coco(bbox=[0, 0, float('nan'), 1]), 'annotation 8 has the bbox .*n'),
        (coco(bbox=[0, 0, 1]), 'expected finite x, y, width, height'),
    ],
)  # fmt: skip
def test_wrong_annotations(content, message):
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


@pytest.mark.parametrize(
    'changes',
    [
        dict(segmentation=[[1, 1, 5, 1, 5, 5]]),
        dict(segmentation=[], bbox=[10, 20, 0.5, 40]),  # not used
        dict(segmentation=[], area=0),
        dict(segmentation=[], bbox=[100, 20, 30, 40]),
        dict(segmentation=[], category_id=2),
        dict(segmentation=[], ignore=True, bbox=None),
    ],
)
def test_good_objects_pass(changes):
    content = coco(**changes)
    content['annotations'][0].update(segmentation=[[1, 1, 5, 1, 5, 5]])
    check_objects(content, with_masks=True)


def test_persons_without_keypoints_and_images_without_persons_pass():
    content = coco(keypoints=[])
    content['images'].append(dict(content['images'][0], id=2))
    check_objects(content)
    content['annotations'] = []
    check_objects(content, training=False)
    del content['annotations']  # as of COCO's test images
    check_objects(content, training=False)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(coco(), categories=[dict(id=1, name='dog')]),
         'has the categories dog, but Persons has the classes person'),
        (dict(coco(), categories=[dict(id=i, name=f'c{i}')
                                  for i in range(99)]),
         r'c0, .*, c9, \.\.\., but'),
        (dict(images=coco()['images']), 'has the categories none, but'),
        (dict(coco(), annotations=[]), 'none of its 0 annotations is an obj'),
        (dict(coco(), annotations=[dict(id=5)]),
         'annotation 5 lacks area, bbox, category_id, image_id'),
        (coco(bbox=[0, 0, float('nan'), 1]), 'annotation 8 has the bbox .*n'),
        (coco(id=7), 'has the annotation id 7 more than once'),
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
    check_objects(coco())
    with pytest.raises(InputError, match='annotation 7 has no segmentation'):
        check_objects(coco(), with_masks=True)


def test_image_folder(tmp_path):
    with pytest.raises(InputError, match=r"'no/such' \(key\) does not exist"):
        annotations.check_images(coco(), 'no/such', 'key')
    with pytest.raises(InputError, match=r"none of the first 1 .*'1\.jpg'"):
        annotations.check_images(coco(), str(tmp_path), 'key')
    (tmp_path / '1.jpg').touch()
    annotations.check_images(coco(), str(tmp_path), 'key')


def test_files(tmp_path):
    path = tmp_path / 'a.json'
    with pytest.raises(InputError, match=f"^list '{path}' does not exist"):
        checks.read_json(str(path), 'list')
    path.touch()
    with pytest.raises(InputError, match='is empty'):
        checks.read_json(str(path), 'list')
    for content in (b'{"images": [', b'\x89PNG\xff'):
        path.write_bytes(content)
        with pytest.raises(InputError, match='is not JSON'):
            checks.read_json(str(path), 'list')
    path.write_text('[1]')
    assert checks.read_json(str(path), 'list') == [1]


def test_output_file(tmp_path):
    path = tmp_path / 'out.json'
    checks.check_output_file(str(path))
    path.touch()
    with pytest.raises(InputError, match='exists already'):
        checks.check_output_file(str(path))
    checks.check_output_file(str(path), overwrite=True)
    with pytest.raises(InputError, match='is a folder'):
        checks.check_output_file(str(tmp_path), overwrite=True)


# ---------------------------------------------------------------- detections


def boxes(**changes):
    box = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)
    return [box, dict(box, score=0.9, **changes)]


def test_number_of_boxes_left():
    count = checks.check_detections
    assert count([], 'd.json', [1]) == 0
    assert count(boxes(), 'd.json', [1]) == 2
    assert count(boxes(), 'd.json', [1], score_thr=0.5) == 2
    assert count(boxes(), 'd.json', [1], score_thr=0.6) == 1
    assert count(boxes(), 'd.json', [1], score_thr=0.91) == 0
    # other categories are not looked at, as in MMPose
    assert count(boxes(category_id=2, bbox=[0, 0, 0, 0]), 'd.json', [1]) == 1


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(boxes=[]), 'must be a list .* got a dict'),
        ([3], 'entry 0 lacks bbox, category_id'),
        ([dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4])], 'lacks score'),
        (boxes(image_id=5), r'1 image ids .*\(5\).*another dataset or split'),
        ([boxes(image_id=i)[1] for i in range(9)],
         r'8 image ids .*\(0, 2, 3, \.\.\.\)'),
        (boxes(bbox=[1, 2, 0, 4]), r'entry 1 has the bbox \[1, 2, 0, 4\]'),
        (boxes(bbox=[1, 2, 3, -4]), 'area above zero'),
        (boxes(bbox=[float('inf'), 2, 3, 4]), 'entry 1 has the bbox .inf'),
        (boxes(bbox=[1, 2, 3]), 'every bbox must be four numbers'),
        (boxes(bbox='abcd'), 'every bbox must be four numbers'),
        (boxes(bbox=None), 'every bbox must be four numbers'),
        ([boxes(category_id=0)[1]], r'none of its 1 boxes .* has 0$'),
    ],
)  # fmt: skip
def test_wrong_boxes(content, message):
    with pytest.raises(InputError, match=message) as e:
        checks.check_detections(content, 'd.json', [1])
    assert str(e.value).startswith("detection file 'd.json'")


def test_score_that_is_no_number():
    content = boxes()
    content[1]['score'] = float('nan')
    with pytest.raises(InputError, match='entry 1 has a score that is not'):
        checks.check_detections(content, 'd.json', [1])


# ------------------------------------------------------------ whole configs


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
        (
            'dataset.type',
            'CrowdPoseDataset',
            'out_channels is 17, but .*Crowd',
        ),
        ('dataset.bbox_file', 'no.json', 'detection file .*no.json.*exist'),
    ],
)
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
def test_good_config_of_a_detector_passes(detection_cfg, type_):
    detection_cfg.train_dataloader.dataset.type = type_
    for mode in ('train', 'test'):
        assert checks.check_config(detection_cfg, mode) == []


@pytest.mark.parametrize('type_', ['CocoDataset', OURS])
@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('ann_file', 'no.json', 'annotation file .*ann_file.*no.json'),
        ('data_prefix.img', 'no/', "image folder '.*no/' .*exist"),
        ('metainfo.classes', ['dog'], 'has the categories person, but train_'),
    ],
)
def test_wrong_files_of_a_detector(detection_cfg, type_, key, value, message):
    data = 'train_dataloader.dataset'
    detection_cfg.merge_from_dict(
        {f'{data}.type': type_, f'{data}.{key}': value}
    )
    with pytest.raises(InputError, match=message):
        checks.check_config(detection_cfg, 'train')
    checks.check_config(detection_cfg, 'test')


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
    for evaluator in (
        dict(type='CocoMetric', ann_file='no.json'),
        [dict(type='AUC'), dict(type='CocoMetric', ann_file='no.json')],
        dict(metrics=[dict(type='CocoMetric', ann_file='no.json')]),
    ):
        cfg.test_evaluator = evaluator
        with pytest.raises(InputError, match=r'\(test_evaluator.ann_file\)'):
            checks.check_config(cfg, 'test')


def test_each_file_is_read_once(cfg, monkeypatch):
    read = []
    original = json.load
    monkeypatch.setattr(
        json, 'load', lambda f: read.append(f.name) or original(f)
    )
    cfg.val_dataloader = copy.deepcopy(cfg.train_dataloader)
    checks.check_config(cfg, 'train')
    assert len(read) == 1


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


# ---------------------------------------------------------------- checkpoint


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))


def test_weights_that_fit_are_loaded(tmp_path):
    model, path = network(), tmp_path / 'a.pth'
    weights = {f'module.{k}': v for k, v in network().state_dict().items()}
    torch.save(dict(state_dict=weights, meta=dict(epoch=3)), path)
    loaded = checks.load_checkpoint_strictly(model, str(path))
    assert loaded['meta'] == dict(epoch=3)
    torch.testing.assert_close(model[0].weight, weights['module.0.weight'])
    # a bare state dict
    torch.save(network().state_dict(), path)
    checks.load_checkpoint_strictly(model, str(path))


def test_weights_of_another_architecture_are_listed(tmp_path):
    weights = network(8).state_dict()
    del weights['0.bias'], weights['1.running_mean']
    weights.update({f'neck.{i}.weight': torch.zeros(1) for i in range(7)})
    torch.save(weights, tmp_path / 'b.pth')
    with pytest.raises(InputError) as e:
        checks.load_checkpoint_strictly(network(), str(tmp_path / 'b.pth'))
    lines = str(e.value).splitlines()
    assert lines[0].endswith("b.pth' is of another architecture than the "
                             "config's Sequential:")  # fmt: skip
    assert lines[1:] == [
        '  2 missing from the checkpoint: 0.bias, 1.running_mean',
        '  7 unknown to the model: neck.0.weight, neck.1.weight, '
        'neck.2.weight, neck.3.weight, neck.4.weight, ...',
        '  4 of another shape: 0.weight [8, 3, 1, 1] for [4, 3, 1, 1], '
        '1.weight [8] for [4], 1.bias [8] for [4], 1.running_var [8] for [4]',
    ]


def test_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(InputError, match=r"checkpoint '.*a\.pth' does not"):
        checks.load_checkpoint_strictly(network(), str(path))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match='expected weights by name, got list'):
        checks.load_checkpoint_strictly(network(), str(path))
    torch.save(dict(model=dict(network().state_dict())), path)
    with pytest.raises(InputError, match='unknown to the model: model'):
        checks.load_checkpoint_strictly(network(), str(path))
    checks.check_checkpoint_file('https://host/a.pth')


def test_last_whole_checkpoint(tmp_path):
    find = checks.find_whole_checkpoint
    assert find(str(tmp_path / 'none')) is None
    assert find(str(tmp_path)) is None

    paths = [tmp_path / f'epoch_{i}.pth' for i in (1, 2, 10)]
    for path in paths:
        torch.save(network().state_dict(), path)
    torch.save({}, tmp_path / 'best_coco_AP_epoch_11.pth')
    last = tmp_path / 'last_checkpoint'
    last.write_text(str(paths[1]))
    assert find(str(tmp_path)) == str(paths[1])
    # killed while the file was written again, or before it was
    last.write_text(str(paths[2]))
    paths[2].write_bytes(paths[2].read_bytes()[:1000])
    assert find(str(tmp_path)) == str(paths[1])
    # killed between the removal of the old file and the writing of the new
    paths[1].unlink()
    assert find(str(tmp_path)) == str(paths[0])
    last.write_text('')
    assert find(str(tmp_path)) == str(paths[0])
    last.write_text('s3://bucket/epoch_3.pth')
    assert find(str(tmp_path)) == 's3://bucket/epoch_3.pth'


# -------------------------------------------------------------------- images


class Images(torch.utils.data.Dataset):
    """One image, read as a package's pipelines read it."""

    def __init__(self, scope, path):
        type_ = dict(mmpose='LoadImage', mmdet='LoadImageFromFile')[scope]
        with root.TRANSFORMS.switch_scope_and_registry(scope) as registry:
            self.load = registry.build(dict(type=type_))
        self.path = str(path)

    def __len__(self):
        return 1

    def __getitem__(self, _):
        return self.load(dict(img_path=self.path))


# MMDet's error for an empty file names no file.
@pytest.mark.parametrize(
    ('scope', 'content', 'num_workers', 'message'),
    [
        ('mmpose', None, 0, "image '{}' does not exist"),
        ('mmpose', b'', 0, "image '{}' cannot be decoded (0 bytes)"),
        ('mmpose', b'no image', 1, "image '{}' cannot be decoded (8 bytes)"),
        ('mmdet', b'no image', 1, "image '{}' cannot be decoded (8 bytes)"),
        ('mmdet', None, 0, "image '{}' does not exist"),
        ('mmdet', b'no image', 0, "image '{}' cannot be decoded (8 bytes)"),
    ],
)
def test_unreadable_image_is_named(
    scope, content, num_workers, message, tmp_path
):
    path = tmp_path / '1.jpg'
    if content is not None:
        path.write_bytes(content)
    loader = torch.utils.data.DataLoader(
        Images(scope, path), num_workers=num_workers
    )
    with pytest.raises(InputError) as e, checks.explain_errors(Config()):
        list(loader)
    assert str(e.value) == message.format(path)


@pytest.mark.parametrize(
    'error',
    [
        ValueError('shapes differ'),
        FileNotFoundError(2, 'No such file or directory', 'boxes.json'),
    ],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)), checks.explain_unreadable_images():
        raise error


# ------------------------------------------------------------- empty results


def test_nothing_detected_is_evaluated_like_far_away_predictions(toy_persons):
    """By COCO's evaluation, a person missed counts as one found nowhere."""
    from mmpose.datasets import CocoDataset
    from mmpose.evaluation import CocoMetric

    from mmpose_ext.evaluation import EmptySafeCocoMetric

    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    image_id = json.loads(ann_file.read_text())['images'][0]['id']
    far = dict(
        id=0,
        img_id=image_id,
        category_id=1,
        keypoints=np.random.default_rng(0).uniform(1e5, 2e5, (1, 17, 2)),
        keypoint_scores=np.ones((1, 17)),
        bbox_scores=np.ones(1),
        areas=np.array([900.0]),
    )

    def evaluate(metric, results):
        metric.dataset_meta = CocoDataset(lazy_init=True).metainfo
        metric.results = results
        return metric.evaluate(len(results))

    args = dict(ann_file=str(ann_file))
    nothing = evaluate(EmptySafeCocoMetric(**args), [])
    assert nothing['coco/AP'] == 0.0 and nothing['coco/AR'] == 0.0
    assert nothing == evaluate(CocoMetric(**args), [(far, {})])
    assert nothing == evaluate(EmptySafeCocoMetric(**args), [(far, {})])
    with pytest.raises(ValueError):  # why the subclass is there
        evaluate(CocoMetric(**args), [])


def test_official_checkpoints_keep_their_conversions():
    """MMPose converts ``keypoint_head`` of 0.x while it loads."""
    model = Runner.build_model(
        None,
        MODELS.build(
            dict(
                type='TopdownPoseEstimator',
                backbone=dict(type='ResNet', depth=18, base_channels=4,
                              stem_channels=4),
                head=dict(type='HeatmapHead', in_channels=32, out_channels=17,
                          deconv_out_channels=None),
            )
        ),
    )  # fmt: skip
    old = {
        key.replace('head.', 'keypoint_head.'): value
        for key, value in model.state_dict().items()
    }
    assert any(key.startswith('keypoint_head') for key in old)
    checks.check_state_dict(model, old, 'old.pth')
