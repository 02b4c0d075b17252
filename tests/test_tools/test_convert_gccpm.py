"""tools/converters/gccpm.py, with random weights under the official names.

The official networks are computed once more here, by torch's functions from
the official names, to compare the converted ones with.
"""

import json
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner.checkpoint import load_checkpoint
from mmpose.registry import MODELS
from torch.nn import functional as F

from mmpose_ext.errors import InputError
from mmpose_ext.models.backbones import MobileNetV1

ROOT = Path(__file__).parents[2]
TOOL = 'tools/converters/gccpm.py'
OFFICIAL = ROOT.parent / 'shared/data/official_checkpoints'
main = runpy.run_path(str(ROOT / TOOL))['main']

# Output channels and stride of marvis' separable convolutions 1 to 13.
SEPARABLE = [
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *[(512, 1)] * 5,
    *((1024, 2), (1024, 1)),
]


# -- The official names and shapes -------------------------------------------


def norm_shapes(name, channels):
    shapes = {
        f'{name}.{key}': [channels]
        for key in ('weight', 'bias', 'running_mean', 'running_var')
    }
    return {**shapes, f'{name}.num_batches_tracked': []}


def conv_shapes(name, i, o, kernel=3, norm=True):
    shapes = {
        f'{name}.0.weight': [o, i, kernel, kernel],
        f'{name}.0.bias': [o],
    }
    return {**shapes, **(norm_shapes(f'{name}.1', o) if norm else {})}


def mobilenet_shapes(depth):
    """The first 3x3 convolution and some separable ones."""
    shapes = {
        'model.0.0.weight': [32, 3, 3, 3],
        **norm_shapes('model.0.1', 32),
    }
    i = 32
    for k, (o, _) in enumerate(SEPARABLE[:depth], 1):
        shapes[f'model.{k}.0.weight'] = [i, 1, 3, 3]
        shapes.update(norm_shapes(f'model.{k}.1', i))
        shapes[f'model.{k}.3.weight'] = [o, i, 1, 1]
        shapes.update(norm_shapes(f'model.{k}.4', o))
        i = o
    return shapes


def heatmap_shapes(name, hidden):
    return {
        **conv_shapes(f'{name}.0', 128, hidden, 1, norm=False),
        **conv_shapes(f'{name}.1', hidden, 17, 1, norm=False),
    }


def official_shapes(num_refinements):
    shapes = {
        **mobilenet_shapes(11),
        **conv_shapes('cpm.0', 512, 256),
        **conv_shapes('cpm.1', 256, 128),
    }
    for i in range(3):
        shapes.update(conv_shapes(f'initial_stage.trunk.{i}', 128, 128))
    shapes.update(heatmap_shapes('initial_stage.heatmaps', 512))
    c = 128 + 17
    for stage in range(num_refinements):
        name = f'refinement_stages.{stage}'
        for part, i, o in (
            ('encoder1.0', c, 2 * c),
            ('encoder1.1', 2 * c, 2 * c),
            ('encoder2.0', 2 * c, 2 * c),
            ('encoder2.1', 2 * c, 2 * c),
            ('decoder2.0', 4 * c, 2 * c),
            ('decoder2.1', 2 * c, 2 * c),
            ('decoder1.0', 3 * c, 2 * c),
            ('decoder1.1', 2 * c, c),
        ):
            shapes.update(conv_shapes(f'{name}.trunk.0.{part}', i, o))
        for block in (1, 2, 3):
            part = f'{name}.trunk.{block}'
            i = c if block == 1 else 128
            shapes.update(
                conv_shapes(f'{part}.initial', i, 128, 1, norm=False)
            )
            for k in (0, 1):
                shapes.update(conv_shapes(f'{part}.trunk.{k}', 128, 128))
        shapes.update(heatmap_shapes(f'{name}.heatmaps', 128))
    return shapes


@pytest.mark.parametrize(
    'num, name', [(1, '1refinement'), (5, '5refinements')]
)
def test_names_and_shapes_here_are_those_of_the_official_files(num, name):
    path = OFFICIAL / f'gccpm_{name}.json'
    if not path.exists():
        pytest.skip('the list of official names is not at hand')
    assert json.loads(path.read_text()) == official_shapes(num)


