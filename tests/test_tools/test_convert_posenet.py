"""tools/converters/posenet.py, from the command line to the weights."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import posenet_graphs as graphs
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.converters.posenet import read_posenet
from mmpose_ext.models.backbones import MobileNetV1

ROOT = Path(__file__).parents[2]
TOOL = 'tools/converters/posenet.py'


def load(path):
    """As configs do it."""
    model = MobileNetV1(
        widen_factor=0.25,
        out_indices=(3,),
        output_stride=8,
        act_cfg=dict(type='ReLU6'),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint=str(path), prefix='backbone.'
        ),
    )
    model.init_weights()
    return model


@pytest.fixture
def graph(tmp_path):
    return graphs.write_graph(tmp_path)


@pytest.fixture
def images(tmp_path):
    """A folder of a colour image, a grey one, one with alpha, and a text."""
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (
        ('a.jpg', (40, 60, 3)),
        ('b.png', (70, 50)),
        ('c.PNG', (33, 33, 4)),
    ):
        image = rng.integers(0, 256, shape, np.uint8)
        (folder / name).write_bytes(cv2.imencode(name[1:].lower(), image)[1])
    (folder / 'notes.txt').write_text('not an image')
    return folder


def test_weights_of_a_backbone(graph, run_script, tmp_path):
    result = tmp_path / 'new/weights.pth'
    status, out, _ = run_script(TOOL, graph, result)
    assert status == 0
    assert out.endswith(f'written to {result}, for widen_factor=0.25\n')
    content = torch.load(result, weights_only=True)
    assert content['meta']['converted_from'] == 'graph.json'
    weights = content['state_dict']
    model = load(result)
    assert weights.keys() == {f'backbone.{key}' for key in model.state_dict()}
    torch.testing.assert_close(
        model.state_dict(), read_posenet(str(graph)).state_dict()
    )
    # In training, too, the norms do what they did.
    x = torch.rand(1, 3, 65, 65)
    assert torch.equal(model.train()(x)[0], model.eval()(x)[0])


def test_norms_calibrated_on_images(graph, images, run_script, tmp_path):
    plain, calibrated = tmp_path / 'a.pth', tmp_path / 'b.pth'
    assert run_script(TOOL, graph, plain)[0] == 0
    args = ('--images', images, '--size', 64, '--output-stride', 8)
    status, _, err = run_script(TOOL, graph, calibrated, *args)
    assert status == 0 and 'Calibrating' in err
    plain, calibrated = load(plain).eval(), load(calibrated).eval()
    x = torch.rand(2, 3, 65, 65) * 2 - 1
    torch.testing.assert_close(plain(x), calibrated(x), rtol=0, atol=6e-5)

    # All statistics are those of these images, RGB and from -1 to 1.
    pixels = [
        cv2.resize(cv2.imread(str(images / name)), (64, 64))[..., ::-1]
        for name in ('a.jpg', 'b.png', 'c.PNG')
    ]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1
    expected = plain(x)
    calibrated.norm_eval = False
    torch.testing.assert_close(
        calibrated.train()(x), expected, rtol=0, atol=1e-3
    )
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()


@pytest.mark.parametrize('existing', [False, True])
def test_wrong_input_leaves_the_output_as_it_is(
    existing, graph, images, run_script, tmp_path
):
    result = tmp_path / 'new/weights.pth'
    overwrite = []
    if existing:
        result.parent.mkdir()
        result.write_text('precious')
        assert 'exists already' in run_script(TOOL, graph, result)[2]
        overwrite = ['--overwrite']

    def fails(message, *args, source=graph):
        status, _, err = run_script(TOOL, source, result, *args, *overwrite)
        assert status == 2 and err.splitlines()[-1].startswith('error: ')
        assert message in err
        if existing:
            assert result.read_text() == 'precious'
        else:
            assert not result.exists()

    fails("no.json' does not exist", source=tmp_path / 'no.json')
    fails('is not JSON', source=tmp_path / 'w.bin')
    empty, broken, cut = (tmp_path / name for name in ('empty', 'bad', 'cut'))
    empty.mkdir()
    fails(f"no images at '{empty}'", '--images', empty)
    fails("no images at 'no'", '--images', 'no')
    shutil.copytree(images, broken)
    (broken / 'd.jpg').write_bytes(b'not a picture')
    fails(f"image '{broken}/d.jpg' cannot", '--images', broken)
    cut.mkdir()
    (cut / 'b.png').write_bytes((images / 'b.png').read_bytes()[:99])
    fails(f"image '{cut}/b.png' cannot", '--images', cut)
    for size in (0, -5, 31, 10**6):
        args = '--images', images, f'--size={size}'
        fails(f'--size {size}: expected 32 to 2048 px', *args)

    assert run_script(TOOL, graph, result, *overwrite)[0] == 0
    load(result)


def test_outputs_that_cannot_be_written(graph, images, run_script, tmp_path):
    file = tmp_path / 'file'
    file.touch()
    for result, message in (
        (tmp_path, 'is a folder'),
        (file / 'a.pth', f"folder '{file}' cannot be made or written to"),
    ):
        status, _, err = run_script(TOOL, graph, result, '--images', images)
        assert status == 2 and message in err
        assert 'Calibrating' not in err


@pytest.mark.parametrize('data', ['lip', 'coco'])
def test_start_that_the_readme_of_the_pose_machine_shows(
    data, run_script, tmp_path
):
    """From PoseNet, or from a made-up one where it is not at hand."""
    readme = (ROOT / 'configs/gccpm/README.md').read_text()
    code = re.search('```python\n(.*?)```', readme, re.S)[1]
    (weights,) = re.findall(r"checkpoint='(.*?)'", code)
    assert f'{TOOL} model-stride16.json {weights}\n' in readme
    (base,) = re.findall("'(configs/.*?)'", code)
    assert 'lip' in base and (ROOT / base.replace('lip', data)).exists()

    trunk, config = tmp_path / 'trunk.pth', tmp_path / 'posenet.py'
    source = graphs.REAL
    if not source.exists():
        source = graphs.write_graph(tmp_path, width=0.75)
    assert run_script(TOOL, source, trunk)[0] == 0
    code = code.replace(base, str(ROOT / base.replace('lip', data)))
    config.write_text(code.replace(weights, str(trunk)))
    cfg = Config.fromfile(config)
    model = MODELS.build(cfg.model)
    model.init_weights()
    expected = torch.load(trunk, weights_only=True)['state_dict']
    found = {
        f'backbone.{k}': v for k, v in model.backbone.state_dict().items()
    }
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # The input is PoseNet's: RGB, from -1 to 1.
    red = torch.tensor([0, 0, 255], dtype=torch.uint8).view(3, 1, 1)
    images = model.data_preprocessor(dict(inputs=[red], data_samples=[]))
    assert images['inputs'].flatten().tolist() == [1, -1, -1]
    # The trunk moves least.
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    rates = {id(p): g['lr'] for g in groups for p in g['params']}
    for name, parameter in model.backbone.named_parameters():
        lowest = min(rates.values())
        assert rates[id(parameter)] <= 2 * lowest, name
    model.train()
    maps = model(torch.rand(1, 3, 64, 64), None, mode='tensor')
    assert maps[-1].shape == (1, dict(lip=17, coco=18)[data], 8, 8)
    norm = model.backbone.stem.bn
    assert (norm.running_mean == 0).all() and (norm.running_var == 1).all()
