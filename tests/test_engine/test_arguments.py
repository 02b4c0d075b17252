"""Types of command line arguments."""

from argparse import ArgumentTypeError

import pytest
import torch

from mmpose_ext.engine import arguments
from mmpose_ext.engine.arguments import usable_device


@pytest.mark.parametrize(
    ('name', 'good', 'wrong', 'expected'),
    [
        ('positive_int', {'12': 12}, '0 -1 1.5 +1 1_0', 'number above zero'),
        ('non_negative_int', {'0': 0, '12': 12}, '-1 1.5', 'at least zero'),
        ('finite_number', {'-0.5': -0.5}, 'inf -inf', 'a finite number'),
        ('positive_number', {'0.5': 0.5}, '0 -1 inf', 'number above zero'),
        ('non_negative_number', {'0': 0, '.5': 0.5}, '-0.1 inf', 'least zero'),
    ],
)
def test_numbers(name, good, wrong, expected):
    convert = getattr(arguments, name)
    for text, value in good.items():
        assert convert(text) == value
        assert type(convert(text)) is (int if 'int' in name else float)
    for text in (*wrong.split(), 'nan', 'many', ''):
        with pytest.raises(ArgumentTypeError) as e:
            convert(text)
        assert str(e.value).endswith(f"{expected}, got '{text}'")


def test_usable_device():
    assert usable_device('cpu') == 'cpu'
    with pytest.raises(ArgumentTypeError, match="device 'gpu'"):
        usable_device('gpu')
    beyond = f'cuda:{torch.cuda.device_count()}'
    with pytest.raises(ArgumentTypeError, match=beyond):
        usable_device(beyond)
