"""tools/converters/detectron2_rcnn.py, with made-up weights.

Names and shapes are those of Detectron2's models, and what the converted
networks compute is compared with its layers, written here in plain PyTorch.
"""

import math
import os
import pickle
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner.checkpoint import load_checkpoint

import mmpose_ext.multitask  # noqa: F401
from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]
TOOL = 'tools/converters/detectron2_rcnn.py'
CONFIG = (
    ROOT / 'configs/multitask_rcnn/multitask-rcnn-d2_r50_fpn_4xb3-90k_coco.py'
)
main = runpy.run_path(str(ROOT / TOOL))['main']


@pytest.fixture(autouse=True)
def mmdet_scope(mmpose_scope):
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


# -- The official names and shapes -------------------------------------------


def layer(name, *shape, bias=None):
    """Weight and bias; bias=0 for none."""
    shapes = {f'{name}.weight': shape}
    if bias != 0:
        shapes[f'{name}.bias'] = (bias or shape[0],)
    return shapes


def conv_norm(name, o, i, kernel):
    keys = ('weight', 'bias', 'running_mean', 'running_var')
    return {
        **layer(name, o, i, kernel, kernel, bias=0),
        **{f'{name}.norm.{key}': (o,) for key in keys},
    }


def backbone_shapes(offsets=()):
    """``offsets``: channels that move a convolution, by stage."""
    shapes = conv_norm('backbone.bottom_up.stem.conv1', 64, 3, 7)
    inputs = 64
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        width = 16 << stage
        for i in range(blocks):
            name = f'backbone.bottom_up.res{stage}.{i}'
            if i == 0:
                shapes |= conv_norm(f'{name}.shortcut', 4 * width, inputs, 1)
            shapes |= conv_norm(f'{name}.conv1', width, inputs, 1)
            shapes |= conv_norm(f'{name}.conv2', width, width, 3)
            shapes |= conv_norm(f'{name}.conv3', 4 * width, width, 1)
            if stage in dict(offsets):
                channels = dict(offsets)[stage]
                shapes |= layer(f'{name}.conv2_offset', channels, width, 3, 3)
            inputs = 4 * width
        level = f'fpn_lateral{stage}', f'fpn_output{stage}'
        shapes |= layer(f'backbone.{level[0]}', 256, inputs, 1, 1)
        shapes |= layer(f'backbone.{level[1]}', 256, 256, 3, 3)
    return shapes


def box_shapes(classes):
    rpn, roi = 'proposal_generator.rpn_head.', 'roi_heads.box_'
    return {
        **layer(f'{rpn}conv', 256, 256, 3, 3),
        **layer(f'{rpn}objectness_logits', 3, 256, 1, 1),
        **layer(f'{rpn}anchor_deltas', 12, 256, 1, 1),
        **layer(f'{roi}head.fc1', 1024, 12544),
        **layer(f'{roi}head.fc2', 1024, 1024),
        **layer(f'{roi}predictor.cls_score', classes + 1, 1024),
        **layer(f'{roi}predictor.bbox_pred', 4 * classes, 1024),
    }


def mask_shapes(classes):
    head = 'roi_heads.mask_head.'
    shapes = {}
    for i in range(1, 5):
        shapes |= layer(f'{head}mask_fcn{i}', 256, 256, 3, 3)
    return {
        **shapes,
        **layer(f'{head}deconv', 256, 256, 2, 2),
        **layer(f'{head}predictor', classes, 256, 1, 1),
    }


def keypoint_shapes(keypoints=17):
    head = 'roi_heads.keypoint_head.'
    shapes = layer(f'{head}conv_fcn1', 512, 256, 3, 3)
    for i in range(2, 9):
        shapes |= layer(f'{head}conv_fcn{i}', 512, 512, 3, 3)
    deconv = layer(f'{head}score_lowres', 512, keypoints, 4, 4, bias=keypoints)
    return {**shapes, **deconv}


def official_shapes(classes=1, masks=True, keypoints=True, offsets=()):
    return {
        **backbone_shapes(offsets),
        **box_shapes(classes),
        **(mask_shapes(classes) if masks else {}),
        **(keypoint_shapes() if keypoints else {}),
    }


