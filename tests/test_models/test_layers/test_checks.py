"""What modules say of arguments and maps that do not fit."""

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS

from mmpose_ext.models.layers.checks import (
    check_batch_norm,
    check_channels,
    check_map,
    check_maps,
)

MAPS = [(2, 4, 8, 6), (2, 6, 4, 3)]


def zeros(*shapes):
    return [torch.zeros(shape) for shape in shapes]


def test_channels_become_pythons_integers():
    for channels in (np.array([4, 6]), [np.int64(4), np.int32(6)], (4, 6)):
        found = check_channels(channels)
        assert found == [4, 6] and {type(c) for c in found} == {int}
    for wrong in ([4], 4, [4, 'x'], [], [4, 0]):
        with pytest.raises(ValueError, match=r'^in_channels.* got '):
            check_channels(wrong)


@pytest.mark.parametrize(
    ('feats', 'message'),
    [
        (torch.zeros(2, 4, 8, 6), r'a tensor of shape \(2, 4, 8, 6\)'),
        (
            [zeros(*MAPS), zeros(*MAPS)],
            r'a list of a list of a tensor of shape \(2, 4, 8, 6\), a tensor',
        ),
        (zeros((4, 8, 6), (6, 4, 3)), r'a list of a tensor of .*\(4, 8, 6\)'),
        (zeros((2, 4, 8, 6, 1)), r'a list of a tensor of .*\(2, 4, 8, 6, 1\)'),
        ((None, 3), 'a tuple of None, 3'),
        (None, 'None'),
    ],
    ids=['tensor', 'list of lists', '3-d', '5-d', 'others', 'None'],
)
def test_maps_are_a_list(feats, message):
    expected = r'^expected a list or tuple of maps .*\(N, C, H, W\), got '
    with pytest.raises(ValueError, match=expected + message):
        check_maps(feats, [4, 6])


def test_maps_have_their_channels_and_sizes():
    check_maps(zeros(*MAPS), [4, 6])
    check_maps(zeros((2, 4, 7, 5), (2, 6, 4, 3), (2, 3, 2, 2)), [4, 6, 3])
    for feats in ([], zeros(MAPS[0]), zeros(*MAPS[::-1])):
        with pytest.raises(ValueError, match=r'maps of \[4, 6\] channels'):
            check_maps(feats, [4, 6])
    for size in ((4, 4), (3, 3), (8, 6)):
        feats = zeros(MAPS[0], (2, 6, *size))
        check_maps(feats, [4, 6], halved=False)
        with pytest.raises(ValueError, match=r'half as large .*\(4, 8, 6\)'):
            check_maps(feats, [4, 6])


@pytest.mark.parametrize(
    ('x', 'message'),
    [
        (torch.zeros(2, 5, 8, 6), r'a tensor of shape \(2, 5, 8, 6\)'),
        (torch.zeros(4, 4, 6), r'a tensor of shape \(4, 4, 6\)'),
        (torch.zeros(2, 4, 8, 6, 1), r'a tensor of .* \(2, 4, 8, 6, 1\)'),
        (torch.zeros(2, 4, 0, 6), r'a tensor of shape \(2, 4, 0, 6\)'),
        (torch.zeros(2, 4, 8, 0), r'a tensor of shape \(2, 4, 8, 0\)'),
        (zeros((2, 4, 8, 6)), r'a list of a tensor of shape \(2, 4, 8, 6\)'),
        ([], 'a list of nothing'),
        (None, 'None'),
    ],
    ids=str,
)
def test_a_map_has_its_channels_and_a_cell(x, message):
    check_map(torch.zeros(2, 4, 1, 1), 4)
    expected = r'^expected a map of shape \(N, 4, H, W\) .* cell, got '
    with pytest.raises(ValueError, match=expected + message):
        check_map(x, 4)


def test_batch_norms_need_more_than_a_value():
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    message = (
        r'^Sequential .* map of 2x1 cells: .* more than 2, or more images'
    )
    check_batch_norm(module, torch.zeros(1, 3, 1, 2), 1)
    check_batch_norm(module, torch.zeros(2, 3, 2, 1), 2)
    check_batch_norm(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 1, 1), 2)
    with pytest.raises(ValueError, match=message):
        check_batch_norm(module, torch.zeros(1, 3, 2, 1), 2)
    check_batch_norm(module.eval(), torch.zeros(1, 3, 2, 1), 2)


def test_gccpm_head_wants_maps():
    """Of a bare tensor it would take the last image as a map."""
    head = MODELS.build(dict(type='GCCPMHead', in_channels=4, out_channels=3))
    message = (
        r'^expected a map of shape \(N, 4, H, W\) .*, got a tensor of shape'
    )
    with pytest.raises(ValueError, match=message + r' \(4, 8, 6\)'):
        head(torch.zeros(MAPS[0]))
    with pytest.raises(ValueError, match=message + r' \(2, 6, 4, 3\)'):
        head(zeros(*MAPS))
