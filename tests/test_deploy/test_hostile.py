"""Exported files that say what only a program may say: nothing of it runs.

Each description is put into a file that works, in both formats. Where it would
run something, the same file is opened without the check, too, which must leave
the trace that the check keeps from being left.
"""

import ast
import re
import shutil
import sys
from contextlib import suppress
from xml.sax.saxutils import quoteattr

import numpy as np
import onnx
import pytest
import torch
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.deploy import PoseModel, runtimes
from mmpose_ext.deploy.export import _metadata, record
from mmpose_ext.deploy.formats import export_network, part_path
from mmpose_ext.deploy.metadata import KEY, MAX_LENGTH, unpack
from mmpose_ext.deploy.network import PoseNetwork
from mmpose_ext.deploy.onnx_file import read_texts
from mmpose_ext.deploy.runtimes import SEAL
from mmpose_ext.errors import InputError

FORMATS = ('.onnx', '.xml')


@pytest.fixture(scope='module')
def harmless(tiny_model, samples, tmp_path_factory):
    """The smallest network with a true description, in both formats."""
    folder = tmp_path_factory.mktemp('harmless')
    network = nn.Conv2d(3, 17, 4, stride=4)
    model = tiny_model[-1]
    text = _metadata(model, PoseNetwork(model), record(model, samples[:1]))
    for suffix in FORMATS:
        images = torch.rand(2, 3, 96, 64)
        export_network(network, images, folder / f'a{suffix}', text)
    return folder