def numbered_weights(shapes):
    """The i-th weight is i all over; files hold each value but once."""
    return {
        name: torch.tensor(float(i)).expand(shape)
        for i, (name, shape) in enumerate(shapes.items(), 1)
    }


def random_weights(shapes):
    """Such that maps neither vanish nor grow much from layer to layer."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            fan_in = value[0].numel()
            if 'deconv' in name or 'score_lowres' in name:
                fan_in = shape[0]
            value *= math.sqrt(2 / fan_in)
        elif name.endswith('running_var'):
            value = 0.5 + value.abs()
        elif name.endswith('norm.weight'):
            value = 0.3 * (1 + value.abs())
        else:
            value *= 0.1
        weights[name] = value
    return weights


# -- Our model ---------------------------------------------------------------


def model_config(classes=1, masks=True, keypoints=True, **backbone):
    """That of the config whose network is Detectron2's, or of parts of it."""
    model = Config.fromfile(CONFIG).model
    model.backbone.update(init_cfg=None, **backbone)
    head = model.roi_head
    head.bbox_head.num_classes = head.mask_head.num_classes = classes
    if not masks:
        model.type = 'FasterRCNN'
        head.mask_head = head.mask_roi_extractor = None
    if not keypoints:
        head.keypoint_head = head.keypoint_roi_extractor = None
    return model


def load_strictly(path, model_cfg):
    """A model with the weights of a file, all of them and no other."""
    with torch.device('meta'):
        model = MODELS.build(model_cfg)
    weights = torch.load(path, weights_only=True)['state_dict']
    model.load_state_dict(weights, strict=True, assign=True)
    return model


@pytest.fixture
def convert(tmp_path, capsys):
    """Save weights, convert them: path of the result, what was printed."""

    def convert(weights, *options):
        source, result = tmp_path / 'official.pth', tmp_path / 'ours.pth'
        torch.save(dict(model=weights, iteration=90000), source)
        main([str(source), str(result), *map(str, options)])
        return str(result), capsys.readouterr().out

    return convert


# -- The same outputs --------------------------------------------------------


@pytest.fixture(scope='module')
def official():
    return random_weights(official_shapes())


@pytest.fixture(scope='module')
def model(official, tmp_path_factory):
    folder = tmp_path_factory.mktemp('detectron2')
    source, result = folder / 'model_final.pkl', folder / 'ours.pth'
    arrays = {name: value.numpy() for name, value in official.items()}
    with open(source, 'wb') as f:
        pickle.dump(dict(model=arrays, __author__='Detectron2'), f)
    main([str(source), str(result)])
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(model_config())
    load_checkpoint(model, str(result), strict=True)
    os.remove(source)
    os.remove(result)
    return model.eval()


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def apply(weights, function, x, name, **kwargs):
    bias = weights.get(f'{name}.bias')
    return function(x, weights[f'{name}.weight'], bias, **kwargs)


def conv_normed(weights, x, name, **kwargs):
    x = apply(weights, F.conv2d, x, name, **kwargs)
    mean, var, weight, bias = (
        weights[f'{name}.norm.{key}'][:, None, None]
        for key in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def resnet(weights, x):
    """With the stride in the 1x1 convolution (STRIDE_IN_1X1)."""
    name = 'backbone.bottom_up.stem.conv1'
    x = conv_normed(weights, x, name, stride=2, padding=3).relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, blocks in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for i in range(blocks):
            name = f'backbone.bottom_up.res{stage}.{i}'
            stride = 2 if i == 0 and stage > 2 else 1
            y = conv_normed(weights, x, f'{name}.conv1', stride=stride).relu()
            y = conv_normed(weights, y, f'{name}.conv2', padding=1).relu()
            y = conv_normed(weights, y, f'{name}.conv3')
            if i == 0:
                x = conv_normed(weights, x, f'{name}.shortcut', stride=stride)
            x = (x + y).relu()
        yield x


def fpn(weights, maps):
    """P2 to P6, from C2 to C5."""
    outs, above = [], 0
    for level, x in reversed(list(enumerate(maps, 2))):
        x = apply(weights, F.conv2d, x, f'backbone.fpn_lateral{level}') + above
        name = f'backbone.fpn_output{level}'
        outs.insert(0, apply(weights, F.conv2d, x, name, padding=1))
        above = F.interpolate(x, scale_factor=2, mode='nearest')
    return [*outs, outs[-1][:, :, ::2, ::2]]


def test_feature_maps_are_those_of_detectron2(official, model):
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 96)
    expected = fpn(official, resnet(official, images))
    found = model.extract_feat(images)
    assert len(found) == len(expected) == 5
    for ours, theirs in zip(found, expected):
        scale = theirs.std()
        assert 0.1 < scale < 100  # neither vanished nor exploded
        close(ours / scale, theirs / scale)


