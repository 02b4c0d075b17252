"""tools/converters/logocap.py, with made-up weights under official names.

Each weight is filled with a different value, which shows where it went.
"""

import functools
import json
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpose.models.backbones import HRNet
from mmpose.registry import MODELS

from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]
TOOL = 'tools/converters/logocap.py'
OFFICIAL = ROOT.parent / 'shared/data/official_checkpoints'
CONFIGS = {
    32: 'logocap_hrnet-w32_4xb12-140e_coco-512x512.py',
    48: 'logocap_hrnet-w48_8xb12-140e_coco-640x640.py',
}
main = runpy.run_path(str(ROOT / TOOL))['main']
widths = pytest.mark.parametrize('width', [32, 48])

# From the official names in the head to ours.
HEAD = {
    'transition_cls.0': 'heatmap_branch.0',
    'transition_cls.1': 'heatmap_branch.1',
    'final_layer_cls': 'heatmap_branch.3',
    'transition_reg.0': 'offset_branch.0',
    'transition_reg.1': 'offset_branch.1',
    'final_layer_reg': 'offset_branch.3',
    'transition_embedding.0': 'embedding_branch.0',
    'transition_embedding.1': 'embedding_branch.1',
    'joints_mlp.0': 'refinement.0',
    'joints_mlp.1': 'refinement.1',
    'joints_mlp.3': 'refinement.3',
    'joints_mlp.4': 'refinement.4.norm',
    'joints_mlp.4.weight_': 'refinement.4.gamma',
    'joints_mlp.4.bias_': 'refinement.4.beta',
    'joints_mlp.4.attn_weights.attention.0': 'refinement.4.mixing',
    'joints_mlp.6': 'refinement.6',
    'joints_mlp.7': 'refinement.7',
    'joints_mlp.9': 'refinement.9',
}


def our_name(name):
    if name.startswith('backbone.'):
        return name
    module, _, parameter = name.rpartition('.')
    if name in HEAD:
        return f'head.{HEAD[name]}'
    return f'head.{HEAD[module]}.{parameter}'


# -- The official names and shapes -------------------------------------------


def conv(name, i, o, kernel=1):
    return {f'{name}.weight': [o, i, kernel, kernel]}


def norm(name, channels, affine=True):
    keys = ['running_mean', 'running_var'] + ['weight', 'bias'] * affine
    shapes = {f'{name}.{key}': [channels] for key in keys}
    return {**shapes, f'{name}.num_batches_tracked': []}


def backbone_shapes(width):
    """Official names and MMPose's are the same."""
    stages = {
        f'stage{n}': dict(
            num_modules=modules,
            num_branches=n,
            block='BASIC',
            num_blocks=[4] * n,
            num_channels=[width, 2 * width, 4 * width, 8 * width][:n],
        )
        for n, modules in ((2, 1), (3, 4), (4, 3))
    }
    stages['stage1'] = dict(
        num_modules=1,
        num_branches=1,
        block='BOTTLENECK',
        num_blocks=[4],
        num_channels=[64],
    )
    stages['stage4']['multiscale_output'] = True
    with torch.device('meta'):
        weights = HRNet(stages).state_dict()
    return {f'backbone.{k}': list(v.shape) for k, v in weights.items()}


@functools.lru_cache(None)
def official_shapes(width):
    features = 15 * width
    return {
        **backbone_shapes(width),
        **conv('transition_cls.0', features, width),
        **norm('transition_cls.1', width),
        **conv('final_layer_cls', width, 18),
        'final_layer_cls.bias': [18],
        **conv('transition_reg.0', features, 256),
        **norm('transition_reg.1', 256),
        **conv('final_layer_reg', 256, 34),
        'final_layer_reg.bias': [34],
        **conv('transition_embedding.0', features, 64),
        **norm('transition_embedding.1', 64),
        **conv('joints_mlp.0', 17 * 64, 512, 3),
        **norm('joints_mlp.1', 512),
        **conv('joints_mlp.3', 512, 256, 3),
        **norm('joints_mlp.4', 256, affine=False),
        'joints_mlp.4.weight_': [20, 256],
        'joints_mlp.4.bias_': [20, 256],
        **conv('joints_mlp.4.attn_weights.attention.0', 256, 20),
        **conv('joints_mlp.6', 256, 128, 3),
        **norm('joints_mlp.7', 128),
        **conv('joints_mlp.9', 128, 17),
        'joints_mlp.9.bias': [17],
    }


