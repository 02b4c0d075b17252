import numpy as np
import pytest
from mmpose.datasets.transforms import TopdownAffine

from mmpose_ext.datasets.transforms import (
    BodyMasking,
    BottomupShortSideAffine,
    BottomupShortSideResize,
    ChannelPermutation,
    Cutout,
    KeypointMasking,
)
from mmpose_ext.datasets.transforms.results import get_image, get_keypoints

IMAGE = np.full((20, 30, 3), 7, np.uint8)
OF_ONE_IMAGE = [
    BodyMasking(),
    BottomupShortSideAffine((64, 64)),
    BottomupShortSideResize((64, 64)),
    ChannelPermutation(),
    Cutout(),
    KeypointMasking(),
]


@pytest.mark.parametrize(
    ('img', 'got'),
    [
        ([IMAGE, IMAGE], 'a list of 2'),
        ((IMAGE,), 'a tuple of 1'),
        (None, 'None'),
        (np.zeros((2, 20, 30, 3)), r'an array of shape \(2, 20, 30, 3\)'),
        (np.zeros((0, 30, 3)), r'an array of shape \(0, 30, 3\)'),
        (np.zeros(5), r'an array of shape \(5,\)'),
    ],
)
@pytest.mark.parametrize(
    'transform', OF_ONE_IMAGE, ids=lambda transform: type(transform).__name__
)
def test_one_image_is_needed(transform, img, got):
    """And known before it is drawn whether an image is changed."""
    message = rf'^{type(transform).__name__} takes one image .* got {got}$'
    for seed in range(4):
        np.random.seed(seed)
        results = dict(
            img=img,
            keypoints=np.ones((1, 2, 2)),
            keypoints_visible=np.ones((1, 2)),
        )
        with pytest.raises(ValueError, match=message):
            transform(results)


@pytest.mark.parametrize('shape', [(1, 1), (2, 3), (2, 3, 1), (2, 3, 6)])
def test_an_image_is_what_it_was(shape):
    img = np.zeros(shape)
    assert get_image('X', dict(img=img)) is img


NEED_KEYPOINTS = [
    KeypointMasking(),
    Cutout(mark_occluded=True),
    BodyMasking(mark_occluded=True),
]


@pytest.mark.parametrize(
    ('results', 'got'),
    [
        (dict(), 'none'),
        (dict(keypoints=None), r"'keypoints' \(\)"),
        (dict(keypoints=np.ones((1, 2, 2))), r"'keypoints' \(1, 2, 2\)"),
        (
            dict(keypoints=np.ones((2, 2)), keypoints_visible=np.ones(2)),
            r"'keypoints' \(2, 2\), 'keypoints_visible' \(2,\)",
        ),
        (
            dict(keypoints=np.ones((1, 2, 2)), keypoints_visible=None),
            r"'keypoints' \(1, 2, 2\), 'keypoints_visible' \(\)",
        ),
    ],
)
@pytest.mark.parametrize('transform', NEED_KEYPOINTS, ids=repr)
def test_keypoints_are_needed(transform, results, got):
    message = rf"^{type(transform).__name__} takes 'keypoints' .*{got}$"
    for seed in range(4):
        np.random.seed(seed)
        with pytest.raises(ValueError, match=message):
            transform(dict(results, img=IMAGE))


def test_a_crop_without_keypoints():
    """MMPose's affine transform says so by an array of shape ()."""
    results = TopdownAffine((30, 20))(
        dict(
            img=IMAGE,
            bbox_center=np.array([[15.0, 10]]),
            bbox_scale=np.array([[30.0, 20]]),
        )
    )
    with pytest.raises(ValueError, match=r"'transformed_keypoints' \(\)"):
        KeypointMasking()(results)
    # Those that need none cover such crops, too.
    assert (Cutout(fill=0)(results)['img'] == 0).any()
    assert (BodyMasking(prob=1.0, fill=0)(results)['img'] == 0).any()


def test_transformed_keypoints_come_first():
    results = dict(
        keypoints=np.ones((1, 2, 2)),
        transformed_keypoints=np.full((1, 2, 3), 5.0),
        keypoints_visible=np.ones((1, 2)),
    )
    assert get_keypoints('X', results).tolist() == [[[5, 5], [5, 5]]]
    results['transformed_keypoints'] = None
    assert get_keypoints('X', results).tolist() == [[[1, 1], [1, 1]]]