def close(found, expected):
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_proposals_are_those_of_detectron2(official, model):
    torch.manual_seed(2)
    x = torch.randn(2, 256, 6, 8)
    name = 'proposal_generator.rpn_head'
    hidden = apply(official, F.conv2d, x, f'{name}.conv', padding=1).relu()
    (logits,), (deltas,) = model.rpn_head([x])
    close(
        logits, apply(official, F.conv2d, hidden, f'{name}.objectness_logits')
    )
    close(deltas, apply(official, F.conv2d, hidden, f'{name}.anchor_deltas'))


def test_box_head_is_that_of_detectron2(official, model):
    torch.manual_seed(3)
    rois = torch.randn(5, 256, 7, 7)
    x = rois.reshape(5, -1)  # channels, rows, columns
    for name in ('fc1', 'fc2'):
        x = apply(official, F.linear, x, f'roi_heads.box_head.{name}').relu()
    scores, deltas = model.roi_head.bbox_head(rois)
    name = 'roi_heads.box_predictor'
    close(scores, apply(official, F.linear, x, f'{name}.cls_score'))
    close(deltas, apply(official, F.linear, x, f'{name}.bbox_pred'))


def convolutions(weights, name, number):
    """Features of RoIs, and what some convolutions make of them."""
    torch.manual_seed(4)
    rois = x = torch.randn(3, 256, 14, 14)
    for i in range(1, number + 1):
        x = apply(weights, F.conv2d, x, f'{name}{i}', padding=1).relu()
    return rois, x


def test_mask_head_is_that_of_detectron2(official, model):
    head = 'roi_heads.mask_head'
    rois, x = convolutions(official, f'{head}.mask_fcn', 4)
    x = apply(official, F.conv_transpose2d, x, f'{head}.deconv', stride=2)
    expected = apply(official, F.conv2d, x.relu(), f'{head}.predictor')
    found = model.roi_head.mask_head(rois)
    assert found.shape == (3, 1, 28, 28)
    close(found, expected)


def test_keypoint_head_is_that_of_detectron2(official, model):
    head = 'roi_heads.keypoint_head'
    rois, x = convolutions(official, f'{head}.conv_fcn', 8)
    x = apply(
        official,
        F.conv_transpose2d,
        x,
        f'{head}.score_lowres',
        stride=2,
        padding=1,
    )
    expected = F.interpolate(
        x, scale_factor=2, mode='bilinear', align_corners=False
    )
    found = model.roi_head.keypoint_head(rois)
    assert found.shape == (3, 17, 56, 56)
    close(found, expected)


# -- The same meaning of the outputs -----------------------------------------


