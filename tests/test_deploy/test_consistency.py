"""Parts of descriptions that do not fit together."""

import copy

import pytest
from exported_description import GOOD, put

from mmpose_ext.deploy.consistency import check_consistency, check_fit

HEAD = 'model.head'
# What would be nonsense, or end in an error of another kind, at an image.
REFUSED = {
    'no steps': ('pipeline', [], r'pipeline is \[\], expected LoadIm'),
    'packed twice': (
        'pipeline.1',
        dict(type='PackPoseInputs'),
        'PackPoseInputs last',
    ),
    'no image': ('pipeline.0', dict(type='RandomFlip'), 'LoadImage fir'),
    'other kind': ('kind', 'bottomup', "of a 'bottomup' model"),
    'crop of no size': (
        'pipeline.2.input_size',
        (0, 0),
        r'pipeline\[2\]\.input_size is \(0, 0\)',
    ),
    'input of no size': (
        f'{HEAD}.decoder.input_size',
        (0, 0),
        r'decoder\.input_size is \(0, 0\)',
    ),
    'negative heatmap': (
        f'{HEAD}.decoder.heatmap_size',
        (-1, 24),
        r'decoder\.heatmap_size is \(-1, 24\)',
    ),
    'sigma': (f'{HEAD}.decoder.sigma', 'a', "decoder.sigma is 'a'"),
    'std of 0': (
        'model.data_preprocessor.std',
        [1, 0, 1],
        r'std is \[1, 0, 1\]',
    ),
    'no last step': ('pipeline', GOOD['pipeline'][:-1], 'PackPoseInputs last'),
    'sigma in a list': (
        f'{HEAD}.a',
        [dict(sigma=['a'])],
        'sigma is .*numbers',
    ),
    'text as a mean': ('model.data_preprocessor.mean', ['a'], 'a list of num'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name):
    place, value, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        check_consistency(put(place, value))


INPUTS, OUTPUTS = (None, 1, 8, 8), [(None, 2, 2, 2)]


def test_fit():
    check_consistency(copy.deepcopy(GOOD))
    check_fit(GOOD, INPUTS, OUTPUTS)
    check_fit(GOOD, (None, None, None, None), [(None, 2, None, None)])
    check_fit(put('kind', 'bottomup'), (None, 1, 16, 8), OUTPUTS)
    check_fit(put('model.head.decoder', None), (None, 1, 16, 8), OUTPUTS)


@pytest.mark.parametrize(
    'inputs, outputs, message',
    [
        ((1, 3, 8, 8), OUTPUTS, r'mean is \[1\.5\], expected 3 numbers'),
        (
            (1, 1, 16, 8),
            OUTPUTS,
            r"input_size is \(8, 8\), expected the network's \[\(8, 16\)\]",
        ),
        (
            INPUTS,
            [(1, 2, 4, 2), (1, 9)],
            r"map_size is \[2, 2\], expected the network's \[\(2, 4\)\]",
        ),
    ],
)
def test_other_networks(inputs, outputs, message):
    with pytest.raises(ValueError, match=message):
        check_fit(GOOD, inputs, outputs)