@widths
def test_names_and_shapes_here_are_those_of_the_official_files(width):
    path = OFFICIAL / f'logocap_w{width}.json'
    if not path.exists():
        pytest.skip('the list of official names is not at hand')
    assert json.loads(path.read_text()) == official_shapes(width)


def numbered_weights(width):
    """The i-th weight is i all over; files hold each value but once."""
    weights = {}
    for i, (name, shape) in enumerate(official_shapes(width).items(), 1):
        whole = name.endswith('num_batches_tracked')
        value = torch.tensor(i if whole else float(i))
        weights[name] = value.expand(shape)
    return weights


# -- The conversion ----------------------------------------------------------


@pytest.fixture
def convert(tmp_path):
    """Save a checkpoint, convert it, return the result's path."""

    def convert(checkpoint, *options):
        source, result = tmp_path / 'official.pth.tar', tmp_path / 'ours.pth'
        torch.save(checkpoint, source)
        main([str(source), str(result), *options])
        return str(result)

    return convert


@widths
def test_every_weight_arrives_in_the_configs_model(width, convert, capsys):
    weights = numbered_weights(width)
    path = convert(weights)
    assert capsys.readouterr().out == (
        f'{len(weights)} weights written to {path}, for HRNet-W{width}\n'
    )
    cfg = Config.fromfile(ROOT / 'configs/logocap' / CONFIGS[width])
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    found = torch.load(path, weights_only=True)['state_dict']
    model.load_state_dict(found, strict=True, assign=True)
    ours = model.state_dict()
    assert ours.keys() == {our_name(name) for name in weights}
    for name, value in weights.items():
        found = ours[our_name(name)]
        assert found.shape == value.shape
        assert (found == value).all(), name


# -- What does not fit -------------------------------------------------------


FIRST = 'backbone.stage4.0.branches.0.0.conv1.weight'


@pytest.mark.parametrize(
    'dropped, added, expected',
    [
        (
            ['joints_mlp.4.weight_'],
            {'joints_mlp.4.gamma': [20, 256]},
            '1 missing: joints_mlp.4.weight_\n'
            '  1 unexpected: joints_mlp.4.gamma',
        ),
        (
            ['final_layer_reg.bias', 'backbone.conv1.weight'],
            {},
            '2 missing: backbone.conv1.weight, final_layer_reg.bias',
        ),
        (
            [],
            {'final_layer_cls.bias': [15]},
            '1 of another shape: final_layer_cls.bias (15,) for (18,)',
        ),
        (
            [],
            {FIRST: [18, 18, 3, 3]},
            f'expected HRNet-W32 or HRNet-W48, got 18 channels in {FIRST}',
        ),
        ([FIRST], {}, f'no {FIRST}'),
    ],
)
def test_refuses_what_does_not_fit(
    dropped, added, expected, convert, tmp_path
):
    weights = numbered_weights(32)
    for name in dropped:
        del weights[name]
    weights |= {name: torch.ones(shape) for name, shape in added.items()}
    with pytest.raises(InputError) as e:
        convert(weights)
    assert expected in str(e.value)
    assert f"'{tmp_path / 'official.pth.tar'}'" in str(e.value)
    assert [p.name for p in tmp_path.iterdir()] == ['official.pth.tar']


def test_refuses_one_width_with_the_head_of_the_other(convert):
    weights = {
        name: value
        for width in (32, 48)
        for name, value in numbered_weights(width).items()
        if name.startswith('backbone.') == (width == 32)
    }
    with pytest.raises(InputError) as e:
        convert(weights)
    assert 'with HRNet-W32, do not fit' in str(e.value)
    assert 'transition_cls.0.weight (48, 720, 1, 1) for (32, 480, 1, 1)' in (
        str(e.value)
    )


def test_command_line(run_script, tmp_path):
    source, result = tmp_path / 'a.pth.tar', tmp_path / 'b.pth'
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and err.startswith('error: checkpoint')
    assert f"'{source}' does not exist" in err

    torch.save(numbered_weights(32), source)
    result.write_text('mine')
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and 'exists already' in err
    assert result.read_text() == 'mine'

    status, out, _ = run_script(TOOL, source, result, '--overwrite')
    assert status == 0 and out.endswith(f'to {result}, for HRNet-W32\n')
    found = torch.load(result, weights_only=True)['state_dict']
    assert len(found) == len(official_shapes(32))
