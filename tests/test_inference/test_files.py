"""Images that are found and read."""

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmpose_ext.errors import InputError
from mmpose_ext.files import write_jpeg
from mmpose_ext.inference.files import (
    _natural,
    list_images,
    read_image,
    read_size,
)


def png(width: int, height: int, pixels: bytes = b'') -> bytes:
    """A file of that size by its header."""

    def chunk(name, content):
        checksum = zlib.crc32(name + content)
        return (
            struct.pack('>I', len(content))
            + name
            + content
            + struct.pack('>I', checksum)
        )

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(pixels))
        + chunk(b'IEND', b'')
    )


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


@pytest.mark.parametrize('read', [read_image, read_size])
@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (None, 'does not exist'),
        (b'', 'is empty'),
        (b'no picture', 'cannot be'),
        (bytes(1000), 'cannot be'),
        (png(0, 0), 'cannot be'),
        (png(100_000, 100_000), r'cannot be read: .*10000000000 pixels'),
        (png(13_378, 13_378), r'cannot be read: .*178970884 pixels'),
        (png(2**31 - 1, 2**31 - 1), 'cannot be read: .* pixels'),
        ('a folder', 'is a folder'),
        ('no permission', 'cannot be read: no permission'),
    ],
)
def test_image_that_cannot_be_read(
    content, reason, read, tmp_path, monkeypatch
):
    path = tmp_path / 'x.jpg'
    if content == 'a folder':
        path.mkdir()
    elif content == 'no permission':
        path.write_bytes(b'x')

        def fail(*_):
            raise PermissionError('no permission')

        monkeypatch.setattr(Path, 'read_bytes', fail)
        monkeypatch.setattr('builtins.open', fail)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^image '.*x\.jpg' {reason}"):
        read(path)


def test_image_whose_end_is_missing(tmp_path):
    path = tmp_path / 'x.jpg'
    noise = np.random.RandomState(0).randint(0, 255, (64, 48, 3))
    write_jpeg(path, noise.astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-1000])
    assert read_size(path) == (48, 64)
    with pytest.raises(InputError, match=r"x\.jpg' cannot be decoded"):
        read_image(path)
    path = path.with_suffix('.png')
    path.write_bytes(png(4, 4, bytes(10)))
    with pytest.raises(InputError, match=r"x\.png' cannot be decoded"):
        read_image(path)


@pytest.mark.parametrize(
    ('mode', 'suffix', 'options'),
    [
        ('RGBA', '.png', {}),
        ('P', '.png', {}),
        ('1', '.png', {}),
        ('I;16', '.png', {}),
        ('L', '.jpg', {}),
        ('CMYK', '.jpg', {}),
        ('RGB', '.webp', {'save_all': True}),
        ('RGB', '.bmp', {}),
        ('RGB', '.ppm', {}),
    ],
)
def test_kinds_of_images(mode, suffix, options, tmp_path):
    """All come as 8 bits of three channels, of animations the first frame."""
    path = tmp_path / f'x{suffix}'
    image = Image.new(mode, (40, 24))
    if options:
        options['append_images'] = [Image.new(mode, (40, 24), 'white')]
    image.save(path, **options)
    read = read_image(path)
    assert read.shape == (24, 40, 3) and read.dtype == np.uint8
    assert read_size(path) == (40, 24)
    # Without ink, the paper is white.
    expected = 255 if mode == 'CMYK' else 0
    assert np.abs(read.astype(int) - expected).max() < 5


def test_16_bits_are_scaled(tmp_path):
    path = tmp_path / 'x.png'
    cv2.imwrite(str(path), np.full((2, 3), 200 * 257, dtype=np.uint16))
    assert (read_image(path) == 200).all()


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_images(orientation, suffix, tmp_path):
    path = tmp_path / f'x{suffix}'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', (40, 24)).save(path, exif=exif)
    height, width = read_image(path).shape[:2]
    assert read_size(path) == (width, height)
    if suffix == '.jpg':
        assert (width > height) == (orientation < 5)


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for read in (read_image, read_size):
        with pytest.raises(InputError, match='is a pipe or device, not a fil'):
            read(tmp_path / 'pipe')


def test_images_are_listed(tmp_path):
    names = ['2.png', '10.JPG', '1.webp', 'notes.txt', 'x/3.png']
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def listed(pattern):
        paths = list_images(str(tmp_path / pattern))
        return [str(path.relative_to(tmp_path)) for path in paths]

    assert listed('') == ['1.webp', '2.png', '10.JPG']
    assert listed('notes.txt') == ['notes.txt']
    assert listed('**/*.png') == ['2.png', 'x/3.png']
    assert listed('[12]*') == ['1.webp', '2.png', '10.JPG']
    for pattern in ('gone', '*.bmp'):
        with pytest.raises(InputError, match=r'no images at .* a folder'):
            listed(pattern)


@given(st.lists(st.integers(0, 10**6), unique=True), st.integers(1, 8))
def test_numbers_are_sorted_by_value(numbers, digits):
    paths = [Path(f'a1/frame{n:0{digits}}.b.png') for n in numbers]
    assert sorted(paths, key=_natural) == [
        Path(f'a1/frame{n:0{digits}}.b.png') for n in sorted(numbers)
    ]


@given(st.lists(st.text('0a1b.-', min_size=1), unique=True), st.randoms())
def test_the_order_is_total(names, random):
    paths = list({Path(name) for name in names})
    order = sorted(paths, key=_natural)
    random.shuffle(paths)
    assert sorted(paths, key=_natural) == order