@pytest.fixture
def files(harmless, tmp_path, monkeypatch):
    """Copies by suffix, where a module ``evil`` can be imported."""
    folder = tmp_path / 'files'
    shutil.copytree(harmless, folder)
    trace = f'open({str(tmp_path / "trace")!r}, "w").close()\n'
    package = tmp_path / 'evil'
    package.mkdir()
    (package / '__init__.py').write_text(
        f'def run(*args, **kwargs):\n    {trace}'
    )
    (package / 'registry.py').write_text(trace)
    (tmp_path / 'evilmodule.py').write_text(trace)
    (tmp_path / 'evil.py').write_text(f'{trace}dataset_info = dict()\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ('evil', 'evil.registry', 'evilmodule'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return {suffix: folder / f'a{suffix}' for suffix in FORMATS}


def read(path):
    """The description in a file."""
    return ast.literal_eval(read_texts(path.read_bytes(), str(path))[KEY])


def rewrite(path, text):
    """Put another description into a file."""
    if path.suffix == '.onnx':
        model = onnx.load(str(path))
        for entry in model.metadata_props:
            if entry.key == KEY:
                entry.value = text
            elif entry.key == SEAL:
                entry.key = 'other'
        onnx.save(model, str(path))
        return
    content = path.read_text()
    pattern = re.compile(rf'<{KEY} value=(".*?"|\'.*?\') />', re.DOTALL)
    *_, last = pattern.finditer(content)
    entry = f'<{KEY} value={quoteattr(text)} />'
    path.write_text(content[: last.start()] + entry + content[last.end() :])


def apply(change, files, suffix):
    """Change the description in one of the files; return its path."""
    metadata = read(files['.onnx'])
    change(metadata)
    rewrite(files[suffix], repr(metadata))
    return files[suffix]


def put(place, value):
    """A change of a description: ``place`` is a path of keys."""

    def change(metadata):
        *outer, key = place.split('.')
        node = metadata
        for name in outer:
            node = node[int(name) if name.isdigit() else name]
        node[int(key) if key.isdigit() else key] = value

    return change


SYSTEM = dict(type='os.system', command='touch trace')
RUN = dict(type='evil.run')
HEAD, STEP, META = 'model.head', 'pipeline.1', 'dataset_meta'

# What runs something, and where the message says that it stands.
RUNNING = {
    'head': (put(HEAD, SYSTEM), r'model\.head\.type'),
    'loss': (put(f'{HEAD}.loss', SYSTEM), r'model\.head\.loss\.type'),
    'decoder': (put(f'{HEAD}.decoder', SYSTEM), r'head\.decoder\.type'),
    'layer': (put(f'{HEAD}.final_layer', RUN), r'head\.final_layer\.type'),
    'losses': (
        put(
            f'{HEAD}.loss',
            dict(type='CombinedLoss', losses=dict(a=SYSTEM)),
        ),
        r'head\.loss\.losses\.a\.type',
    ),
    'inner head': (
        put(
            HEAD,
            dict(
                type='VisPredictHead',
                pose_cfg=dict(RUN, in_channels=1, out_channels=17),
                loss=dict(type='BCELoss'),
            ),
        ),
        r'head\.pose_cfg\.type',
    ),
    'preprocessor': (
        put('model.data_preprocessor', SYSTEM),
        r'model\.data_preprocessor\.type',
    ),
    'batch augmentation': (
        put('model.data_preprocessor.batch_augments', [SYSTEM]),
        r'batch_augments\[0\]\.type',
    ),
    'neck': (put('model.neck', SYSTEM), "model is 'neck'"),
    'transform': (put(STEP, SYSTEM), r'pipeline\[1\]\.type'),
    'in RandomApply': (
        put(STEP, dict(type='RandomApply', transforms=[SYSTEM])),
        r'pipeline\[1\]\.transforms\[0\]\.type',
    ),
    'in RandomChoice': (
        put(STEP, dict(type='RandomChoice', transforms=[[SYSTEM]])),
        r'pipeline\[1\]\.transforms\[0\]\[0\]\.type',
    ),
    'in Compose, twice': (
        put(
            STEP,
            dict(
                type='Compose',
                transforms=(dict(type='Compose', transforms=SYSTEM),),
            ),
        ),
        r'transforms\[0\]\.transforms\.type',
    ),
    'in KeyMapper': (
        put(STEP, dict(type='KeyMapper', transforms=SYSTEM)),
        "type is 'KeyMapper'",
    ),
    'in TestTimeAug': (
        put(STEP, dict(type='TestTimeAug', transforms=[[SYSTEM]])),
        "type is 'TestTimeAug'",
    ),
    'encoder': (
        put(STEP, dict(type='GenerateTarget', encoder=[SYSTEM])),
        r'encoder\[0\]\.type',
    ),
    'name of a class in another argument': (
        put(STEP, dict(type='RandomResize', scale=1, resize_type='evil.run')),
        r'pipeline\[1\]\.resize_type',
    ),
    'module in another argument': (
        put(
            STEP, dict(type='RandomResize', scale=1, resize_type='evilmodule')
        ),
        r"resize_type is 'evilmodule'",
    ),
    'scope': (put(f'{HEAD}._scope_', 'evil'), "'_scope_'"),
    'scope in a name': (put(f'{HEAD}.type', 'evil.Head'), r"'evil\.Head'"),
    'name that is a module': (put(f'{HEAD}.type', 'evilmodule'), "'evilmod"),
    'config with the metainfo of a loss': (
        put(f'{HEAD}.loss', dict(type='OKSLoss', metainfo='evil.py')),
        r'loss\.metainfo',
    ),
    'config with the metainfo of the model': (
        put('model.metainfo', dict(from_file='evil.py')),
        "model is 'metainfo'",
    ),
}


# What runs nothing, but reads files, is of the wrong kind, exhausts memory or
# takes the place of something else.
REFUSED = {
    'weights': (
        put(f'{HEAD}.init_cfg', dict(type='Pretrained', checkpoint='a.pth')),
        r'head\.init_cfg',
    ),
    'file backend': (
        put('pipeline.0.backend_args', dict(backend='http')),
        r'pipeline\[0\]\.backend_args',
    ),
    'file client': (
        put('pipeline.0.file_client_args', dict(backend='disk')),
        r'pipeline\[0\]\.file_client_args',
    ),
    'another file as the head': (
        put(HEAD, dict(type='ExportedTopdownEstimator', file='a')),
        r"'ExportedTopdownEstimator', expected a head that MMPose has",
    ),
    'backbone as the head': (put(f'{HEAD}.type', 'ResNet'), "'ResNet', exp"),
    'head as the loss': (
        put(f'{HEAD}.loss', dict(type='HeatmapHead')),
        'expected a loss that MMPose',
    ),
    'layer as the loss': (put(f'{HEAD}.loss', dict(type='BN')), 'a loss that'),
    'head as a layer': (
        put(f'{HEAD}.final_layer', dict(type='HeatmapHead')),
        'expected a layer that',
    ),
    'loss as the decoder': (
        put(f'{HEAD}.decoder', dict(type='KeypointMSELoss')),
        'expected a codec that',
    ),
    'loss as the preprocessor': (
        put('model.data_preprocessor', dict(type='KeypointMSELoss')),
        'expected a data preprocessor that',
    ),
    'reader of files': (
        put('pipeline.0.type', 'LoadImageFromFile'),
        'expected a transform of images',
    ),
    'reader of annotations': (
        put('pipeline.0.type', 'LoadAnnotations'),
        'expected a transform of images',
    ),
    'classes of another package': (
        put(STEP, dict(type='Albumentation', transforms=[])),
        "'Albumentation', expected",
    ),
    'mixture of images': (
        put(STEP, dict(type='Mosaic', pre_transform=[])),
        "'Mosaic', expected",
    ),
    'unknown name': (put(f'{HEAD}.type', 'HeatmapHaed'), "'HeatmapHaed'"),
    'no name': (put(f'{HEAD}.type', 3), r'head\.type is 3'),
    'no head': (put(HEAD, None), r'model\.head is None'),
    'no model': (put('model', []), r'model is \[\]'),
    'no pipeline': (put('pipeline', dict()), 'pipeline is {}'),
    'no step': (put(STEP, 'LoadImage'), r"pipeline\[1\] is 'LoadImage'"),
    'type in the test_cfg': (
        put('model.test_cfg.a', [dict(type='HeatmapHead')]),
        r'test_cfg\.a\[0\]\.type',
    ),
    'path': (put(f'{HEAD}.decoder.type_', '/etc/passwd'), "'/etc/passwd'"),
    'private name': (put(f'{HEAD}._delete_', True), "'_delete_'"),
    'number as a name': (put('model.test_cfg', {1: 2}), 'test_cfg is 1'),
    'large number': (put(f'{HEAD}.in_channels', 10**9), r'head\.in_channels'),
    'large layers': (
        put(f'{HEAD}.deconv_out_channels', (2**14, 2**14, 2**14)),
        'layers are larger than any',
    ),
    'argument that is none': (
        put(f'{HEAD}.nonsense', 1),
        "cannot be built: .*'nonsense'",
    ),
    # Torch's message has its stack in further lines.
    'layer of 10^300 bins': (
        put(
            f'{HEAD}',
            dict(
                type='SimCCHead',
                in_channels=3,
                out_channels=3,
                input_size=(8, 8),
                in_featuremap_size=(2, 2),
                simcc_split_ratio=1e300,
            ),
        ),
        'cannot be built: .*Overflow',
    ),
    'step that cannot be made': (
        put('pipeline.2.nonsense', 1),
        "cannot be built: .*'nonsense'",
    ),
    'array of objects': (
        put(f'{HEAD}.a', {'__array__': [1], 'dtype': 'O'}),
        "of numbers, got the dtype 'O'",
    ),
    'array of text': (
        put(f'{HEAD}.a', {'__array__': ['a'], 'dtype': 'U99999999'}),
        "of numbers, got the dtype 'U9",
    ),
    'array without shape': (
        put(f'{HEAD}.a', {'__array__': [[1], [2, 3]], 'dtype': 'int8'}),
        'is broken',
    ),
    'array of NaN': (
        put(f'{HEAD}.a', {'__array__': ['nan'], 'dtype': 'float32'}),
        'finite numbers',
    ),
    'structure': (put('structure', 'dict'), "structure is 'dict'"),
    'kind': (put('kind', ['topdown']), r"kind is \['topdown'\]"),
    'weights of a wrong type': (put('weights', '1'), "weights is '1'"),
    'parts of a wrong type': (put('parts', 'forward'), "parts is 'forward'"),
    'private part': (put('parts', ['__class__']), "parts is '__class__'"),
    'part in another folder': (put('parts', ['../a']), r"parts is '\.\./a'"),
    'part twice': (put('parts', ['a', 'a']), 'different names'),
    'part that the head has not': (
        put('parts', ['forward']),
        r"parts \['forward'\], but a HeatmapHead has \[\]",
    ),
    'another image': (put(f'{META}.img', [[0]]), "dataset_meta has 'img'"),
    'path of an image': (
        put(f'{META}.img_path', '/etc/passwd'),
        "dataset_meta has 'img_path'",
    ),
    'no keypoints': (put(f'{META}.num_keypoints', 0), 'num_keypoints is'),
    'too many keypoints': (
        put(f'{META}.num_keypoints', 10**8),
        'num_keypoints is wrong',
    ),
    'true keypoints': (put(f'{META}.num_keypoints', True), 'num_keypoints is'),
    'other names': (
        put(f'{META}.keypoint_id2name', dict.fromkeys(range(17), 'a/b' * 99)),
        'keypoint_id2name is wrong',
    ),
    'names of other ids': (
        put(f'{META}.keypoint_name2id', dict(nose=16)),
        'keypoint_name2id is wrong',
    ),
    'flip to no keypoint': (
        put(f'{META}.flip_indices', [17] * 17),
        'flip_indices is wrong',
    ),
    'flip of too few': (put(f'{META}.flip_indices', [0]), 'flip_indices is'),
    'links of three': (
        put(f'{META}.skeleton_links', [(0, 1, 2)] * 19),
        'skeleton_links is wrong',
    ),
    'links that are text': (
        put(f'{META}.skeleton_links', 'ab'),
        'num_skeleton_links is wrong, expected 1',
    ),
    'sigmas that are text': (
        put(f'{META}.sigmas', ['a'] * 17),
        'sigmas is wrong',
    ),
    'negative sigmas': (put(f'{META}.sigmas', [-1] * 17), 'sigmas is wrong'),
    'no description of keypoints': (put(META, [1]), 'got list'),
}


@pytest.mark.parametrize('suffix', FORMATS)
def test_what_was_not_changed_works(suffix, files, samples):
    path = files[suffix]
    image, boxes = samples[0]
    expected = PoseModel(path, num_threads=1)(image, boxes)
    metadata = read(files['.onnx'])
    # As in files of version 0.1.0 of configs that build on MMPose's.
    metadata['pipeline'] = [
        dict(step, _scope_='mmpose') for step in metadata['pipeline']
    ]
    metadata['pipeline'].insert(
        1,
        dict(
            type='RandomApply',
            transforms=[dict(type='RandomFlip', prob=0.0)],
            prob=0.5,
        ),
    )
    rewrite(path, repr(metadata))
    found = PoseModel(path, num_threads=1)(image, boxes)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize(
    'change',
    [
        put('structure', 'list'),
        put('model.test_cfg.flip_mode', 'nonsense'),
        put(f'{HEAD}.decoder', dict(type='SPR', input_size=(64, 96),
                                    heatmap_size=(16, 24))),
    ],
    ids=['structure', 'flip', 'decoder'],
)  # fmt: skip
def test_outputs_of_another_model(change, suffix, files, samples, monkeypatch):
    path = apply(change, files, suffix)
    message = r"of '.*a\..*' do not fit what it"
    with pytest.raises(InputError, match=message):
        PoseModel(path, num_threads=1)
    # Its network's outputs are seen by MMPose's runner, too.
    monkeypatch.setattr(PoseModel, '_try_out', lambda *_: None)
    model = PoseModel(path, num_threads=1)
    with pytest.raises(InputError, match=message):
        model(*samples[0])


class HeadWithPart(HeatmapHead):
    """One that calls a layer behind its ``forward``."""

    exported_parts = ('extra',)


@pytest.fixture
def with_part(files, monkeypatch):
    """The files as those of a model with a part that lies beside it."""
    monkeypatch.setitem(MODELS.module_dict, 'HeadWithPart', HeadWithPart)
    metadata = read(files['.onnx'])
    metadata['model']['head']['type'] = 'HeadWithPart'
    metadata['parts'] = ['extra']
    for path in files.values():
        rewrite(path, repr(metadata))
        shutil.copy(path, part_path(path, 'extra'))
    weights = files['.xml'].with_suffix('.bin')
    shutil.copy(weights, part_path(files['.xml'], 'extra').with_suffix('.bin'))
    return files


@pytest.mark.parametrize('suffix', FORMATS)
def test_parts_are_files_beside_the_network(suffix, with_part, tmp_path):
    path = with_part[suffix]
    head = PoseModel(path, num_threads=1).model.head
    assert head.extra.network.path == str(part_path(path, 'extra'))
    part = part_path(path, 'extra')
    shutil.move(part, tmp_path / 'elsewhere')
    part.symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(InputError, match=r"'.*extra.*' refers, is a link"):
        PoseModel(path)


@pytest.mark.parametrize('suffix', FORMATS)
def test_parts_that_are_left_out(suffix, with_part):
    path = with_part[suffix]
    metadata = read(with_part['.onnx'])
    metadata['parts'] = []
    rewrite(path, repr(metadata))
    with pytest.raises(InputError, match=r"a HeadWithPart has \['extra'\]"):
        PoseModel(path)


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('name', REFUSED)
def test_refused(name, suffix, files):
    change, message = REFUSED[name]
    path = apply(change, files, suffix)
    with pytest.raises(InputError, match=message) as caught:
        PoseModel(path, num_threads=1)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


AFFINE, DECODER = 'pipeline.2', f'{HEAD}.decoder'
NORM = 'model.data_preprocessor'


def without_pack(metadata):
    """A change that leaves out the last step."""
    assert metadata['pipeline'].pop()['type'] == 'PackPoseInputs'


def five_keypoints(metadata):
    """A change after which nothing looks at the maps' number."""
    metadata['dataset_meta'] = dict(num_keypoints=5)
    metadata['model']['test_cfg'] = dict(flip_test=False)


# What would be nonsense, or end in an error of another kind, at an image.
UNFIT = {
    'no steps': (put('pipeline', []), r'pipeline is \[\], expected LoadIm'),
    'no last step': (without_pack, 'PackPoseInputs last'),
    'packed twice': (
        put('pipeline.1', dict(type='PackPoseInputs')),
        'PackPoseInputs last',
    ),
    'no image': (put('pipeline.0', dict(type='RandomFlip')), 'LoadImage fir'),
    'other kind': (put('kind', 'bottomup'), "of a 'bottomup' model"),
    'crop of no size': (
        put(f'{AFFINE}.input_size', (0, 0)),
        r'pipeline\[2\]\.input_size is \(0, 0\)',
    ),
    'input of no size': (
        put(f'{DECODER}.input_size', (0, 0)),
        r'decoder\.input_size is \(0, 0\)',
    ),
    'negative heatmap': (
        put(f'{DECODER}.heatmap_size', (-1, 24)),
        r'decoder\.heatmap_size is \(-1, 24\)',
    ),
    'other input': (
        put(f'{DECODER}.input_size', (96, 64)),
        r"input_size is \(96, 64\), expected the network's \[\(64, 96\)\]",
    ),
    'other heatmap': (
        put(f'{DECODER}.heatmap_size', (24, 16)),
        r"_size is \(24, 16\), expected the network's \[\(16, 24\)\]",
    ),
    'sigma': (put(f'{DECODER}.sigma', 'a'), "decoder.sigma is 'a'"),
    'std of 0': (put(f'{NORM}.std', [1, 0, 1]), r'std is \[1, 0, 1\]'),
    'mean of one channel': (put(f'{NORM}.mean', [1]), r'mean is \[1\]'),
    'flip to one': (put(f'{META}.flip_indices', [0] * 17), 'each keypoint on'),
    'fewer keypoints than maps': (
        five_keypoints,
        'does not work on an image: ',
    ),
    'weights of 33 bits': (put('weights', 2**32), 'whole number of 32 bits'),
}


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('name', UNFIT)
def test_what_does_not_fit(name, suffix, files):
    change, message = UNFIT[name]
    path = apply(change, files, suffix)
    with pytest.raises(InputError, match=message) as caught:
        PoseModel(path, num_threads=1)
    assert str(path) in str(caught.value)


# Texts that are no description, some of which crash Python's parser.
TEXTS = {
    'call': '__import__("os").system("touch trace")',
    'lambda': '(lambda: 1)()',
    'deep': '[' * 100_000 + ']' * 100_000,
    'nested': "{'a': " + '[' * 40 + ']' * 40 + '}',
    'minus': '-' * 100_000 + '1',
    'minus after numbers': '1' + '-1' * 50_000,
    'calls': '{}' + '()' * 50_000,
    'indices': '[0]' + '[0]' * 50_000,
    'digits': '9' * 100_000,
    'product': "'9' * 10**7",
    'infinite': '{"a": 1e999}',
    'bytes': "{'a': b'x'}",
    'set': '{1, 2}',
    'complex': "{'a': 1j}",
    'unhashable': '{[]: 1}',
    'unfinished': '{"a": ',
    'null': '{"a": "\0"}',
    'long': repr(dict(a='a' * MAX_LENGTH)),
    'names': "{'a': None, 'b': Ellipsis}",
    'array of nothing': "{'__array__': [300], 'dtype': 'uint8', 'a': {}}",
    'list': '[]',
}


@pytest.mark.parametrize('name', TEXTS)
def test_texts_that_are_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"'f\.onnx' is broken"):
        unpack(TEXTS[name], 'f.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('suffix', FORMATS)
def test_texts_in_files(suffix, files, tmp_path):
    path = files[suffix]
    rewrite(path, TEXTS['call'])
    with pytest.raises(InputError, match='is broken: its description'):
        PoseModel(path)
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('name', RUNNING)
def test_nothing_runs(name, suffix, files, tmp_path, monkeypatch):
    change, message = RUNNING[name]
    path = apply(change, files, suffix)
    with pytest.raises(InputError, match=message) as caught:
        PoseModel(path)
    assert f"exported file '{path}' is refused" in str(caught.value)
    assert not (tmp_path / 'trace').exists()
    monkeypatch.setattr(runtimes, 'check_declaration', lambda *_: None)
    with suppress(InputError):
        PoseModel(path)
    assert (tmp_path / 'trace').exists()
