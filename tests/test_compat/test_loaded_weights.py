"""Checkpoints that do not fit the model."""

from pathlib import Path

import pytest
import torch
from mmengine.model import BaseModel, Sequential
from mmengine.runner import Runner
from torch import nn

from mmpose_ext.errors import InputError


class Network(BaseModel):
    """Of 10 tensors, 8 of the backbone; batches are not counted."""

    def __init__(self, init_cfg=None, num_keypoints=1):
        super().__init__()
        layers = [nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)]
        self.backbone = Sequential(*layers, init_cfg=init_cfg)
        self.head = nn.Linear(2, num_keypoints)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.head(inputs)


def save_weights(path, **weights):
    """The weights of a network and others, all of them ones."""
    named = {k: torch.ones_like(v) for k, v in Network().state_dict().items()}
    torch.save(dict(state_dict={**named, **weights}), path)
    return str(path)


def load_into_runner(path, model):
    work_dir = str(Path(path).parent)
    config = dict(work_dir=work_dir, experiment_name=f'run{id(model)}')
    Runner(model, **config, load_from=path).load_or_resume()


def test_weights_that_fit_are_loaded_without_a_word(tmp_path, capfd):
    path = save_weights(tmp_path / 'a.pth')
    model = Network()
    load_into_runner(path, model)
    assert all((p == 1).all() for p in model.parameters())
    assert 'were loaded from' not in capfd.readouterr().out


def test_the_first_tensors_that_are_not_loaded_are_named(tmp_path, capfd):
    path = save_weights(tmp_path / 'a.pth', **{'head.other': torch.ones(1)})
    model = Network(num_keypoints=3)
    load_into_runner(path, model)
    lines = capfd.readouterr().out.splitlines()
    (line,) = [line for line in lines if 'were loaded' in line]
    assert 'WARNING' in line
    assert line.endswith(
        f"8 of the 10 tensors of Network were loaded from '{path}', not "
        'head.weight, head.bias'
    )
    assert (model.backbone[0].weight == 1).all()


def test_a_classifier_is_a_pretrained_backbone(tmp_path, capfd):
    path = tmp_path / 'a.pth'
    backbone = Network().backbone.state_dict()
    torch.save({**backbone, 'fc.weight': torch.ones(9, 2)}, path)
    model = Network(dict(type='Pretrained', checkpoint=str(path)))
    model.init_weights()
    assert model.backbone[2].weight.equal(backbone['2.weight'])
    assert 'were loaded from' not in capfd.readouterr().out


@pytest.mark.parametrize(
    'make, first',
    [
        (lambda model: {'a.weight': torch.ones(1)}, r'a\.weight'),
        # Norms without a version get their count by themselves.
        (lambda model: {f'a{i}': torch.ones(1) for i in range(9)}, 'a0, a1'),
        (lambda model: {'head.weight': torch.ones(9, 9)}, r'head\.weight'),
        (lambda model: dict(model=model.state_dict()), 'model'),
    ],
)
def test_weights_none_of_which_fit_are_refused(make, first, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(make(Network()), path)
    message = (
        rf"'{path}' has none of the 10 tensors of Network, or in other "
        rf'shapes: it has {first}.*, expected backbone\.0\.weight, .*, \.\.\.'
    )
    with pytest.raises(InputError, match=message):
        load_into_runner(str(path), Network())


def test_init_cfg_that_fits_nowhere_is_refused(tmp_path):
    path = save_weights(tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=path)
    for prefix, message in (
        ({}, 'none of the 8 tensors of Sequential'),
        (dict(prefix='head.'), 'none of the 8 tensors of Sequential'),
        (dict(prefix='neck'), rf"'{path}' .* begins with 'neck'"),
    ):
        with pytest.raises(InputError, match=message):
            Network(dict(init_cfg, **prefix)).init_weights()
    model = Network(dict(init_cfg, prefix='backbone'))
    model.init_weights()
    assert (model.backbone[2].bias == 1).all()


def test_weights_that_a_module_converts_count_as_loaded(tmp_path, capfd):
    def rename(state_dict, prefix, *_):
        for key in [k for k in state_dict if k.startswith('old.')]:
            state_dict[key.replace('old', 'head')] = state_dict.pop(key)

    model = Network()
    model._register_load_state_dict_pre_hook(rename)
    weights = {'old.weight': torch.ones(1, 2), 'old.bias': torch.ones(1)}
    torch.save(weights, tmp_path / 'a.pth')
    load_into_runner(str(tmp_path / 'a.pth'), model)
    assert '2 of the 10 tensors' in capfd.readouterr().out
