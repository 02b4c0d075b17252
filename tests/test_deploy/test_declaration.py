"""Descriptions of models: what is taken, and what is written."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from exported_description import GOOD, put
from hypothesis import given
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from mmpose.codecs import MSRAHeatmap
from mmpose.datasets.transforms import TopdownAffine
from mmpose.models import HeatmapHead
from mmpose.registry import TRANSFORMS

from mmpose_ext.codecs import KeypointExpansion
from mmpose_ext.deploy.declaration import check_declaration, plain_name
from mmpose_ext.deploy.export import export_model, record
from mmpose_ext.deploy.metadata import describe, pack, unpack
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError


def test_a_good_one():
    metadata = copy.deepcopy(GOOD)
    check_declaration(metadata)
    metadata['model']['head']['_scope_'] = 'mmpose'
    check_declaration(metadata)
    assert metadata['model'] == GOOD['model']


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


HEAD, STEP = 'model.head', 'pipeline.1'
# What reads files, is of the wrong kind, exhausts memory or takes the place of
# something else.
REFUSED = {
    'weights': (
        f'{HEAD}.init_cfg',
        dict(type='Pretrained', checkpoint='a.pth'),
        r'head\.init_cfg',
    ),
    'file backend': (
        'pipeline.0.backend_args',
        dict(backend='http'),
        r'pipeline\[0\]\.backend_args',
    ),
    'file client': (
        'pipeline.0.file_client_args',
        dict(backend='disk'),
        r'pipeline\[0\]\.file_client_args',
    ),
    'another file as the head': (
        HEAD,
        dict(type='ExportedTopdownEstimator', file='a'),
        r"'ExportedTopdownEstimator', expected a head that MMPose has",
    ),
    'backbone as the head': (f'{HEAD}.type', 'ResNet', "'ResNet', exp"),
    'head as the loss': (
        f'{HEAD}.loss',
        dict(type='HeatmapHead'),
        'expected a loss that MMPose',
    ),
    'layer as the loss': (f'{HEAD}.loss', dict(type='BN'), 'a loss that'),
    'head as a layer': (
        f'{HEAD}.final_layer',
        dict(type='HeatmapHead'),
        'expected a layer that',
    ),
    'loss as the decoder': (
        f'{HEAD}.decoder',
        dict(type='KeypointMSELoss'),
        'expected a codec that',
    ),
    'loss as the preprocessor': (
        'model.data_preprocessor',
        dict(type='KeypointMSELoss'),
        'expected a data preprocessor that',
    ),
    'reader of files': (
        'pipeline.0.type',
        'LoadImageFromFile',
        'expected a transform of images',
    ),
    'reader of annotations': (
        'pipeline.0.type',
        'LoadAnnotations',
        'expected a transform of images',
    ),
    'classes of another package': (
        STEP,
        dict(type='Albumentation', transforms=[]),
        "'Albumentation', expected",
    ),
    'mixture of images': (
        STEP,
        dict(type='Mosaic', pre_transform=[]),
        "'Mosaic', expected",
    ),
    'unknown name': (f'{HEAD}.type', 'HeatmapHaed', "'HeatmapHaed'"),
    'no name': (f'{HEAD}.type', 3, r'head\.type is 3'),
    'no head': (HEAD, None, r'model\.head is None'),
    'no model': ('model', [], r'model is \[\]'),
    'no pipeline': ('pipeline', dict(), 'pipeline is {}'),
    'no step': (STEP, 'LoadImage', r"pipeline\[1\] is 'LoadImage'"),
    'type in the test_cfg': (
        'model.test_cfg.a',
        [dict(type='HeatmapHead')],
        r'test_cfg\.a\[0\]\.type',
    ),
    'path': (f'{HEAD}.decoder.type_', '/etc/passwd', "'/etc/passwd'"),
    'private name': (f'{HEAD}._delete_', True, "'_delete_'"),
    'number as a name': ('model.test_cfg', {1: 2}, 'test_cfg is 1'),
    'large number': (f'{HEAD}.in_channels', 10**9, r'head\.in_channels'),
    'structure': ('structure', 'dict', "structure is 'dict'"),
    'kind': ('kind', ['topdown'], r"kind is \['topdown'\]"),
    'weights of a wrong type': ('weights', '1', "weights is '1'"),
    'parts of a wrong type': ('parts', 'forward', "parts is 'forward'"),
    'private part': ('parts', ['__class__'], "parts is '__class__'"),
    'part in another folder': ('parts', ['../a'], r"parts is '\.\./a'"),
    'part twice': ('parts', ['a', 'a'], 'different names'),
    'weights of 33 bits': ('weights', 2**32, 'whole number of 32 bits'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name):
    place, value, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        check_declaration(put(place, value))


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
    found = describe(model, 'Tensor', 1, ())
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
    with pytest.raises(InputError, match='its own metainfo cannot'):
        describe(model, 'Tensor', 1, ())


def test_sigmas_of_a_metainfo_are_taken_along(tiny_config):
    config = load_config(str(tiny_config))
    config.model.head.expansion = dict(
        type='KeypointExpansion', metainfo='configs/_base_/datasets/coco.py'
    )
    codec = KeypointExpansion(metainfo=config.model.head.expansion.metainfo)
    model = SimpleNamespace(
        cfg=config,
        dataset_meta=GOOD['dataset_meta'],
        head=SimpleNamespace(expansion=codec),
    )
    found = describe(model, 'Tensor', 1, ())['model']['head']['expansion']
    sigmas = codec.sigmas.tolist()
    assert found == dict(type='KeypointExpansion', sigmas=sigmas)


def test_models_that_could_not_be_loaded(
    model, samples, tmp_path, monkeypatch
):
    class ReadsFiles(LoadImageFromFile):
        pass

    monkeypatch.setitem(TRANSFORMS.module_dict, 'ReadsFiles', ReadsFiles)
    recording = record(model, samples[:1])
    step = model.cfg.test_dataloader.dataset.pipeline[0]
    monkeypatch.setitem(step, 'type', 'ReadsFiles')
    with pytest.raises(InputError, match=r'be exported: pipeline\[0\]\.type'):
        export_model(model, tmp_path / 'a.onnx', recording)
    assert not list(tmp_path.iterdir())