def random_weights(shapes):
    torch.manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith('num_batches_tracked'):
            weights[name] = torch.tensor(7)
        elif len(shape) > 1:
            weights[name] = torch.empty(shape)
            torch.nn.init.kaiming_normal_(weights[name])
        elif name.endswith('running_var'):
            weights[name] = torch.empty(shape).uniform_(0.5, 2)
        else:
            # Around 1 for the scales of norms, else around 0.
            is_scale = name.endswith('.weight')
            weights[name] = is_scale + 0.2 * torch.randn(shape)
    return weights


# -- The official networks ---------------------------------------------------


def norm_relu(x, w, name):
    keys = ('running_mean', 'running_var', 'weight', 'bias')
    return F.relu(F.batch_norm(x, *(w[f'{name}.{key}'] for key in keys)))


def conv(x, w, name, relu=True, **kwargs):
    x = F.conv2d(x, w[f'{name}.0.weight'], w[f'{name}.0.bias'], **kwargs)
    if f'{name}.1.weight' in w:
        return norm_relu(x, w, f'{name}.1')
    return F.relu(x) if relu else x


def official_backbone(x, w):
    x = F.conv2d(x, w['model.0.0.weight'], stride=2, padding=1)
    x = norm_relu(x, w, 'model.0.1')
    for k in range(1, 12):
        d = 2 if k == 7 else 1
        x = F.conv2d(
            x,
            w[f'model.{k}.0.weight'],
            stride=2 if k in (2, 4) else 1,
            padding=d,
            dilation=d,
            groups=x.shape[1],
        )
        x = norm_relu(x, w, f'model.{k}.1')
        x = F.conv2d(x, w[f'model.{k}.3.weight'])
        x = norm_relu(x, w, f'model.{k}.4')
    return x


def official_context(x, w, name):
    def two(x, part, stride=1):
        x = conv(x, w, f'{name}.{part}.0', stride=stride, padding=1)
        return conv(x, w, f'{name}.{part}.1', padding=1)

    def up(x, like):
        size = like.shape[2:]
        return F.interpolate(x, size, mode='bilinear', align_corners=False)

    e1 = two(x, 'encoder1', stride=2)
    e2 = two(e1, 'encoder2', stride=2)
    d2 = two(torch.cat([e1, up(e2, e1)], 1), 'decoder2')
    return two(torch.cat([x, up(d2, x)], 1), 'decoder1')


def official_heatmaps(x, w, name):
    x = conv(x, w, f'{name}.heatmaps.0')
    return conv(x, w, f'{name}.heatmaps.1', relu=False)


def official_net(x, w, num_refinements):
    x = official_backbone(x, w)
    for k in (0, 1):
        x = conv(x, w, f'cpm.{k}', padding=1)
    features = x
    for k in range(3):
        x = conv(x, w, f'initial_stage.trunk.{k}', padding=1)
    stages = [official_heatmaps(x, w, 'initial_stage')]
    for stage in range(num_refinements):
        name = f'refinement_stages.{stage}'
        x = torch.cat([features, stages[-1]], 1)
        x = official_context(x, w, f'{name}.trunk.0')
        for block in (1, 2, 3):
            part = f'{name}.trunk.{block}'
            x = conv(x, w, f'{part}.initial')
            y = conv(x, w, f'{part}.trunk.0', padding=1)
            x = x + conv(y, w, f'{part}.trunk.1', padding=2, dilation=2)
        stages.append(official_heatmaps(x, w, name))
    return stages


# -- The conversion ----------------------------------------------------------


@pytest.fixture
def convert(tmp_path):
    """Save a checkpoint, convert it, return the result's path."""

    def convert(checkpoint, *options):
        source, result = tmp_path / 'official.pth', tmp_path / 'ours.pth'
        torch.save(checkpoint, source)
        main([str(source), str(result), *options])
        return str(result)

    return convert


def build_model(num_stages):
    with DefaultScope.overwrite_default_scope('mmpose'):
        return MODELS.build(
            dict(
                type='TopdownPoseEstimator',
                data_preprocessor=dict(
                    type='PoseDataPreprocessor',
                    mean=[128] * 3,
                    std=[256] * 3,
                ),
                backbone=dict(
                    type='MobileNetV1', out_indices=(3,), output_stride=8
                ),
                head=dict(
                    type='GCCPMHead',
                    in_channels=512,
                    out_channels=17,
                    num_stages=num_stages,
                    context=dict(type='UShapedContext'),
                ),
            )
        )


