"""PoseNet's trunk, against a computation of its graph without our code."""

import copy
import json
import tracemalloc

import cv2
import numpy as np
import posenet_graphs as graphs
import pytest
import torch
from torch.nn import functional as F

from mmpose_ext.converters.posenet import calibrate_norms, read_posenet
from mmpose_ext.errors import InputError
from mmpose_ext.models.backbones import MobileNetV1

needs_real = pytest.mark.skipif(
    not graphs.REAL.exists(), reason='PoseNet is not at hand'
)


def run(model, images, training=False, **kwargs):
    """The maps of a copy of a model, whose norms a training would change."""
    model = copy.deepcopy(model).train(training)
    with torch.no_grad():
        return model(images, **kwargs)


def with_all_stages(trunk, widen_factor):
    """The same weights as configs build a network for them."""
    model = MobileNetV1(
        widen_factor=widen_factor,
        out_indices=(0, 1, 2, 3),
        act_cfg=dict(type='ReLU6'),
    )
    model.load_state_dict(trunk.state_dict())
    return model


def assert_maps_are_those_of(trunk, content, arrays, names, widen_factor):
    model = with_all_stages(trunk, widen_factor)
    # Sides for which both frameworks pad alike.
    image = torch.rand(1, 3, 65, 97, generator=torch.manual_seed(0)) * 2 - 1
    expected = graphs.evaluate(
        content, arrays, image[0].permute(1, 2, 0).double().numpy()
    )
    exact, single = run(model.double(), image.double()), run(trunk, image)
    assert len(exact) == len(names) == 4
    for x, name in zip(exact, names):
        x = x[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(x, expected[name], rtol=0, atol=1e-5)
    last = expected[names[-1]]
    x = single[-1][0].permute(1, 2, 0).numpy()
    assert abs(x - last).max() <= 1e-5 * last.max()
    # It has not died out, and ReLU6 has both of its ends.
    assert last.std() > 1 and last.min() == 0
    assert max(expected[name].max() for name in names) == 6


@pytest.mark.parametrize(
    'width, dtype, fused',
    [
        (0.5, 'float32', True),
        (0.5, 'float32', False),  # as TensorFlow.js has published it
        (0.25, 'float16', True),
        (0.25, 'uint8', True),
        (0.75, 'uint16', False),
        (1, 'uint8', True),
    ],
)
def test_maps_are_those_of_the_graph(width, dtype, fused, tmp_path):
    kwargs = dict(width=width, dtype=dtype, fused=fused)
    path = graphs.write_graph(tmp_path, **kwargs)
    content, _, arrays = graphs.make_graph(**kwargs)
    model = read_posenet(str(path))
    assert_maps_are_those_of(model, content, arrays, graphs.STAGE_ENDS, width)


@needs_real
def test_maps_are_those_of_posenet():
    content, arrays = graphs.read_real()
    names = [
        f'MobilenetV1/MobilenetV1/Conv2d_{i}_pointwise/Relu6'
        for i in (1, 3, 5, 11)
    ]
    model = read_posenet(str(graphs.REAL))
    assert_maps_are_those_of(model, content, arrays, names, 0.75)


def test_weights_may_lie_in_several_files_and_groups(tmp_path):
    content, data, _ = graphs.make_graph()
    (tmp_path / 'graph.json').write_text(json.dumps(content))
    (tmp_path / 'w.bin').write_bytes(data)
    expected = read_posenet(str(tmp_path / 'graph.json')).state_dict()

    # Groups begin with an array, files anywhere in one.
    (group,) = content['weightsManifest']
    entries = group['weights']
    size = 4 * sum(int(np.prod(e['shape'])) for e in entries[:7])
    content['weightsManifest'] = [
        dict(paths=['a.bin', 'b.bin'], weights=entries[:7]),
        dict(paths=['c.bin'], weights=entries[7:]),
    ]
    (tmp_path / 'graph.json').write_text(json.dumps(content))
    for name, part in (
        ('a.bin', data[:501]),
        ('b.bin', data[501:size]),
        ('c.bin', data[size:]),
    ):
        (tmp_path / name).write_bytes(part)
    (tmp_path / 'w.bin').unlink()
    found = read_posenet(str(tmp_path / 'graph.json')).state_dict()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


# -- Norms -------------------------------------------------------------------


def smooth_images(n):
    x = torch.rand(n, 3, 8, 8, generator=torch.manual_seed(0)) * 2 - 1
    return F.interpolate(x, (65, 65), mode='bicubic').clamp(-1, 1)


def photographs(n):
    paths = sorted((graphs.REAL.parents[1] / 'lspet/images').glob('*'))[:n]
    if not paths:
        pytest.skip('the photographs are not at hand')
    images = [
        cv2.resize(cv2.imread(str(path)), (97, 97))[..., ::-1] / 127.5 - 1
        for path in paths
    ]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize('real', [False, pytest.param(True, marks=needs_real)])
def test_calibrated_norms_leave_the_maps_as_they_are(real, tmp_path):
    path = graphs.REAL if real else graphs.write_graph(tmp_path, width=0.5)
    images = (photographs if real else smooth_images)(24)
    plain = read_posenet(str(path))
    model = copy.deepcopy(plain)
    calibrate_norms(model, (image[None] for image in images))
    assert model.training and not any(
        m._forward_pre_hooks for m in model.modules()
    )
    again = copy.deepcopy(model)
    calibrate_norms(again, [images[:10], images[10:]])
    torch.testing.assert_close(
        again.state_dict(), model.state_dict(), rtol=1e-4, atol=1e-4
    )

    # Small variances make more of rounding.
    plain, model, images = plain.double(), model.double(), images.double()
    (expected,) = run(plain, images)
    (found,) = run(model, images)
    assert (found - expected).abs().max() < 1e-5 * expected.max()
    # With the statistics of a batch: of the same images, and of some.
    (found,) = run(model, images, training=True)
    assert (found - expected).abs().max() < 1e-5 * expected.max()
    for part in (slice(0, 8), slice(8, 24)):
        good, bad = (
            run(m, images[part], training=True)[0] for m in (model, plain)
        )
        assert correlation(good, expected[part]) > 0.95
        assert correlation(bad, expected[part]) < 0.4


def correlation(a, b):
    return np.corrcoef(a.flatten(), b.flatten())[0, 1]


def test_a_step_with_the_statistics_of_a_batch(tmp_path):
    """It moves calibrated maps little, and destroys those that are not."""
    plain = read_posenet(str(graphs.write_graph(tmp_path, width=0.5)))
    images = smooth_images(8)
    calibrated = copy.deepcopy(plain)
    calibrate_norms(calibrated, [images])
    (expected,) = run(plain, images)
    found = []
    for model in (calibrated, plain):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        (x,) = model(images)
        F.mse_loss(x, expected + 0.1).backward()
        optimizer.step()
        found.append(correlation(run(model, images)[0], expected))
        # The maps that the loss was computed with.
        found.append(correlation(x.detach(), expected))
    assert min(found[:2]) > 0.999 and found[3] < 0.2


def test_norms_of_other_networks_are_calibrated():
    """With any scale and shift, and a channel that is always the same."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
    ).eval()
    with torch.no_grad():
        model[0].weight[0].zero_()
        for value in (model[1].weight, model[1].bias, model[1].running_mean):
            value.uniform_(-2, 2)
        model[1].running_var.uniform_(0.5, 2)
    images = [torch.rand(2, 3, 4, 5), torch.rand(1, 3, 7, 3)]
    expected = [run(model, x) for x in images]
    calibrate_norms(model, images)
    for x, y in zip(images, expected):
        torch.testing.assert_close(run(model, x), y)
    pixels = torch.cat(
        [model[0](x).transpose(0, 1).flatten(1) for x in images], 1
    )
    torch.testing.assert_close(model[1].running_mean, pixels.mean(1))
    torch.testing.assert_close(
        model[1].running_var, pixels.var(1, unbiased=False)
    )


def test_calibration_needs_images():
    model = MobileNetV1(widen_factor=0.25, out_indices=(0,))
    with pytest.raises(ValueError, match='images must hold at least one'):
        calibrate_norms(model, [])


# -- Odd and hostile files ---------------------------------------------------


def group_of(content):
    return content['weightsManifest'][0]


def entry_of(content):
    """The first, of shape [3, 3, 3, 8]."""
    return group_of(content)['weights'][0]


def node_of(content, name):
    nodes = content['modelTopology']['node']
    return next(node for node in nodes if node['name'] == name)


def set_shape(*shape):
    return lambda content: entry_of(content).update(shape=list(shape))


def set_entry(**values):
    return lambda content: entry_of(content).update(values)


def set_paths(*paths):
    return lambda content: group_of(content).update(paths=list(paths))


def set_node(of, **values):
    return lambda content: node_of(content, of).update(values)


def remove(name):
    def spoil(content):
        content['modelTopology']['node'].remove(node_of(content, name))

    return spoil


def add_image(content):
    node = dict(name='image2', op='Placeholder')
    content['modelTopology']['node'].append(node)


PLACE = r'weightsManifest\[0\]'
FIRST = PLACE + r"\.weights\[0\]: 'stem/kernel': "
NAMES = r"under 'paths' must be the name of a file beside it"
ODD = {
    'no weights': (
        lambda c: c.pop('weightsManifest'),
        r"a list under 'weightsManifest', as .* got none",
    ),
    'weights of a layers model': (
        lambda c: c.update(weightsManifest={}),
        r"a list under 'weightsManifest', as .* got dict",
    ),
    'group is a list': (
        lambda c: c.update(weightsManifest=[[]]),
        PLACE + ": expected a list under 'weights'",
    ),
    'no graph': (
        lambda c: c.pop('modelTopology'),
        r"an object under 'modelTopology', as .* got none",
    ),
    'graph of a layers model': (
        lambda c: c.update(modelTopology=dict(model_config={})),
        r"modelTopology: expected a list under 'node', as .* got none",
    ),
    'entry without a name': (
        set_entry(name=3),
        PLACE + r"\.weights\[0\]: expected a string under 'name', .* got int",
    ),
    'huge': (
        set_shape(10**9, 10**9, 3, 8),
        PLACE + r': its files w\.bin have \d+ bytes, expected the 96\d+ of',
    ),
    'negative': (
        set_shape(3, 3, -3, 8),
        FIRST + r'shape\[2\] must be a whole number of at least 1, got -3',
    ),
    'nothing of much': (
        set_shape(0, 10**30),
        FIRST + r'shape\[0\] must be a whole number of at least 1, got 0',
    ),
    'float': (set_shape(3, 3, 3.0, 8), FIRST + r'shape\[2\] .* got 3.0'),
    'true': (set_shape(3, 3, True, 8), FIRST + r'shape\[2\] .* got True'),
    'text': (
        set_entry(shape='3338'),
        r"\[0\]: expected a list under 'shape', as .* got str",
    ),
    'many dimensions': (
        set_shape(*[1] * 100, 216),
        "weights of 4 dimensions as an input, but 'stem/kernel' has the shape",
    ),
    'flat': (
        set_shape(216),
        r"node 'stem': .* 4 dim.* but 'stem/kernel' has the shape \[216\]",
    ),
    'dtype': (
        set_entry(dtype='complex64'),
        FIRST + "dtype must be one of 'float32', .* got 'complex64'",
    ),
    'dtype is a list': (set_entry(dtype=['float32']), FIRST + 'dtype must be'),
    'quantised dtype': (
        set_entry(quantization=dict(dtype='int4', scale=1, min=0)),
        FIRST + "dtype must be .* got 'int4'",
    ),
    'quantised as a list': (
        set_entry(quantization=[1]),
        r"\[0\]: expected an object under 'quantization', .* got list",
    ),
    'scale': (
        set_entry(quantization=dict(dtype='float32', scale='much', min=0)),
        FIRST + "scale must be a finite number, got 'much'",
    ),
    'minimum': (
        set_entry(quantization=dict(dtype='float32', min=float('nan'))),
        FIRST + 'min must be a finite number, got nan',
    ),
    'beyond single precision': (
        set_entry(quantization=dict(dtype='float32', scale=1e300, min=0)),
        PLACE + r".weights\[0\]: 'stem/kernel' has values that are no finite",
    ),
    'folder above': (set_paths('../w.bin'), r"'\.\./w\.bin' " + NAMES),
    'folder below': (set_paths('a/w.bin'), "'a/w.bin' " + NAMES),
    'absolute': (set_paths('/etc/passwd'), "'/etc/passwd' " + NAMES),
    'no name': (set_paths(''), "'' " + NAMES),
    'above': (set_paths('..'), r"'.*\.\.' is a folder, expected a file"),
    'number': (set_paths(5), '5 ' + NAMES),
    'twice': (set_paths('w.bin', 'w.bin'), 'w.bin.* and be there once'),
    'missing': (
        set_paths('v.bin'),
        r"file of weights '.*v\.bin' does not exist",
    ),
    'NUL': (set_paths('w\0'), 'does not exist'),
    'no image': (
        remove('image'),
        'expected one Placeholder, for the image, .* got 0',
    ),
    'two images': (add_image, 'expected one Placeholder, .* got 2'),
    'node is a string': (
        lambda c: c['modelTopology']['node'].insert(0, 'image'),
        "node 0: expected a string under 'name'",
    ),
    'node without inputs': (
        lambda c: node_of(c, 'stem').pop('input'),
        r"node 'stem': expected a list under 'input', as .* got none",
    ),
    'node with too few inputs': (
        set_node('stem', input=['image', 'stem/kernel']),
        "node 'stem': .* of 1 dimensions .* but '' is none of them",
    ),
    'node with no inputs': (
        set_node('stem', input=[]),
        r"node 'stem': expected the names of its maps and weights .* got \[\]",
    ),
    'inputs are no names': (
        set_node('stem', input=['image', ['a'], {}]),
        "node 'stem': expected the names of its",
    ),
    'unknown weights': (
        set_node('stem', input=['image', 'a', 'stem/bias']),
        "node 'stem': .* of 4 dimensions .* but 'a' is none of them",
    ),
    'bias of another layer': (
        set_node('stem', input=['image', 'stem/kernel', 'point1/bias']),
        "'stem/kernel' has 8 outputs, the bias 'point1/bias' 16",
    ),
    'cycle': (
        set_node('point1', name='stem'),
        'has 3 convolutions with ReLU6 one behind the other, expected at '
        'least 23',
    ),
    'cycle of one': (set_node('stem', name='image'), 'has 1 convolutions'),
    'attributes are a list': (
        set_node('stem', attr=[]),
        "a convolution with bias and ReLU6, alone, to read the image 'image'",
    ),
    'it ends early': (
        set_node('depth11', attr=dict(fused_ops=dict(list=None))),
        'has 21 convolutions with ReLU6',
    ),
}


@pytest.mark.parametrize('name', ODD)
def test_odd_files(name, tmp_path):
    spoil, message = ODD[name]
    path = graphs.write_graph(tmp_path)
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    tracemalloc.start()
    with pytest.raises(InputError, match=message) as e:
        read_posenet(str(path))
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
    assert str(tmp_path) in str(e.value)


def test_files_that_are_no_json(tmp_path):
    path = tmp_path / 'graph.json'
    for text, message in (
        ('{"modelTopology": ', 'is not JSON'),
        ('[' * 10**5, 'nested too deeply'),
        ('[]', "a list under 'weightsManifest', as .* got none"),
        ('', 'is empty'),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message) as e:
            read_posenet(str(path))
        assert str(path) in str(e.value)
    with pytest.raises(InputError, match=r"'no\.json' does not exist"):
        read_posenet('no.json')


@pytest.mark.parametrize('change', [-1, 1])
def test_files_of_another_length(change, tmp_path):
    path = graphs.write_graph(tmp_path)
    file = tmp_path / 'w.bin'
    size = file.stat().st_size
    file.write_bytes((file.read_bytes() + b'\0')[: size + change])
    assert file.stat().st_size == size + change
    message = rf'w\.bin have {size + change} bytes, expected the {size} of'
    with pytest.raises(InputError, match=message):
        read_posenet(str(path))


def test_weights_that_are_no_numbers(tmp_path):
    path = graphs.write_graph(tmp_path)
    data = np.fromfile(tmp_path / 'w.bin', '<f4')
    for value in (np.nan, np.inf):
        data[3] = value
        data.tofile(tmp_path / 'w.bin')
        with pytest.raises(InputError, match="'stem/kernel' has values that"):
            read_posenet(str(path))


def test_links_are_not_followed(tmp_path):
    path = graphs.write_graph(tmp_path)
    (tmp_path / 'w.bin').rename(tmp_path / 'v.bin')
    (tmp_path / 'w.bin').symlink_to(tmp_path / 'v.bin')
    message = rf"w\.bin', to which '{path}' refers, is a link"
    with pytest.raises(InputError, match=message):
        read_posenet(str(path))


def test_other_networks(tmp_path):
    for kwargs, message in (
        # Of 20 channels a MobileNetV1 makes 24.
        (
            dict(width=0.625),
            r'convolution 0 .* \(20, 3, 3, 3\), expected \(24, 3, 3, 3\) of a '
            'MobileNetV1 with 20 channels at first',
        ),
        (
            dict(behind=('BiasAdd', 'Relu')),
            'expected a convolution with bias and ReLU6',
        ),
        (
            dict(behind=('BiasAdd', 'Relu'), fused=False),
            'expected a convolution with bias and ReLU6',
        ),
        (dict(behind=('Relu6', 'BiasAdd')), 'expected a convolution with'),
        (dict(behind=('Relu6',), fused=False), 'expected a convolution with'),
    ):
        path = graphs.write_graph(tmp_path, **kwargs)
        with pytest.raises(InputError, match=message) as e:
            read_posenet(str(path))
        assert str(path) in str(e.value)


def test_a_width_beyond_all_memory(tmp_path):
    """A MobileNetV1 of so many channels would have terabytes."""
    content, data, _ = graphs.make_graph()
    kernel, bias = group_of(content)['weights'][:2]
    kernel['shape'], bias['shape'] = [1, 1, 1, 400_000], [400_000]
    data = bytes(8 * 400_000) + data[4 * (216 + 8) :]
    (tmp_path / 'w.bin').write_bytes(data)
    (tmp_path / 'graph.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'\(400000, 1, 1, 1\), expected'):
        read_posenet(str(tmp_path / 'graph.json'))