def detectron2_anchors(size, stride, height, width):
    """Rows of the map, its columns, ratios; x1, y1, x2, y2."""
    anchors = []
    for y in range(height):
        for x in range(width):
            for ratio in (0.5, 1.0, 2.0):  # height by width
                w = math.sqrt(size**2 / ratio)
                h = ratio * w
                cx, cy = x * stride, y * stride
                anchors.append(
                    [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
                )
    return torch.tensor(anchors)


def test_anchors_are_those_of_detectron2(model):
    sizes = [(4, 6), (3, 2), (1, 3), (2, 1), (1, 1)]
    found = model.rpn_head.prior_generator.grid_priors(sizes, device='cpu')
    for level, anchors in enumerate(found):
        expected = detectron2_anchors(32 << level, 4 << level, *sizes[level])
        torch.testing.assert_close(anchors, expected)


def detectron2_boxes(boxes, deltas, weights):
    """Boxes (N, 4) moved by deltas (N, 4)."""
    size = boxes[:, 2:] - boxes[:, :2]
    deltas = deltas / torch.tensor(weights)
    centre = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    size = deltas[:, 2:].clamp(max=math.log(1000 / 16)).exp() * size
    return torch.cat([centre - 0.5 * size, centre + 0.5 * size], dim=1)


@pytest.mark.parametrize('head', ['rpn_head', 'bbox_head'])
def test_deltas_mean_what_they_do_in_detectron2(head, model):
    torch.manual_seed(6)
    boxes = 100 * torch.rand(20, 4)
    boxes[:, 2:] += boxes[:, :2]
    deltas = 3 * torch.randn(20, 4)
    deltas[:, 2:].clamp_(min=-4)
    if head == 'rpn_head':
        coder, weights = model.rpn_head.bbox_coder, [1.0, 1.0, 1.0, 1.0]
    else:
        coder = model.roi_head.bbox_head.bbox_coder
        weights = [10.0, 10.0, 5.0, 5.0]
    torch.testing.assert_close(
        coder.decode(boxes, deltas), detectron2_boxes(boxes, deltas, weights)
    )


def test_settings_are_not_taken_for_weights(convert):
    weights = numbered_weights(official_shapes())
    weights['pixel_mean'] = torch.tensor([103.5, 116.25, 123.75])[
        :, None, None
    ]
    weights['pixel_std'] = torch.ones(3, 1, 1)
    for i in range(5):
        weights[f'proposal_generator.anchor_generator.cell_anchors.{i}'] = (
            detectron2_anchors(32 << i, 4, 1, 1)
        )
    path, out = convert(weights)
    assert (
        'for the data_preprocessor: mean=[103.5, 116.25, 123.75], '
        'std=[1.0, 1.0, 1.0]\n'
    ) in out
    load_strictly(path, model_config())


def test_refuses_other_anchors(convert):
    weights = numbered_weights(official_shapes())
    key = 'proposal_generator.anchor_generator.cell_anchors.3'
    weights[key] = detectron2_anchors(256, 4, 1, 1).flip(0)
    with pytest.raises(InputError, match=f'{key}, got') as e:
        convert(weights)
    assert 'expected the anchors [[-181.01' in str(e.value)


# -- Heads, classes, deformable convolutions ---------------------------------


@pytest.mark.parametrize(
    'masks, keypoints, missing',
    [
        (True, True, 'roi_head.keypoint_head.offset_deconv'),
        (True, False, 'roi_head.keypoint_head'),
        (
            False,
            True,
            'roi_head.keypoint_head.offset_deconv, roi_head.mask_head',
        ),
        (False, False, 'roi_head.keypoint_head, roi_head.mask_head'),
    ],
)
def test_heads_are_converted_as_there_are(masks, keypoints, missing, convert):
    shapes = official_shapes(1, masks, keypoints)
    path, out = convert(numbered_weights(shapes))
    # Each of the 53 batch norms counts its batches here.
    assert out.splitlines() == [
        f'{len(shapes) + 53} weights written to {path}, for num_classes=1',
        f'not given, so initialised by the full model: {missing}',
    ]
    load_strictly(path, model_config(1, masks, keypoints))


def test_another_number_of_keypoints(convert):
    shapes = {**official_shapes(), **keypoint_shapes(5)}
    path, _ = convert(numbered_weights(shapes))
    cfg = model_config()
    cfg.roi_head.keypoint_head.num_keypoints = 5
    load_strictly(path, cfg)


def test_classes_are_kept_by_default(convert):
    shapes = official_shapes(80, keypoints=False)
    path, out = convert(numbered_weights(shapes))
    assert 'for num_classes=80\n' in out
    load_strictly(path, model_config(80, keypoints=False))


def test_person_only(convert):
    shapes = official_shapes(80, keypoints=False)
    weights = numbered_weights(shapes)
    layers = {
        'roi_heads.box_predictor.cls_score': [0, 80],
        'roi_heads.box_predictor.bbox_pred': [0, 1, 2, 3],
        'roi_heads.mask_head.predictor': [0],
    }
    keys = [f'{name}.{x}' for name in layers for x in ('weight', 'bias')]
    weights |= random_weights({key: shapes[key] for key in keys})
    path, out = convert(weights, '--person-only')
    assert 'for num_classes=1\n' in out
    head = load_strictly(path, model_config(keypoints=False)).roi_head

    x, maps = torch.randn(4, 1024), torch.randn(4, 256, 3, 3)
    for found, (name, rows) in zip(
        (
            head.bbox_head.fc_cls(x),
            head.bbox_head.fc_reg(x),
            head.mask_head.conv_logits(maps),
        ),
        layers.items(),
    ):
        is_mask = found.ndim == 4
        expected = apply(
            weights,
            F.conv2d if is_mask else F.linear,
            maps if is_mask else x,
            name,
        )
        close(found, expected[:, rows])


def test_refuses_the_person_of_other_classes(convert, tmp_path):
    with pytest.raises(InputError, match=r'80 classes, but .* has 1$'):
        convert(numbered_weights(official_shapes()), '--person-only')
    assert not (tmp_path / 'ours.pth').exists()


def deform_conv(x, offset, mask, weight):
    """A deformable 3x3 convolution, padded by 1; offsets y, x per tap."""
    n, _, h, w = x.shape
    offset = offset.reshape(n, 9, 2, h, w)
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing='ij')
    out = 0
    for tap in range(9):
        y = ys + tap // 3 - 1 + offset[:, tap, 0]
        x_ = xs + tap % 3 - 1 + offset[:, tap, 1]
        grid = torch.stack([(2 * x_ + 1) / w - 1, (2 * y + 1) / h - 1], -1)
        values = F.grid_sample(x, grid, align_corners=False)
        values = values * mask[:, tap, None]
        out = out + F.conv2d(
            values, weight[:, :, tap // 3, tap % 3, None, None]
        )
    return out


@pytest.mark.parametrize('channels, kind', [(18, 'DCN'), (27, 'DCNv2')])
def test_deformable_convolutions(channels, kind, convert):
    shapes = official_shapes(offsets=[(s, channels) for s in (3, 4, 5)])
    weights = numbered_weights(shapes)
    name = 'backbone.bottom_up.res3.1.conv2'
    keys = [
        f'{name}.weight',
        f'{name}_offset.weight',
        f'{name}_offset.bias',
    ]
    weights |= random_weights({key: shapes[key] for key in keys})
    path, out = convert(weights)
    assert 'conv_offset' not in out
    cfg = model_config(
        dcn=dict(type=kind, deform_groups=1),
        stage_with_dcn=(False, True, True, True),
    )
    conv = load_strictly(path, cfg).backbone.layer2[1].conv2

    x = torch.randn(2, 128, 5, 7)
    moves = apply(weights, F.conv2d, x, f'{name}_offset', padding=1)
    mask = torch.ones(2, 9, 5, 7)
    if kind == 'DCNv2':
        mask = moves[:, 18:].sigmoid()
    expected = deform_conv(x, moves[:, :18], mask, weights[f'{name}.weight'])
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-4)


