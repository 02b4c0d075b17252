import numpy as np
import pytest


@pytest.fixture(scope='session')
def make_results():
    """Two persons of 17 keypoints in a random image, as transforms get."""

    def make(height=48, width=36, seed=0):
        rng = np.random.default_rng(seed)
        return dict(
            img=rng.integers(1, 255, (height, width, 3), dtype=np.uint8),
            transformed_keypoints=rng.uniform(0, width, (2, 17, 2)),
            keypoints_visible=np.ones((2, 17), dtype=np.float32),
        )

    return make


@pytest.fixture(scope='session')
def make_spot():
    """An image of one round spot at (x, y)."""

    def make(width, height, xy, sigma):
        y, x = np.indices((height, width))
        square = (x - xy[0]) ** 2 + (y - xy[1]) ** 2
        return np.exp(-square / (2 * sigma**2)).astype(np.float32)

    return make


@pytest.fixture(scope='session')
def find_centre():
    """The centre of mass (x, y) of an image."""

    def find(img):
        y, x = np.indices(img.shape)
        return np.array([(x * img).sum(), (y * img).sum()]) / img.sum()

    return find
