"""Images that are read."""

import cv2
import numpy as np
import pytest

from mmpose_ext.errors import InputError
from mmpose_ext.files import write_jpeg
from mmpose_ext.inference.files import read_image


def test_image(tmp_path):
    image = np.zeros((24, 40, 3), dtype=np.uint8)
    image[:, :20] = (255, 0, 0)
    image[:, 20:] = (0, 0, 255)
    path = tmp_path / 'new/folder/x.jpg'
    write_jpeg(path, image)
    read = read_image(path)
    assert read.shape == (24, 40, 3)
    assert np.abs(read[:, [2, -3]].astype(int) - image[:, [2, -3]]).max() < 9

    cv2.imwrite(str(tmp_path / 'grey.png'), image[..., 0])
    assert read_image(tmp_path / 'grey.png').shape == (24, 40, 3)


@pytest.mark.parametrize('content', [None, b'', b'no picture'])
def test_image_that_cannot_be_read(tmp_path, content):
    path = tmp_path / 'x.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"image '.*x\.jpg'"):
        read_image(path)
