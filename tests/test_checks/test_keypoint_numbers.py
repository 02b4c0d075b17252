import re
from pathlib import Path

import mmpose
import pytest
from mmengine.config import Config, ConfigDict
from mmpose.datasets import CocoDataset, MpiiDataset
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS

import mmpose_ext.multitask  # noqa: F401  its configs have names of it
from mmpose_ext.checks import check_keypoint_numbers, keypoint_numbers
from mmpose_ext.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs'
MMPOSE_CONFIGS = Path(mmpose.__file__).parent / '.mim/configs'
# Those in which numbers differ for a reason.
SPECIAL = (
    'body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_8xb64-210e_coco-aic-256x192-combine.py',
    'body_2d_keypoint/topdown_heatmap/coco/'
    'cspnext-m_udp_8xb256-210e_aic-coco-256x192.py',
    'body_2d_keypoint/topdown_heatmap/coco/'
    'td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192.py',
    'fashion_2d_keypoint/topdown_heatmap/deepfashion2/'
    'td-hm_res50_4xb64-210e_deepfasion2-vest-256x192.py',
    'hand_2d_keypoint/rtmpose/hand5/rtmpose-m_8xb256-210e_hand5-256x256.py',
    'body_2d_keypoint/rtmpose/body8/'
    'rtmpose-m_8xb512-700e_body8-halpe26-256x192.py',
    'body_2d_keypoint/rtmo/body7/rtmo-s_8xb32-600e_body7-640x640.py',
)


def metainfo(number, **changes):
    """The first points swap with the last ones."""
    points = {
        i: dict(name=f'p{i}', swap=f'p{number - 1 - i}') for i in range(number)
    }
    return dict(
        dict(
            dataset_name='points',
            keypoint_info=points,
            skeleton_info={0: dict(link=('p0', 'p1'))},
            joint_weights=[1.0] * number,
            sigmas=[0.1] * number,
        ),
        **changes,
    )