@pytest.mark.parametrize('num_refinements', [0, 1, 2])
@torch.no_grad()
def test_heatmaps_of_all_stages_are_the_official_ones(
    num_refinements, convert, capsys
):
    weights = random_weights(official_shapes(num_refinements))
    path = convert(weights)
    assert f'num_stages={1 + num_refinements}\n' in capsys.readouterr().out

    model = build_model(1 + num_refinements).eval()
    load_checkpoint(model, path, strict=True)
    image = torch.rand(2, 3, 72, 56) - 0.5
    ours = model(image, None, mode='tensor')
    official = official_net(image, weights, num_refinements)
    assert len(ours) == len(official) == 1 + num_refinements
    for a, b in zip(ours, official):
        assert a.shape == b.shape == (2, 17, 9, 7)
        assert b.std() > 0.1  # has not died out
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@torch.no_grad()
def test_imagenet_backbone(convert):
    """As old as marvis' file is: norms that count no batches."""
    shapes = {**mobilenet_shapes(13), 'fc.weight': [1000, 1024],
              'fc.bias': [1000]}  # fmt: skip
    weights = {
        key: value
        for key, value in random_weights(shapes).items()
        if not key.endswith('num_batches_tracked')
    }
    path = convert(
        dict(
            epoch=90,
            arch='mobilenet',
            state_dict={f'module.{k}': v for k, v in weights.items()},
            best_prec1=69.5,
        ),
        '--backbone',
    )
    keys = torch.load(path, weights_only=True)['state_dict'].keys()
    model = MobileNetV1(
        out_indices=(3,),
        output_stride=8,
        init_cfg=dict(type='Pretrained', checkpoint=path, prefix='backbone.'),
    )
    assert keys == {f'backbone.{key}' for key in model.state_dict()}
    model.init_weights()
    image = torch.rand(2, 3, 40, 24) - 0.5
    (x,) = model.eval()(image)
    expected = official_backbone(image, weights)
    assert (x - expected).abs().max() <= 1e-5 * expected.abs().max()


STAGE, INITIAL = 'refinement_stages.0', 'initial_stage'


@pytest.mark.parametrize(
    'dropped, added, expected',
    [
        (
            ('cpm.0.0.bias', f'{INITIAL}.trunk.1.1.weight'),
            {},
            f'2 missing: cpm.0.0.bias, {INITIAL}.trunk.1.1.weight',
        ),
        (
            (),
            {f'{INITIAL}.heatmaps.1.0.bias': [18]},
            f'1 of another shape: {INITIAL}.heatmaps.1.0.bias (18,) for (17,)',
        ),
        (
            (STAGE,),
            {'refinement_stages.1.heatmaps.1.0.bias': [17]},
            f'missing: {STAGE}.trunk.0.encoder1.0.0.weight',
        ),
    ],
)
def test_refuses_what_does_not_fit(
    dropped, added, expected, convert, tmp_path
):
    weights = {
        name: value
        for name, value in random_weights(official_shapes(1)).items()
        if not name.startswith(dropped or 'nothing')
    }
    weights |= {name: torch.ones(shape) for name, shape in added.items()}
    with pytest.raises(InputError) as e:
        convert(weights)
    assert expected in str(e.value)
    assert f"'{tmp_path / 'official.pth'}'" in str(e.value)
    assert not (tmp_path / 'ours.pth').exists()


def test_refuses_one_network_for_the_other(convert):
    with pytest.raises(InputError, match='unexpected: cpm'):
        convert(random_weights(official_shapes(0)), '--backbone')
    with pytest.raises(InputError, match=r'missing: cpm.*\n.* model\.12'):
        convert(random_weights(mobilenet_shapes(13)))


def test_command_line(run_script, tmp_path):
    source, result = tmp_path / 'a.pth', tmp_path / 'b.pth'
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and err.startswith('error: checkpoint')
    assert f"'{source}' does not exist" in err

    torch.save(random_weights(official_shapes(0)), source)
    result.write_text('mine')
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and 'exists already' in err
    assert result.read_text() == 'mine'

    status, out, _ = run_script(TOOL, source, result, '--overwrite')
    assert status == 0
    assert out.endswith(f'written to {result}, for num_stages=1\n')
    load_checkpoint(build_model(1), str(result), strict=True)
