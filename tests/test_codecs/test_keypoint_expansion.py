"""The codec around the grids, whose numbers are tested beside it."""

import numpy as np
import pytest
import torch
from mmpose.registry import KEYPOINT_CODECS

from mmpose_ext.codecs import KeypointExpansion

# nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
COCO = [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
        0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]  # fmt: skip
CROWDPOSE = [0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087,
             0.087, 0.089, 0.089, 0.079, 0.079]  # fmt: skip


def make_persons(seed, sigmas=COCO):
    """Poses near to three persons."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 100, (3, len(sigmas), 2))
    visible = rng.choice([0, 1, 2], (3, len(sigmas)))
    poses = truth[[0, 2, 1, 2]]
    poses = poses + rng.normal(0, 6, poses.shape)
    return poses, truth, visible, rng.uniform(200, 5000, 3)


def test_spacing():
    codec = KEYPOINT_CODECS.build(
        dict(type='KeypointExpansion', sigmas=COCO, ksize=11)
    )
    assert codec.spacing.shape == (17,)
    assert codec.spacing[1] == 1  # eye
    np.testing.assert_allclose(codec.spacing[[0, 11]], [1.04, 4.28])
    equal = KeypointExpansion(COCO, scale_by_sigma=False)
    assert (equal.spacing == 1).all() and (equal.sigmas == codec.sigmas).all()


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_numpy_and_torch_are_the_same(dtype):
    arrays = make_persons(4, CROWDPOSE)
    arrays = [a.astype(dtype) for a in arrays]
    tensors = [torch.from_numpy(a) for a in arrays]
    codec = KeypointExpansion(CROWDPOSE)
    ours, theirs = codec.encode(*arrays), codec.encode(*tensors)
    pairs = [(ours[key], theirs[key]) for key in ours]
    pairs += zip(
        codec.decode(ours['oks_maps'], arrays[0]),
        codec.decode(theirs['oks_maps'], tensors[0]),
    )
    pairs.append((codec.expand(arrays[0]), codec.expand(tensors[0])))
    for array, tensor in pairs:
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, tensor.numpy())
        assert array.dtype == tensor.numpy().dtype
    assert ours['gt_index'].dtype == np.int64
    assert all(
        array.dtype == dtype for array, _ in pairs if array.dtype != np.int64
    )
    # Whole numbers, and views that torch does not take.
    whole = codec.expand(np.arange(28).reshape(14, 2)[::-1])
    assert whole.dtype == np.float64 and whole[5, 5, 0, 0] == 26


def test_the_truth_is_found():
    """To where the grids lead; what has no label stays."""
    codec = KeypointExpansion(COCO)
    rng = np.random.default_rng(5)
    truth = rng.uniform(0, 100, (1, 17, 2))
    steps = rng.integers(-5, 6, (1, 17, 2))
    poses = truth - steps * codec.spacing[:, None] * 1.5
    visible = np.ones((1, 17))
    visible[0, 4] = 0
    areas = np.array([900])
    maps = codec.encode(poses, truth, visible, areas, 1.5)['oks_maps']
    moved, values = codec.decode(maps, poses, 1.5)
    expected = np.where(visible[..., None] > 0, truth, poses)
    np.testing.assert_allclose(moved, expected)
    np.testing.assert_allclose(values, visible)
    corner = codec.expand(poses, 1.5)[0, 0, 0]
    np.testing.assert_allclose(
        corner, poses[0] - 5 * 1.5 * codec.spacing[:, None]
    )


def test_sigmas_of_the_metainfo():
    """MMPose's files, a custom dataset, and none or two of the sources."""
    path = 'configs/_base_/datasets/{}.py'
    for name, sigmas in (('coco', COCO), ('crowdpose', CROWDPOSE)):
        for metainfo in (
            path.format(name),
            dict(from_file=path.format(name)),
        ):
            codec = KeypointExpansion(metainfo=metainfo)
            assert codec.sigmas.tolist() == sigmas
    own = dict(
        dataset_name='own',
        keypoint_info={i: dict(name=str(i)) for i in range(2)},
        skeleton_info={},
        joint_weights=[1, 1],
        sigmas=[0.05, 0.0123456],
    )
    assert KeypointExpansion(metainfo=own).sigmas.tolist() == own['sigmas']
    with pytest.raises(ValueError, match=r'^sigmas must .* no metainfo with'):
        KeypointExpansion(metainfo=dict(own, sigmas=[]))
    with pytest.raises(ValueError, match=r'^metainfo: .*no\.py" does not e'):
        KeypointExpansion(metainfo='no.py')
    with pytest.raises(ValueError, match=r'^sigmas must .* got None'):
        KeypointExpansion()
    with pytest.raises(
        ValueError, match=r'^either sigmas or metainfo .* \[0.1\] and no.py$'
    ):
        KeypointExpansion([0.1], metainfo='no.py')


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(ksize=4), 'ksize must be odd, got 4'),
        (dict(ksize=3.0), 'ksize must be .* got 3.0'),
        (dict(sigmas=[]), r'sigmas must .* got \[\]'),
        (dict(sigmas=[[0.1]]), r'sigmas\[0\] must .* got \[0.1\]'),
        (dict(scale_by_sigma=None), 'scale_by_sigma must .* got None'),
    ],
)
def test_refuses_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        KeypointExpansion(**{'sigmas': COCO, **kwargs})


def test_refuses_other_rules():
    with pytest.raises(
        ValueError, match=r"match must .* 'best', 'sum', got 'mean'"
    ):
        KeypointExpansion(COCO).encode(*make_persons(0), match='mean')
