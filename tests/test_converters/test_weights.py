import pytest
import torch
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

from mmpose_ext import __version__
from mmpose_ext.converters import (
    convert_weights,
    halve_weights,
    make_parser,
    read_weights,
    write_weights,
)
from mmpose_ext.errors import InputError


def make_module():
    return nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3))


# From our names: 0 and 1 are a and b there.
RULES = ((r'^0', 'a'), (r'^(1)', lambda match: chr(96 + 2 * int(match[1]))))


def theirs(name):
    return {'0': 'a', '1': 'b'}[name[0]] + name[1:]


def make_weights():
    torch.manual_seed(0)
    return {
        theirs(name): torch.rand(value.shape)
        for name, value in make_module().state_dict().items()
    }


@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: w,
        lambda w: dict(state_dict=w, optimizer=dict(state={}), epoch=3),
        lambda w: dict(state_dict={f'module.{k}': v for k, v in w.items()}),
        lambda w: {f'module.{k}': nn.Parameter(v) for k, v in w.items()},
    ],
    ids=['plain', 'with optimizer', 'distributed', 'parameters'],
)
def test_reads_weights_however_they_are_wrapped(wrap, tmp_path):
    weights = make_weights()
    torch.save(wrap(weights), tmp_path / 'a.pth')
    found = read_weights(str(tmp_path / 'a.pth'))
    assert list(found) == list(weights)
    assert all(torch.equal(found[k], v) for k, v in weights.items())


@pytest.mark.parametrize(
    'content, message',
    [
        ([torch.ones(1)], 'expected weights by name, got list'),
        (dict(state_dict=3), "weights by name under 'state_dict', got int"),
        ({}, 'expected weights by name, got none'),
        (dict(a=torch.ones(1), epoch=3), "got a int under 'epoch'"),
        ({1: torch.ones(1)}, 'got the name 1'),
    ],
)
def test_refuses_files_without_weights(content, message, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(content, path)
    with pytest.raises(InputError, match=message) as e:
        read_weights(str(path))
    assert str(path) in str(e.value)


def test_refuses_files_that_are_missing_or_broken(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        read_weights(str(tmp_path / 'a.pth'))
    (tmp_path / 'b.pth').write_bytes(b'PK\x03\x04 broken')
    with pytest.raises(InputError, match='is it whole'):
        read_weights(str(tmp_path / 'b.pth'))


def test_renames():
    module, weights = make_module(), make_weights()
    converted = convert_weights(weights, module, RULES, 'x')
    assert list(converted) == list(module.state_dict())
    for name, value in converted.items():
        assert value is weights[theirs(name)]


def test_old_norms_have_counted_no_batches():
    weights = make_weights()
    del weights['b.num_batches_tracked']
    with torch.device('meta'):
        module = make_module()
    converted = convert_weights(weights, module, RULES, 'x')
    assert converted['1.num_batches_tracked'].device.type == 'cpu'
    loaded = make_module()
    loaded.load_state_dict(converted)
    assert loaded[1].num_batches_tracked == 0
    assert torch.equal(loaded[1].running_var, weights['b.running_var'])


def test_names_what_does_not_fit():
    weights = make_weights()
    for name in ('b.weight', 'b.running_mean'):
        del weights[name]
    weights['c'] = torch.ones(1)
    weights['a.weight'] = torch.ones(3, 2, 3, 3)
    with pytest.raises(InputError) as e:
        convert_weights(weights, make_module(), RULES, 'the weights of x')
    assert str(e.value).splitlines() == [
        'the weights of x do not fit:',
        '  2 missing: b.weight, b.running_mean',
        '  1 unexpected: c',
        '  1 of another shape: a.weight (3, 2, 3, 3) for (3, 2, 1, 1)',
    ]


def test_names_the_first_five_of_many():
    weights = {**make_weights(), **{f'c{i}': torch.ones(1) for i in range(9)}}
    with pytest.raises(InputError) as e:
        convert_weights(weights, make_module(), RULES, 'x')
    _, line = str(e.value).splitlines()
    assert line == '  9 unexpected: c0, c1, c2, c3, c4, ...'


def test_writes_what_mmengine_loads(tmp_path):
    weights = convert_weights(make_weights(), make_module(), RULES, 'x')
    path = tmp_path / 'new' / 'b.pth'
    write_weights(str(path), weights, '/somewhere/a.pth')
    assert [p.name for p in path.parent.iterdir()] == ['b.pth']

    module = make_module()
    checkpoint = load_checkpoint(module, str(path), strict=True)
    assert torch.equal(module[0].weight, weights['0.weight'])
    assert checkpoint['meta'] == dict(
        converted_from='a.pth', mmpose_ext_version=__version__
    )


def test_kernels_in_half_precision():
    torch.manual_seed(0)
    kernel, large = torch.randn(2, 3, 2, 3, 3)
    kernel[0, 0, 0] = 1e-9
    large[2, 0, 0] = 7e4
    variances = torch.tensor([1e-9, 1.0, 1e6])
    weights = dict(kernel=kernel, large=large, var=variances)
    weights['count'] = torch.tensor(70000)
    halved = halve_weights(weights, 'x')
    assert list(halved) == list(weights)
    assert halved['kernel'].dtype == torch.half
    torch.testing.assert_close(
        halved['kernel'].float(), kernel, rtol=2**-11, atol=1e-7
    )
    for name in ('large', 'var', 'count'):
        assert halved[name] is weights[name]

    kernel[0, 0, 1] = float('nan')
    with pytest.raises(InputError, match=r"'x': kernel is not finite"):
        halve_weights(weights, 'x')


def test_a_limit_of_size(tmp_path):
    weights, path = dict(a=torch.zeros(1000)), tmp_path / 'a.pth'
    with pytest.raises(InputError, match=r"a\.pth' would have 0\.01 MB, exp"):
        write_weights(str(path), weights, 'x', 4000)
    assert not path.exists()
    write_weights(str(path), weights, 'x', 6000)
    assert 4000 < path.stat().st_size <= 6000


def test_parser():
    parser = make_parser('What it does.', 'their file')
    args = parser.parse_args(['a', 'b', '--overwrite'])
    assert vars(args) == dict(src='a', dst='b', overwrite=True)
    assert not parser.parse_args(['a', 'b']).overwrite
    assert 'What it does.' in parser.format_help()
    assert 'their file' in parser.format_help()
