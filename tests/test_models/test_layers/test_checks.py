"""What modules say of arguments and maps that do not fit."""

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS

CONTEXT = dict(type='ASPPContext', mid_channels=4, neck_channels=3)
NECKS = {
    'RAMNeck': {},
    'GPRNeck': {},
    'PSMNeck': {},
    'ContextNeck': dict(context=CONTEXT),
}
CONTEXTS = {
    'ASPPContext': dict(mid_channels=4, neck_channels=3),
    'PyramidPoolingContext': dict(mid_channels=3),
    'UShapedContext': {},
}
MAPS = [(2, 4, 8, 6), (2, 6, 4, 3)]


def build(name, in_channels):
    kwargs = {**NECKS, **CONTEXTS}[name]
    return MODELS.build(dict(kwargs, type=name, in_channels=in_channels))


def zeros(*shapes):
    return [torch.zeros(shape) for shape in shapes]


@pytest.mark.parametrize('name', NECKS)
@pytest.mark.parametrize(
    'in_channels',
    [np.array([4, 6]), [np.int64(4), np.int32(6)], (4, 6)],
    ids=['array', 'items', 'tuple'],
)
def test_necks_take_numpys_channels(name, in_channels):
    neck = build(name, in_channels)
    assert {type(c) for c in neck.in_channels} == {int}
    assert neck(zeros(*MAPS))[0].shape == MAPS[0]


@pytest.mark.parametrize('name', CONTEXTS)
def test_contexts_take_numpys_channels(name):
    module = build(name, np.int64(4))
    assert module(*zeros(MAPS[0])).shape == MAPS[0]
    (neck,) = (
        MODELS.build(dict(type='ContextNeck', in_channels=c, context=CONTEXT))
        for c in (np.int64(4),)
    )
    assert neck.in_channels == [4]


@pytest.mark.parametrize('name', NECKS)
@pytest.mark.parametrize(
    ('feats', 'said'),
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
def test_necks_want_a_list_of_maps(name, feats, said):
    expected = r'^expected a list or tuple of maps .*\(N, C, H, W\), got '
    with pytest.raises(ValueError, match=expected + said):
        build(name, [4, 6])(feats)


@pytest.mark.parametrize('name', NECKS)
def test_necks_want_all_maps(name):
    neck = build(name, [4, 6])
    for feats in ([], zeros(MAPS[0]), zeros(*MAPS[::-1])):
        with pytest.raises(ValueError, match=r'maps of \[4, 6\] channels'):
            neck(feats)


@pytest.mark.parametrize('name', CONTEXTS)
@pytest.mark.parametrize(
    ('x', 'said'),
    [
        (torch.zeros(2, 5, 8, 6), r'a tensor of shape \(2, 5, 8, 6\)'),
        (torch.zeros(4, 8, 6), r'a tensor of shape \(4, 8, 6\)'),
        (torch.zeros(2, 4, 8, 6, 1), r'a tensor of .* \(2, 4, 8, 6, 1\)'),
        (torch.zeros(2, 4, 0, 6), r'a tensor of shape \(2, 4, 0, 6\)'),
        (torch.zeros(2, 4, 8, 0), r'a tensor of shape \(2, 4, 8, 0\)'),
        (zeros((2, 4, 8, 6)), r'a list of a tensor of shape \(2, 4, 8, 6\)'),
        ([], 'a list of nothing'),
        (None, 'None'),
    ],
    ids=[
        'channels',
        '3-d',
        '5-d',
        'no rows',
        'no columns',
        'list',
        '[]',
        'None',
    ],
)
def test_contexts_want_a_map(name, x, said):
    expected = r'^expected a map of shape \(N, 4, H, W\) .* cell, got '
    with pytest.raises(ValueError, match=expected + said):
        build(name, 4)(x)


def test_gccpm_head_wants_maps():
    """Of a bare tensor it would take the last image as a map."""
    head = MODELS.build(dict(type='GCCPMHead', in_channels=4, out_channels=3))
    said = r'^expected a map of shape \(N, 4, H, W\) .*, got a tensor of shape'
    with pytest.raises(ValueError, match=said + r' \(4, 8, 6\)'):
        head(torch.zeros(MAPS[0]))
    with pytest.raises(ValueError, match=said + r' \(2, 6, 4, 3\)'):
        head(zeros(*MAPS))