def test_one_deformable_stage(convert):
    path, _ = convert(numbered_weights(official_shapes(offsets=[(5, 18)])))
    cfg = model_config(
        dcn=dict(type='DCN', deform_groups=1),
        stage_with_dcn=(False, False, False, True),
    )
    load_strictly(path, cfg)


# -- For the model of a config -----------------------------------------------


@pytest.fixture
def config(tmp_path):
    def config(**changes):
        cfg = Config(dict(default_scope='mmdet', model=model_config()))
        cfg.merge_from_dict(changes)
        path = tmp_path / 'config.py'
        cfg.dump(path)
        return path

    return config


def test_plain_weights_for_a_refined_model(config, convert):
    dcn = dict(type='DCN', deform_groups=1)
    path = config(
        **{
            'model.backbone.dcn': dcn,
            'model.backbone.stage_with_dcn': (False, False, False, True),
            'model.roi_head.keypoint_head': dict(
                type='OffsetKeypointHead', conv_cfg=dcn, _delete_=True
            ),
        }
    )
    weights = numbered_weights(official_shapes())
    result, out = convert(weights, '--config', path)
    head = 'roi_head.keypoint_head'
    biases = [f'{head}.convs.{i}.bias' for i in range(8)]
    moved = [f'backbone.layer4.{i}.conv2' for i in range(3)]
    moved += [f'{head}.convs.{i}' for i in range(8)]
    left = [f'{name}.conv_offset' for name in moved]
    assert out.splitlines() == [
        f'{325 + 53 - 8} weights written to {result}, for num_classes=1',
        f'left out, having no place in {path}: {", ".join(biases)}',
        f'not given, so initialised by {path}: '
        + ', '.join([*left, f'{head}.offset_deconv']),
    ]

    model = MODELS.build(Config.fromfile(path).model)
    incompatible = model.load_state_dict(
        torch.load(result, weights_only=True)['state_dict'], strict=False
    )
    assert incompatible.unexpected_keys == []
    expected = [*left, f'{head}.offset_deconv']
    assert sorted(incompatible.missing_keys) == sorted(
        f'{name}.{x}' for name in expected for x in ('weight', 'bias')
    )
    found = model.roi_head.keypoint_head.convs[2].weight
    assert (found == weights['roi_heads.keypoint_head.conv_fcn3.weight']).all()