def make(number=17, **changes):
    cfg = Config(
        dict(
            default_scope='mmpose',
            model=dict(
                type='TopdownPoseEstimator',
                head=dict(type='HeatmapHead', out_channels=17),
            ),
            train_dataloader=dict(dataset=dict(type='CocoDataset')),
            val_dataloader=dict(dataset=dict(type='CocoDataset')),
            val_evaluator=dict(type='CocoMetric'),
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


def passes(cfg, *splits):
    check_keypoint_numbers(cfg, splits or ('train', 'val'))


def error(cfg, *splits):
    with pytest.raises(InputError) as e:
        passes(cfg, *splits)
    return str(e.value)


def test_configs_of_mmpose_pass():
    paths = sorted(
        path
        for path in MMPOSE_CONFIGS.rglob('*.py')
        if '_base_' not in path.parts
        # It needs MMPose's sources, which a wheel does not have.
        and 'edpose' not in path.name
    )
    assert len(paths) > 350
    for path in [*paths[::20], *(MMPOSE_CONFIGS / name for name in SPECIAL)]:
        cfg = Config.fromfile(path)
        passes(cfg, *splits_of(cfg))


def splits_of(cfg):
    return [s for s in ('train', 'val', 'test') if f'{s}_dataloader' in cfg]


@pytest.mark.parametrize(
    ('name', 'key', 'value', 'message'),
    [
        ('gccpm/gccpm-6stage_ushape_mobilenet-v1_1xb32-100e_coco-256x256',
         'head.out_channels', 17,
         r'head\.out_channels is 17 \(16 keypoints and the background\), but'),
        ('logocap/logocap_hrnet-w32_4xb12-140e_coco-512x512',
         'head.num_keypoints', 14,
         r'keypoints is 14, but model\.head\.expansion\.metainfo has 17 '),
        ('logocap/logocap_hrnet-w32_4xb12-140e_coco-512x512',
         'head.expansion', dict(sigmas=[0.1] * 14, _delete_=True),
         r'num_keypoints is 17, but model\.head\.expansion\.sigmas has 14'),
        ('psm/psm_hrnet-w32_8xb32-210e_coco-384x288',
         'head.out_channels', 5,
         r'is 5, but train_dataloader\.dataset \(CocoDataset metainfo\) has'),
        ('ram_gpr/ram-gpr_hrnet-w32_4xb8-240e_coco-256x192',
         'head.out_channels', 5, 'is 5, but train'),
        ('multitask_rcnn/multitask-rcnn-d2_r50_fpn_4xb3-90k_coco',
         'roi_head.keypoint_head.num_keypoints', 5,
         r'roi_head\.keypoint_head\.num_keypoints is 5, but train_dataloader'
         r'\.dataset.* \(CocoPersonDataset metainfo\) has 17 keypoints'),
    ],
)  # fmt: skip
def test_our_models(name, key, value, message):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    passes(cfg, *splits_of(cfg))
    cfg.merge_from_dict({f'model.{key}': value})
    with pytest.raises(InputError, match=message):
        passes(cfg, *splits_of(cfg))


def test_a_forgotten_key_is_named():
    cfg = make()
    passes(cfg)
    cfg.train_dataloader.dataset.metainfo = metainfo(5)
    assert error(cfg) == (
        'model.head.out_channels is 17, but train_dataloader.dataset '
        '(CocoDataset metainfo) has 5 keypoints: expected the same number of '
        'keypoints everywhere'
    )
    cfg.model.head.out_channels = 5
    message = error(cfg)
    assert message.startswith(
        'model.head.out_channels is 5, but val_dataloader.dataset '
        '(CocoDataset metainfo) has 17 keypoints'
    )
    passes(cfg, 'train')
    cfg.val_dataloader.dataset.metainfo = metainfo(5)
    passes(cfg)
    # The test data are not in use.
    cfg.test_dataloader = dict(dataset=dict(type='CocoDataset'))
    passes(cfg)
    assert 'test_dataloader' in error(cfg, 'test')


@pytest.mark.parametrize(
    ('head', 'good', 'bad', 'stated'),
    [
        ('RTMCCHead', dict(out_channels=17), dict(out_channels=18),
         'model.head.out_channels is 18'),
        ('RLEHead', dict(num_joints=17), dict(num_joints=34),
         'model.head.num_joints is 34'),
        ('mmpose.DEKRHead', dict(num_keypoints=17), dict(num_keypoints=5),
         'model.head.num_keypoints is 5'),
        (HeatmapHead, dict(out_channels=17), dict(out_channels=5),
         'model.head.out_channels is 5'),
        ('HeatmapHead',
         dict(out_channels=51, decoder=dict(heatmap_type='combined')),
         dict(out_channels=48, decoder=dict(heatmap_type='combined')),
         'model.head.out_channels is 48 (3 for each of 16 keypoints)'),
        ('VisPredictHead',
         dict(pose_cfg=dict(type='SimCCHead', out_channels=17)),
         dict(pose_cfg=dict(type='SimCCHead', out_channels=5)),
         'model.head.pose_cfg.out_channels is 5'),
        ('AssociativeEmbeddingHead',
         dict(num_keypoints=17, decoder=dict(decode_keypoint_order=[0] * 17)),
         dict(num_keypoints=17, decoder=dict(decode_keypoint_order=[0] * 5)),
         'model.head.decoder.decode_keypoint_order has 5 values'),
        ('RTMOHead',
         dict(num_keypoints=17, loss_oks=dict(metainfo='coco.py')),
         dict(num_keypoints=17, loss_oks=dict(metainfo='crowdpose.py')),
         'model.head.loss_oks.metainfo has 14 keypoints'),
        ('TheHeadOfAUser', dict(out_channels=5), None, ''),
    ],
)  # fmt: skip
def test_what_heads_state(head, good, bad, stated):
    cfg = make()
    cfg.model.head = ConfigDict(type=head, **good)
    passes(cfg)
    if bad:
        cfg.model.head = ConfigDict(type=head, **bad)
        assert stated in error(cfg)


@pytest.mark.parametrize(
    'place',
    [
        'model.head.decoder',
        'train_dataloader.dataset.pipeline.0.encoder',
        'train_dataloader.dataset.pipeline.0.encoder.1',
    ],
)
def test_a_background_is_for_gccpm_alone(place):
    encoder = dict(type='MSRAHeatmap')
    encoders = [encoder, encoder] if place.endswith('1') else encoder
    pipeline = [dict(type='GenerateTarget', encoder=encoders)]
    cfg = make()
    cfg.train_dataloader.dataset.pipeline = pipeline
    cfg.model.head.decoder = encoder
    passes(cfg)
    cfg.merge_from_dict(
        {f'{place}.type': 'mmpose.BackgroundHeatmap'}, allow_list_keys=True
    )
    where = re.sub(r'\.(\d)', r'[\1]', place)
    assert error(cfg) == (
        f'{where} is a BackgroundHeatmap, which adds a map of the background: '
        'expected a head that has one, such as GCCPMHead, but model.head is '
        'HeatmapHead'
    )
    # Training alone draws targets.
    if 'train' in place:
        passes(cfg, 'val')
    else:
        assert error(cfg, 'val') == error(cfg)
    cfg.model.head.type = 'HeadOfAUser'
    passes(cfg)
    cfg.model.head.update(type='GCCPMHead', out_channels=18)
    passes(cfg)


def test_defaults_of_heads():
    """A forgotten argument means COCO's number."""
    cfg = make()
    head = dict(type='OffsetKeypointHead')
    cfg.model = dict(roi_head=dict(keypoint_head=head))
    passes(cfg, 'train')
    cfg.train_dataloader.dataset.metainfo = metainfo(5)
    assert 'keypoint_head.num_keypoints is 17, but' in error(cfg)


@pytest.mark.parametrize('argument', ['num_keypoints', 'out_channels'])
@pytest.mark.parametrize('background', [0, 2])
def test_a_new_head_of_this_package_is_in_no_list(
    argument, background, monkeypatch
):
    class OfKeypoints:
        def __init__(self, num_keypoints=5):
            pass

    class OfChannels:
        def __init__(self, out_channels=5):
            pass

    ToyHead = OfKeypoints if argument == 'num_keypoints' else OfChannels
    ToyHead.__module__ = 'mmpose_ext.models.heads.toy_head'
    if background:
        ToyHead.num_background_maps = background
    monkeypatch.setitem(MODELS.module_dict, 'ToyHead', ToyHead)
    cfg = make()
    cfg.model.head = ConfigDict(type='ToyHead')
    assert f'model.head.{argument} is 5' in error(cfg)
    cfg.model.head[argument] = 17 + background
    passes(cfg)
    cfg.model.head.decoder = dict(type='BackgroundHeatmap')
    if background:
        passes(cfg)
    else:
        assert 'but model.head is ToyHead' in error(cfg)
    # Others mean other things by it: those of users, and necks.
    for name, package in (
        ('ToyHead', 'mmpose_extra'),
        ('ToyNeck', 'mmpose_ext'),
    ):
        ToyHead.__module__ = f'{package}.heads'
        monkeypatch.setitem(MODELS.module_dict, name, ToyHead)
        cfg.model.head = ConfigDict({'type': name, argument: 3})
        passes(cfg)


def test_what_backbones_and_metrics_state():
    cfg = make(**{'model.backbone': dict(type='CPM', out_channels=5)})
    assert 'but model.backbone.out_channels is 5:' in error(cfg)
    cfg = make(**{'val_evaluator.sigmas': [0.1] * 5})
    assert 'val_evaluator.sigmas has 5 values' in error(cfg)
    passes(cfg, 'train')


def converter(number):
    return dict(type='KeypointConverter', num_keypoints=number, mapping=[])


def test_datasets_that_are_converted_and_combined():
    parts = [
        dict(type='RepeatDataset', dataset=dict(
            type=MpiiDataset, pipeline=[converter(99), converter(17)])),
        dict(type=CocoDataset),
    ]  # fmt: skip
    cfg = make()
    dataset = dict(
        type='CombinedDataset',
        metainfo=dict(from_file='configs/_base_/datasets/coco.py'),
        datasets=parts,
    )
    cfg.train_dataloader.dataset = dataset
    passes(cfg)

    parts[0]['dataset']['pipeline'] = []
    cfg.train_dataloader.dataset = dataset
    assert (
        'model.head.out_channels is 17 and train_dataloader.dataset.'
        'datasets[1] (CocoDataset metainfo) has 17 keypoints and '
        'train_dataloader.dataset (CombinedDataset metainfo) has 17 '
        'keypoints, but train_dataloader.dataset.datasets[0].dataset '
        '(MpiiDataset metainfo) has 16 keypoints:'
    ) in error(cfg)
    parts[0]['dataset']['pipeline'] = [converter(15)]
    cfg.train_dataloader.dataset = dataset
    place = 'dataset.datasets[0].dataset.pipeline[0].num_keypoints is 15'
    assert place in error(cfg)
    # Converted once more, together.
    dataset['pipeline'] = [converter(17)]
    cfg.train_dataloader.dataset = dataset
    passes(cfg)


def test_predictions_are_chosen_or_converted():
    cfg = make(**{'model.head.out_channels': 19})
    cfg.train_dataloader.dataset.pipeline = [converter(19)]
    assert 'out_channels is 19, but val_dataloader.dataset' in error(cfg)
    cfg.model.test_cfg = dict(output_keypoint_indices=list(range(17)))
    passes(cfg)
    cfg.model.test_cfg.output_keypoint_indices = [1, 2]
    message = 'test_cfg.output_keypoint_indices has 2 values, but val_data'
    assert message in error(cfg)
    cfg.model.test_cfg = None
    cfg.val_evaluator = [dict(type='CocoMetric', pred_converter=converter(17))]
    passes(cfg)


def test_metainfo_that_contradicts_itself(monkeypatch):
    cfg = make(**{'model.head.out_channels': 5})
    dataset = cfg.train_dataloader.dataset

    def refused(**changes):
        dataset.metainfo = metainfo(5, **changes)
        return error(cfg, 'train')

    place = 'train_dataloader.dataset (CocoDataset metainfo)'
    found = refused(sigmas=[0.1] * 17)
    assert found == f'{place} has 5 keypoints, but 17 sigmas'
    dataset.metainfo = metainfo(5, sigmas=[], joint_weights=[1.0] * 4)
    passes(cfg, 'train')
    dataset.pipeline = [
        dict(type='GenerateTarget', use_dataset_keypoint_weights=True)
    ]
    found = refused(joint_weights=[1.0] * 4)
    assert found == f'{place} has 5 keypoints, but 4 joint_weights'

    points = metainfo(5)['keypoint_info']
    points[0]['swap'] = 'p9'
    found = refused(keypoint_info=points)
    assert found.startswith(
        "train_dataloader.dataset.metainfo: there is no key or keypoint 'p9'"
    )
    dataset.metainfo = dict(classes=['person'])
    assert 'expected dataset_name, keypoint_info, ' in error(cfg, 'train')
    dataset.metainfo = ['person']
    assert 'dataset.metainfo: metainfo should be' in error(cfg, 'train')

    # Flips would put p0's position into p3, and p3's nowhere.
    said = []
    monkeypatch.setattr(
        keypoint_numbers, 'print_log', lambda text, **_: said.append(text)
    )
    points[0]['swap'] = 'p3'
    dataset.metainfo = metainfo(5, keypoint_info=points)
    passes(cfg, 'train')
    (text,) = said
    assert text.startswith(f"{place}: 'p0' swaps with 'p3', but not 'p3' with")


def test_detectors_without_keypoints_pass():
    cfg = Config.fromfile(
        CONFIGS / 'person_detector/faster-rcnn_r50_fpn_1x_coco-person.py'
    )
    passes(cfg, *splits_of(cfg))


@pytest.mark.parametrize('value', [17.0, 17.5, '17', True])
def test_numbers_that_are_not_whole(value):
    model = dict(head=dict(type='HeatmapHead', out_channels=value))
    message = rf'^model\.head\.out_channels is {value!r}, expected a whole'
    with pytest.raises(InputError, match=message):
        list(keypoint_numbers._in_model(model, 'model'))
