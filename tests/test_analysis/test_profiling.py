import json

import pytest
import torch
from torch import nn

from mmpose_ext.analysis import Call
from mmpose_ext.analysis.profiling import check_profile, hot_spots
from mmpose_ext.errors import InputError


def add_up(n):
    total = 0
    for i in range(n):
        total += i * i
    return total


def test_operators():
    module = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    call = Call('x', module, (torch.rand(1, 8, 32, 32),))
    spots = hot_spots('x.py', call, calls=4, top=100)
    by_name = {spot.name: spot for spot in spots}
    assert by_name['aten::convolution'].calls == 2
    assert by_name['aten::relu'].calls == 1
    assert sum(spot.share for spot in spots) == pytest.approx(1)
    seconds = [spot.seconds for spot in spots]
    assert seconds == sorted(seconds, reverse=True) and seconds[0] > 0


def test_gradients_of_a_training_step():
    module = nn.Conv2d(2, 2, 3)

    def step():
        module(torch.rand(1, 2, 8, 8)).sum().backward()

    call = Call('train:x', step, grad=True)
    names = [s.name for s in hot_spots('train:x', call, calls=1, top=100)]
    assert 'aten::convolution_backward' in names


def test_functions():
    def encode():
        json.loads('[1]')
        return add_up(10000) + add_up(20000)

    spots = hot_spots('encode:x', Call('encode:x', encode), calls=3)
    assert len(spots) <= 10
    first = spots[0]
    # Files of packages are named from where packages lie.
    assert first.name.endswith(f':{add_up.__code__.co_firstlineno} add_up')
    assert not first.name.startswith('/')
    assert first.calls == 2 and first.share > 0.5
    assert any(s.name.startswith('json/__init__.py:') for s in spots)
    hottest = hot_spots('encode:x', Call('encode:x', encode), calls=1, top=1)
    assert len(hottest) == 1 and hottest[0].name == first.name


@pytest.mark.parametrize(
    'runtime', ['onnxruntime', 'openvino', 'openvino-int8']
)
def test_other_runtimes_cannot_be_seen(runtime):
    with pytest.raises(InputError, match=f'not those of {runtime}$'):
        check_profile(f'{runtime}:x.py')
    check_profile('eager:x.py')