@pytest.mark.parametrize(
    'changes, classes, expected',
    [
        ({}, 80, 'roi_head.bbox_head.fc_cls.weight: (81, 1024) for (2, 1024)'),
        (
            {
                'model.backbone.out_indices': (1, 2, 3),
                'model.neck.in_channels': [512, 1024, 2048],
            },
            1,
            'neck.lateral_convs.0.conv.weight: (256, 256, 1, 1) for '
            '(256, 512, 1, 1)',
        ),
    ],
    ids=['classes', 'levels'],
)
def test_refuses_the_config_of_another_network(
    changes, classes, expected, config, convert, tmp_path
):
    path = config(**changes)
    with pytest.raises(InputError) as e:
        convert(numbered_weights(official_shapes(classes)), '--config', path)
    assert f'weights do not fit into {path}:\n' in str(e.value)
    assert f'  {expected}' in str(e.value).splitlines()
    assert not (tmp_path / 'ours.pth').exists()


@pytest.mark.parametrize(
    'name, shapes',
    [
        ('multitask-rcnn-d2_r50_fpn_4xb3-90k_coco', official_shapes()),
        (
            'keypoint-rcnn-d2_r50_fpn_4xb3-90k_coco',
            official_shapes(masks=False),
        ),
    ],
)
def test_configs_that_name_the_tool(name, shapes, convert):
    path = ROOT / f'configs/multitask_rcnn/{name}.py'
    result, out = convert(numbered_weights(shapes), '--config', path)
    assert len(out.splitlines()) == 1  # nothing is left out or missing
    cfg = Config.fromfile(path)
    load_strictly(result, cfg.model)

    # What the weights do not show.
    model = cfg.model
    assert model.backbone.style == 'caffe'
    assert model.data_preprocessor.mean == [103.53, 116.28, 123.675]
    assert model.data_preprocessor.std == [1.0, 1.0, 1.0]
    assert not model.data_preprocessor.bgr_to_rgb
    assert model.data_preprocessor.pad_size_divisor == 32
    expected = model_config()
    for key in ('anchor_generator', 'bbox_coder'):
        assert model.rpn_head[key] == expected.rpn_head[key]
    key = 'bbox_coder'
    assert model.roi_head.bbox_head[key] == expected.roi_head.bbox_head[key]
    head = model.roi_head.keypoint_head
    assert (head.activation, head.decode) == ('none', 'bicubic')
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert (resize.scale, resize.backend) == ((1333, 800), 'pillow')


