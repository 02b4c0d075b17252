import pytest
from PIL import Image

from mmpose_ext.datasets import image_sizes
from mmpose_ext.datasets.image_sizes import read_image_sizes
from mmpose_ext.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Images of 40x20 and 16x32 px."""
    Image.new('RGB', (40, 20)).save(tmp_path / 'a.png')
    Image.new('L', (16, 32)).save(tmp_path / 'b.jpg')
    return tmp_path


def test_width_comes_first(folder):
    names = ['b.jpg', 'a.png', 'b.jpg']
    assert read_image_sizes(names, str(folder)) == [(16, 32), (40, 20),
                                                    (16, 32)]  # fmt: skip
    assert read_image_sizes([], folder) == []


def test_names_may_be_whole_paths(folder, monkeypatch):
    assert read_image_sizes([str(folder / 'a.png')], '') == [(40, 20)]
    monkeypatch.chdir(folder)
    assert read_image_sizes(['a.png'], '') == [(40, 20)]


def test_only_headers_are_read(folder):
    """A picture that ends early has its size all the same."""
    Image.effect_noise((300, 200), 50).save(folder / 'c.png')
    data = (folder / 'c.png').read_bytes()
    (folder / 'c.png').write_bytes(data[:100])
    assert read_image_sizes(['c.png'], folder) == [(300, 200)]


def test_what_cannot_be_read(folder, monkeypatch):
    (folder / 'text.jpg').write_text('no picture')
    (folder / 'empty.jpg').touch()
    (folder / 'folder.jpg').mkdir()
    for name in ('text.jpg', 'empty.jpg', 'folder.jpg', 'nul\0.jpg'):
        with pytest.raises(InputError) as e:
            read_image_sizes(['a.png', name, 'no.png'], folder)
        path = str(folder / name)
        assert str(e.value).startswith(f"image '{path}' cannot be read: ")
    with pytest.raises(InputError, match=r"^image '.*no\.png' does not exist"):
        read_image_sizes(['no.png'], folder)
    with pytest.raises(InputError, match=r'\(2 of 3 images are missing\)$'):
        read_image_sizes(['no.png', 'a.png', 'nor.png'], folder)
    with pytest.raises(InputError, match=r"^image folder 'no/such' does not"):
        read_image_sizes(['a.png'], 'no/such')
    # Pillow refuses those that would fill the memory.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(InputError, match=r'a\.png.* cannot be read: .*800'):
        read_image_sizes(['a.png'], folder)


def test_progress_is_shown_where_images_are_many(folder, monkeypatch, capsys):
    names = ['a.png'] * 3
    read_image_sizes(names, folder)
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(image_sizes, '_MANY', 3)
    read_image_sizes(names, folder)
    captured = capsys.readouterr()
    assert 'Image sizes' in captured.err and captured.out == ''
