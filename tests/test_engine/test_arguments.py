"""Types of command line arguments."""

from argparse import ArgumentTypeError

import pytest
import torch

from mmpose_ext.engine.arguments import (
    finite_number,
    non_negative_int,
    non_negative_number,
    positive_int,
    positive_number,
    usable_device,
)


def test_positive_int():
    assert positive_int('12') == 12
    for text in ('0', '-1', '1.5', 'many', ''):
        with pytest.raises(ArgumentTypeError, match=f"got '{text}'"):
            positive_int(text)


def test_non_negative_int():
    assert non_negative_int('0') == 0
    assert non_negative_int('12') == 12
    for text in ('-1', '1.5', 'many', ''):
        with pytest.raises(ArgumentTypeError, match=f"zero, got '{text}'"):
            non_negative_int(text)


def test_finite_number():
    assert finite_number('-0.5') == -0.5
    for text in ('nan', 'inf', '-inf', 'many', ''):
        with pytest.raises(ArgumentTypeError, match=f"finite .*'{text}'"):
            finite_number(text)


def test_non_negative_number():
    assert non_negative_number('0') == 0
    assert non_negative_number('0.5') == 0.5
    for text in ('-0.1', 'nan', 'inf', 'many', ''):
        with pytest.raises(ArgumentTypeError, match=f"zero, got '{text}'"):
            non_negative_number(text)


def test_positive_number():
    assert positive_number('0.5') == 0.5
    for text in ('0', '-1', 'nan', 'inf', 'many', ''):
        with pytest.raises(ArgumentTypeError, match=f"got '{text}'"):
            positive_number(text)


def test_usable_device():
    assert usable_device('cpu') == 'cpu'
    with pytest.raises(ArgumentTypeError, match="device 'gpu'"):
        usable_device('gpu')
    beyond = f'cuda:{torch.cuda.device_count()}'
    with pytest.raises(ArgumentTypeError, match=beyond):
        usable_device(beyond)