def test_refuses_a_config_without_model(convert, tmp_path):
    path = tmp_path / 'empty.py'
    path.write_text('a = 1')
    with pytest.raises(InputError, match="expected a config with a 'model'"):
        convert(numbered_weights(official_shapes()), '--config', path)


# -- What does not fit -------------------------------------------------------


HEADS, RES = 'roi_heads.', 'backbone.bottom_up.res'
OFFSETS = f'{RES}3.0.conv2_offset.weight'


@pytest.mark.parametrize(
    'dropped, added, expected',
    [
        (
            (f'{HEADS}mask_head.deconv.w', f'{RES}4.5.conv3.norm.running_v'),
            {},
            f'2 missing: {RES}4.5.conv3.norm.running_var, '
            f'{HEADS}mask_head.deconv.weight',
        ),
        (
            tuple(f'{HEADS}keypoint_head.conv_fcn{i}.w' for i in range(2, 9)),
            {},
            f'7 missing: {HEADS}keypoint_head.conv_fcn2.weight, ',
        ),
        (
            (f'{HEADS}keypoint_head.score_lowres.',),
            {},
            f'2 missing: {HEADS}keypoint_head.score_lowres.weight, '
            f'{HEADS}keypoint_head.score_lowres.bias',
        ),
        (
            (),
            {'sem_seg_head.predictor.bias': (54,)},
            '1 unexpected: sem_seg_head.predictor.bias',
        ),
        (
            (),
            {f'{HEADS}box_head.fc1.weight': (1024, 50176)},
            f'1 of another shape: {HEADS}box_head.fc1.weight (1024, 50176) '
            'for (1024, 12544)',
        ),
        (
            (),
            {OFFSETS: (36, 128, 3, 3)},
            f'expected 18 or 27 channels in {OFFSETS}, got 36',
        ),
        (
            (),
            {OFFSETS: (18, 128, 3, 3)},
            f'7 missing: {RES}3.0.conv2_offset.bias',
        ),
        (
            (f'{HEADS}box_',),
            {},
            f'no R-CNN of Detectron2: it has no {HEADS}box_predictor.'
            'cls_score.weight',
        ),
    ],
)
def test_refuses_what_does_not_fit(
    dropped, added, expected, convert, tmp_path
):
    weights = {
        name: value
        for name, value in numbered_weights(official_shapes()).items()
        if not name.startswith(dropped or 'nothing')
    }
    for name, shape in added.items():
        weights[name] = torch.ones(1).expand(shape)
    with pytest.raises(InputError) as e:
        convert(weights)
    assert expected in str(e.value)
    assert f"'{tmp_path / 'official.pth'}'" in str(e.value)
    assert [p.name for p in tmp_path.iterdir()] == ['official.pth']


class Call:
    def __reduce__(self):
        return os.mkdir, ('made',)


def test_command_line(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source, result = tmp_path / 'a.pkl', tmp_path / 'b.pth'
    status, _, err = run_script(TOOL, source, result)
    assert status == 2
    assert err == f"error: checkpoint '{source}' does not exist\n"

    source.write_bytes(pickle.dumps(dict(model=Call())))
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and 'asks for posix.mkdir' in err

    source.write_bytes(pickle.dumps({'conv1_w': 1, 'res2_0_branch2a_w': 1}))
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and 'open-mmlab://detectron2/resnet50_caffe' in err
    assert [p.name for p in tmp_path.iterdir()] == ['a.pkl']

    source = tmp_path / 'a.pth'
    torch.save(numbered_weights(official_shapes()), source)
    result.write_text('mine')
    status, _, err = run_script(TOOL, source, result)
    assert status == 2 and 'exists already' in err
    assert result.read_text() == 'mine'

    status, out, _ = run_script(TOOL, source, result, '--overwrite')
    assert status == 0 and f'378 weights written to {result}' in out
    checkpoint = torch.load(result, weights_only=True)
    assert set(checkpoint) == {'state_dict', 'meta'}
    assert checkpoint['meta']['converted_from'] == 'a.pth'
