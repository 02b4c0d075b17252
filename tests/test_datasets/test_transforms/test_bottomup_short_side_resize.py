import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.structures import InstanceData
from mmpose.models import BottomupPoseEstimator
from mmpose.structures import PoseDataSample

from mmpose_ext.datasets.transforms import BottomupShortSideResize

lengths = st.integers(1, 300)
seeds = st.integers(0, 2**31)


def resize(width, height, *args, **kwargs):
    img = np.zeros((height, width), np.uint8)
    return BottomupShortSideResize(*args, **kwargs)(dict(img=img))


def put_back(keypoints, results):
    """Keypoints of the network's input, in the image, by MMPose."""
    keys = ('input_size', 'input_center', 'input_scale')
    sample = PoseDataSample(metainfo={key: results[key] for key in keys})
    instances = InstanceData(
        keypoints=keypoints, keypoint_scores=np.ones(keypoints.shape[:2])
    )
    BottomupPoseEstimator.add_pred_to_datasample(
        None, [instances], None, [sample]
    )
    return sample.pred_instances.keypoints


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((640, 480), (704, 512)),  # 682.7
        ((480, 640), (512, 704)),
        ((512, 576), (512, 576)),  # just a multiple
        ((512, 577), (512, 640)),  # one more pixel
        ((1024, 1153), (512, 576)),  # 576.5: half a pixel does not count
        ((1024, 1154), (512, 640)),  # 577
        ((2, 3), (512, 768)),
        ((1, 1), (512, 512)),
    ],
)
def test_sizes(size, expected):
    results = resize(*size, (512, 512))
    assert results['input_size'] == expected
    assert results['img_shape'] == results['img'].shape == expected[::-1]


def test_rounds_as_the_reference_does():
    """Whether the scaled length is cut to an integer before or not."""
    rng = np.random.default_rng(0)
    for short in (64, 192, 320):
        for w, h in rng.integers(50, 350, (40, 2)):
            scale = short / min(w, h)
            size = resize(w, h, (short, short))['input_size']
            for length, found in zip((w, h), size):
                exact = scale * length
                assert found == int((exact + 63) // 64 * 64)
                assert found == (int(exact) + 63) // 64 * 64


@pytest.mark.parametrize(
    ('input_size', 'factor', 'short'),
    [
        ((500, 500), 64, 512),
        ((513, 513), 64, 576),
        ((900, 400), 64, 448),
        ((400, 900), 64, 448),
        ([400, 400], 32, 416),
        ((77, 77), 1, 77),
    ],
)
def test_short_side(input_size, factor, short):
    for width, height in ((90, 61), (61, 90), (90, 90)):
        size = resize(width, height, input_size, factor)['input_size']
        assert min(size) == short
        scaled = short * 90 // min(width, height)
        assert max(size) == -(-scaled // factor) * factor


@given(width=lengths, height=lengths, seed=seeds)
@settings(max_examples=50)
def test_is_one_similarity_about_the_centre(width, height, seed):
    """By the definition, and back by MMPose's way to put poses back."""
    limit = 40 * min(width, height)
    width, height = min(width, limit), min(height, limit)
    results = resize(width, height, (64, 64))
    scale = 64 / min(width, height)
    centre = np.array([int(width / 2 + 0.5), int(height / 2 + 0.5)])
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 2, (3, 17, 2)) * (width, height)
    moved = scale * (points - centre) + np.array(results['input_size']) / 2
    np.testing.assert_allclose(put_back(moved, results), points, atol=1e-9)
    middle = np.array(results['input_size'])[None, None] / 2
    assert (put_back(middle, results) == centre).all()


@given(
    width=st.integers(20, 90),
    height=st.integers(20, 90),
    seed=seeds,
    factor=st.sampled_from([1, 3, 64]),
)
@settings(max_examples=50)
def test_moves_the_image_as_it_says(
    make_spot, find_centre, width, height, seed, factor
):
    rng = np.random.default_rng(seed)
    at = rng.uniform(6, np.array([width, height]) - 7)
    results = dict(img=make_spot(width, height, at, 1.5))
    after = BottomupShortSideResize((128, 128), factor)(results)
    found = find_centre(after['img'])[None, None]
    assert np.abs(put_back(found, after) - at).max() < 0.1


@pytest.mark.parametrize('pad_val', [None, 7])
def test_pads_outside_of_the_image(pad_val):
    padding = {} if pad_val is None else dict(pad_val=pad_val)
    for channels in ((), (3,), (4,)):
        img = np.full((100, 130, *channels), 200, np.uint8)
        resize = BottomupShortSideResize((100, 100), **padding)
        img = resize(dict(img=img))['img']
        assert img.shape == (128, 192, *channels)
        # 166.4 px of 192 are the image; its last rows fade out.
        inside = (img[:-2] == 200).reshape(126, 192, -1).all((0, 2))
        assert 164 <= inside.sum() <= 167
        assert (img[:, :12] == (pad_val or 0)).all()
        assert (img[:, -12:] == (pad_val or 0)).all()


def test_an_image_of_the_right_size_stays():
    img = np.random.default_rng(0).integers(0, 255, (128, 192), dtype=np.uint8)
    after = BottomupShortSideResize((128, 128))(dict(img=img))['img']
    np.testing.assert_array_equal(after, img)


def test_tiny_long_and_too_large_images():
    transform = BottomupShortSideResize((64, 64))
    for width, height in ((1, 1), (3, 2), (1, 60), (400, 7)):
        img = np.full((height, width, 3), 9, np.uint8)
        results = transform(dict(img=img))
        w, h = results['input_size']
        assert results['img'].shape == (h, w, 3) and results['img'].any()
        assert min(w, h) == 64 and w % 64 == h % 64 == 0
    size = resize(32766, 2, (1, 1), size_factor=1)['input_size']
    assert size == (16383, 1)
    with pytest.raises(ValueError, match=r'up to 32766 px .* 1 x 32767'):
        resize(1, 32767, (64, 64))
    # Three pixels become 512, and so 700 far too many.
    with pytest.raises(ValueError, match='an input of up to 32766 px'):
        resize(700, 3, (512, 512))


def test_arguments():
    assert repr(BottomupShortSideResize(input_size=[384, 384])) == (
        'BottomupShortSideResize(input_size=(384, 384), size_factor=64, '
        'pad_val=0)'
    )
    with pytest.raises(ValueError, match=r'input_size .* got \(9,\)'):
        BottomupShortSideResize((9,))
    with pytest.raises(ValueError, match=r'size_factor must .* got 0'):
        BottomupShortSideResize((9, 9), size_factor=0)
