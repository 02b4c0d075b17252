"""Images of extreme aspect ratios."""

import numpy as np


def test_thin_images_keep_a_pixel():
    from mmcv.image import imrescale, rescale_size

    assert rescale_size((3000, 1), (1333, 800)) == (1333, 1)
    assert rescale_size((1, 3000), 0.1) == (1, 300)
    assert rescale_size((30, 20), 0.5) == (15, 10)
    image = np.full((2, 2000, 3), 7, dtype=np.uint8)
    small, factor = imrescale(image, (256, 192), return_scale=True)
    assert small.shape == (1, 256, 3)
    assert factor == 256 / 2000
    assert (small == 7).all()
