import os

import numpy as np
import pytest
from mmcv import imfrombytes
from PIL import Image

from mmpose_ext.checks.coco import images as rules
from mmpose_ext.checks.coco.problems import Problems
from mmpose_ext.checks.coco.table import Objects
from mmpose_ext.errors import InputError


@pytest.mark.parametrize('key', ['width', 'height'])
@pytest.mark.parametrize('value', [None, 0, -5, '9', True, 1.5, 2e6, 10**400,
                                   float('nan'), ...])  # fmt: skip
def test_sizes(read, content, key, value):
    content['images'][2][key] = value
    if value is ...:
        del content['images'][2][key]
        key += ' nothing'
    message = f'image 9: {key}.*, expected a whole number of px above 0'
    with pytest.raises(InputError, match=message):
        read(content)


def test_the_largest_image(read, content):
    content['images'][2].update(width=2**16, height=2**15 - 1)
    assert read(content)
    content['images'][2].update(width=2**16, height=2**15)
    message = 'image 9: width x height 65536 x 32768, expected fewer than 2'
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize('name', [None, 3, ['a'], 'a\0b', '\ud800'])
def test_names(read, content, name):
    content['images'][2]['file_name'] = name
    for with_names in (True, False):
        with pytest.raises(
            InputError, match=r'image 9: file_name .*name of a'
        ):
            read(content, with_names=with_names)
    content['images'][2]['file_name'] = 'Größe 1.jpg'
    assert read(content)['images'][2]['file_name'] == 'Größe 1.jpg'


def test_names_that_are_not_needed(read, content):
    content['images'][2]['file_name'] = ''  # as MMDet's metric writes it
    assert read(content, with_names=False)
    with pytest.raises(InputError, match="image 9: file_name '', expected"):
        read(content)
    del content['images'][2]['file_name']
    assert read(content, with_names=False)
    with pytest.raises(InputError, match='image 9: file_name nothing'):
        read(content)


def write_images(folder, content, orientation=None, format_='jpg'):
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.{format_}'
        size = image['width'], image['height']
        Image.new('RGB', size).save(folder / image['file_name'], exif=exif)


def test_images_of_the_stated_size(read, content, tmp_path):
    write_images(tmp_path, content)
    assert read(content, img_dir=str(tmp_path))
    (tmp_path / '3.jpg').unlink()
    (tmp_path / '4.jpg').write_bytes(b'no image')
    assert read(content, img_dir=str(tmp_path))


def test_images_of_another_size(read, content, tmp_path):
    write_images(tmp_path, content)
    content['images'][0]['width'] += 1
    content['images'][1].update(width=90, height=60)
    for annotation in content['annotations']:
        annotation['segmentation'] = []
    with pytest.raises(InputError) as e:
        read(content, img_dir=str(tmp_path))
    assert str(e.value).split('\n')[1:] == [
        "  image 3: 101 x 80 px, expected 100 x 80 px as '3.jpg' has",
        "  image 4: 90 x 60 px, expected 60 x 90 px as '4.jpg' has: width and "
        'height are swapped (photographs with an EXIF orientation have it)',
    ]


@pytest.mark.parametrize('format_', ['jpg', 'png', 'webp', 'tiff'])
@pytest.mark.parametrize('orientation', [1, 3, 5, 6, 8])
def test_orientation_is_that_of_the_loaded_image(
    read, content, tmp_path, orientation, format_
):
    """MMPose and MMDet load by mmcv, whose sizes these are."""
    write_images(tmp_path, content, orientation, format_)
    for flag, turns in (('color', True), ('unchanged', False)):
        for image in content['images']:
            data = (tmp_path / image['file_name']).read_bytes()
            loaded = imfrombytes(data, flag=flag)
            image['height'], image['width'] = loaded.shape[:2]
        for annotation in content['annotations']:
            annotation['segmentation'] = []
        assert read(content, img_dir=str(tmp_path), turns=turns)


def test_a_thousand_images_are_looked_at(monkeypatch):
    asked = []
    monkeypatch.setattr(
        rules, '_read_size', lambda path, turns: asked.append(path)
    )
    images = [
        dict(id=i, file_name=str(i), width=9, height=9) for i in range(5000)
    ]
    rules.check_image_sizes(Objects('images', images, Problems('')), 'x')
    numbers = [int(path[2:]) for path in asked]
    assert len(numbers) == 1000 == len(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 4999)
    assert np.diff(numbers).min() >= 4


def test_only_files_are_opened(read, content, tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    names = ('pipe', '/dev/zero', 'folder', 'http://images.org/1.jpg')
    content['images'].append(dict(content['images'][0], id=10))
    for image, name in zip(content['images'], names):
        image['file_name'] = name
    with pytest.raises(InputError) as e:
        read(content, img_dir=str(tmp_path))
    device = 'which is a pipe or device, expected an image file'
    assert str(e.value).splitlines()[1:] == [
        f"  image 3: file_name 'pipe', {device}",
        f"  image 4: file_name '/dev/zero', {device}",
        "  image 9: file_name 'folder', which is a folder, expected an image "
        'file',
        f"  image 10: file_name '{names[3]}', expected the name of a file, "
        'not a URL',
    ]


def test_a_wrong_width_is_one_problem(read, content, tmp_path):
    write_images(tmp_path, content)
    content['images'][0]['width'] = -5
    with pytest.raises(InputError, match=r', image 3: width -5, expected'):
        read(content, img_dir=str(tmp_path))


def test_line_breaks_in_names_are_escaped(read, content, tmp_path):
    write_images(tmp_path, content)
    (tmp_path / '3.jpg').rename(tmp_path / 'a\nerror: b.jpg')
    content['images'][0].update(file_name='a\nerror: b.jpg', height=99)
    with pytest.raises(InputError, match=r"'a\\nerror: b.jpg' has") as e:
        read(content, img_dir=str(tmp_path))
    assert 'a\nerror' not in str(e.value)
