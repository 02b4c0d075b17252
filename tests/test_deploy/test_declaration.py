"""Descriptions of models: what is taken, and what is written."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmpose.codecs import MSRAHeatmap
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.datasets.transforms import TopdownAffine
from mmpose.models import HeatmapHead
from mmpose.registry import TRANSFORMS

from mmpose_ext.deploy.declaration import check_declaration, plain_name
from mmpose_ext.deploy.export import export_model, record
from mmpose_ext.deploy.keypoint_meta import check_keypoint_meta
from mmpose_ext.deploy.metadata import describe, pack, unpack
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

GOOD = dict(
    format=1,
    structure='Tensor',
    weights=7,
    kind='topdown',
    parts=(),
    model=dict(
        head=dict(
            type='HeatmapHead',
            in_channels=8,
            out_channels=2,
            deconv_out_channels=None,
            final_layer=dict(kernel_size=1, type='Conv2d'),
            loss=dict(
                type='CombinedLoss',
                losses=dict(a=dict(type='KeypointMSELoss')),
            ),
            decoder=dict(
                type='MSRAHeatmap', input_size=(8, 8), heatmap_size=[2, 2]
            ),
        ),
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=[1.5]),
        test_cfg=dict(flip_test=True, flip_mode='heatmap'),
    ),
    pipeline=[
        dict(type='LoadImage'),
        dict(
            type='RandomChoice',
            transforms=[[dict(type='Compose', transforms=[])]],
        ),
        dict(type='CenterCrop', crop_size=8, pad_cfg=dict(type='Pad')),
        dict(type='RandomResize', scale=(8, 8), resize_type='Resize'),
        dict(type='GenerateTarget', encoder=dict(type='UDPHeatmap')),
        dict(type='GetBBoxCenterScale'),
        dict(type='PackPoseInputs'),
    ],
    dataset_meta=dict(
        dataset_name='two',
        num_keypoints=2,
        keypoint_id2name={0: 'a', 1: 'b'},
        keypoint_name2id=dict(a=0, b=1),
        upper_body_ids=[],
        flip_indices=(1, 0),
        flip_pairs=[(0, 1)],
        num_skeleton_links=1,
        skeleton_links=[(0, 1)],
        skeleton_link_colors=np.array([[0, 128, 255]], np.uint8),
        sigmas=np.array([0.1, 0.2], np.float32),
    ),
)


def test_a_good_one():
    metadata = copy.deepcopy(GOOD)
    check_declaration(metadata)
    metadata['model']['head']['_scope_'] = 'mmpose'
    check_declaration(metadata)
    assert metadata['model'] == GOOD['model']


@pytest.mark.parametrize(
    'name', ['coco', 'coco_wholebody', '300w', 'coco_aic', 'h36m', 'wflw']
)
def test_keypoints_of_datasets(name):
    meta = parse_pose_metainfo(
        dict(from_file=f'configs/_base_/datasets/{name}.py')
    )
    meta.pop('stats_info', None)
    check_keypoint_meta(meta)


@pytest.mark.parametrize('key', ['sigmas', 'skeleton_links', 'flip_pairs'])
def test_arrays_without_an_axis(key):
    meta = dict(GOOD['dataset_meta'], **{key: np.array(0)})
    with pytest.raises(ValueError, match=r'dataset_meta.* is wrong, expected'):
        check_keypoint_meta(meta)


@pytest.mark.parametrize(
    'value', [np.array(2**14 + 1), np.array([[8, -(2**14) - 1]])]
)
def test_arrays_are_no_way_round_the_limit_of_numbers(value):
    metadata = copy.deepcopy(GOOD)
    metadata['model']['head']['in_channels'] = np.clip(
        value, -(2**14), 2**14, out=value.copy()
    )
    check_declaration(metadata)
    metadata['model']['head']['in_channels'] = value
    with pytest.raises(ValueError, match=r'in_channels.* at most 16384'):
        check_declaration(metadata)


def places(node, path=()):
    """The paths of all entries, at every depth."""
    items = (
        node.items() if isinstance(node, dict)
        else enumerate(node) if isinstance(node, list) else ()
    )  # fmt: skip
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = [p for p in places(GOOD) if p not in {('format',), ('model',)}]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ['os.system', 'mmdet.FPN', 'HeatmapHead', 'LoadImage', 'ResNet', 'BN']
    ),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(['type', '_scope_', 'init_cfg', 'a', 'loss', '', 1]),
        inner,
        max_size=3,
    ),
    max_leaves=6,
)  # fmt: skip


def types_in(node):
    """All names of classes at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ('type', 'resize_type'):
                yield value
            yield from types_in(value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from types_in(item)


@given(st.sampled_from(PLACES), VALUES)
def test_anything_at_any_place(place, value):
    metadata = copy.deepcopy(GOOD)
    node = metadata
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    try:
        check_declaration(metadata)
    except ValueError:
        return
    text = repr((metadata['model'], metadata['pipeline']))
    assert '_scope_' not in text
    assert "'init_cfg': {" not in text
    for name in types_in((metadata['model'], metadata['pipeline'])):
        assert isinstance(name, str)
        assert '.' not in name


@pytest.mark.parametrize('place', ['model', 'pipeline'])
def test_everything_is_looked_at(place):
    """A dict of a type nobody knows is found wherever it is put."""
    for path in PLACES:
        if path[0] != place:
            continue
        metadata = copy.deepcopy(GOOD)
        node = metadata
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = [dict(a=(dict(type='os.system'),))]
        with pytest.raises(ValueError, match=r'is .*os\.system.*, expected'):
            check_declaration(metadata)


@pytest.mark.parametrize(
    'kind, expected',
    [
        ('HeatmapHead', 'HeatmapHead'),
        ('mmpose.HeatmapHead', 'HeatmapHead'),
        ('mmpose.models.heads.HeatmapHead', 'HeatmapHead'),
        (HeatmapHead, 'HeatmapHead'),
        (MSRAHeatmap, 'MSRAHeatmap'),
        ('torch.nn.BatchNorm2d', 'BN'),
        ('mmdet.Nothing', 'mmdet.Nothing'),
        (dict, dict),
    ],
)
def test_plain_names(kind, expected):
    assert plain_name(kind) == expected


def test_what_is_written_of_a_config(tiny_config):
    config = load_config(str(tiny_config))
    config.model.head.update(type=HeatmapHead, init_cfg=dict(type='Normal'))
    config.model.head.loss['_scope_'] = 'mmpose'
    config.model.data_preprocessor.batch_augments = [dict(type='X')]
    config.model.use_syncbn = True
    pipeline = config.test_dataloader.dataset.pipeline
    pipeline[0].backend_args = dict(backend='local')
    pipeline[2].type = TopdownAffine
    meta = dict(GOOD['dataset_meta'], classes=['person'])
    model = SimpleNamespace(cfg=config, dataset_meta=meta)
    found = describe(model, 'Tensor', 1, 'topdown', ())
    plain = load_config(str(tiny_config))
    assert found['model'] == dict(
        head=plain.model.head.to_dict(),
        data_preprocessor=plain.model.data_preprocessor.to_dict(),
        test_cfg=dict(flip_test=False),
    )
    steps = plain.test_dataloader.dataset.pipeline
    assert found['pipeline'] == [step.to_dict() for step in steps]
    assert found['dataset_meta'] == GOOD['dataset_meta']
    check_declaration(unpack(pack(found), 'a'))


def test_metainfo_of_a_model(tiny_config):
    config = load_config(str(tiny_config))
    config.model.metainfo = dict(from_file='a.py')
    model = SimpleNamespace(cfg=config, dataset_meta=GOOD['dataset_meta'])
    with pytest.raises(InputError, match='metainfo of its own cannot be exp'):
        describe(model, 'Tensor', 1, 'topdown', ())


def test_pure_python_configs(tmp_path):
    path = tmp_path / 'pure.py'
    path.write_text(
        'from mmengine.config import read_base\n'
        'from mmpose.codecs import MSRAHeatmap\n'
        'from mmpose.datasets.transforms import LoadImage\n'
        'from mmpose.models.heads import HeatmapHead\n'
        'codec = dict(type=MSRAHeatmap)\n'
        'model = dict(head=dict(type=HeatmapHead, decoder=codec))\n'
        'pipeline = [dict(type=LoadImage)]\n'
        'test_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
    )
    model = SimpleNamespace(
        cfg=Config.fromfile(path), dataset_meta=GOOD['dataset_meta']
    )
    found = describe(model, 'Tensor', 1, 'topdown', ())
    head = dict(type='HeatmapHead', decoder=dict(type='MSRAHeatmap'))
    assert found['model'] == dict(head=head)
    assert found['pipeline'] == [dict(type='LoadImage')]


def test_models_that_could_not_be_loaded(
    tiny_model, samples, tmp_path, monkeypatch
):
    class ReadsFiles(LoadImageFromFile):
        pass

    monkeypatch.setitem(TRANSFORMS.module_dict, 'ReadsFiles', ReadsFiles)
    model = tiny_model[-1]
    recording = record(model, samples[:1])
    step = model.cfg.test_dataloader.dataset.pipeline[0]
    monkeypatch.setitem(step, 'type', 'ReadsFiles')
    with pytest.raises(InputError, match=r'be exported: pipeline\[0\]\.type'):
        export_model(model, tmp_path / 'a.onnx', recording)
    assert not list(tmp_path.iterdir())
