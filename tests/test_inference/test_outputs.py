from pathlib import Path

import pytest

from mmpose_ext.errors import InputError
from mmpose_ext.inference.outputs import check_inputs_stay, plan_outputs


@pytest.fixture
def images(tmp_path):
    """Two images of the same name, in two folders."""
    paths = [tmp_path / 'in' / folder / 'x.png' for folder in 'ab']
    for path in paths:
        path.parent.mkdir(parents=True)
        path.write_bytes(b'image')
    return paths


def write(outputs):
    for files in outputs.values():
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b'old')


def test_folders_are_kept(images, tmp_path):
    outputs = plan_outputs(images, tmp_path / 'out')
    assert list(outputs) == images
    for folder, files in zip('ab', outputs.values()):
        assert files.picture == tmp_path / f'out/visualizations/{folder}/x.jpg'
        assert (
            files.prediction == tmp_path / f'out/predictions/{folder}/x.json'
        )
    (files,) = plan_outputs(images[:1], 'out').values()
    assert files.picture == Path('out/visualizations/x.jpg')
    assert not (tmp_path / 'out').exists()


def test_existing_outputs(images, tmp_path):
    out = tmp_path / 'out'
    outputs = plan_outputs(images, out)
    write(outputs)
    with pytest.raises(InputError, match=r'visualizations/a/x\.jpg.*exists'):
        plan_outputs(images, out)
    assert plan_outputs(images, out, overwrite=True) == outputs
    assert plan_outputs(images, out, resume=True) == {}

    outputs[images[1]].picture.unlink()
    assert list(plan_outputs(images, out, resume=True)) == images[1:]
    with pytest.raises(InputError, match=r'predictions/b/x\.json.*exists'):
        plan_outputs([images[1], tmp_path / 'in/c.png'], out)


def test_same_outputs(images, tmp_path):
    other = images[0].with_suffix('.jpg')
    with pytest.raises(InputError, match='same outputs'):
        plan_outputs([*images, other], tmp_path / 'out', overwrite=True)


@pytest.mark.parametrize('option', ['overwrite', 'resume'])
def test_inputs_are_not_replaced(tmp_path, option):
    image = tmp_path / 'visualizations/x.jpg'
    image.parent.mkdir()
    image.write_bytes(b'image')
    with pytest.raises(InputError, match=r"x\.jpg' would replace"):
        plan_outputs([image], tmp_path, **{option: True})


def test_inputs_stay(tmp_path, monkeypatch):
    (tmp_path / 'in').mkdir()
    for name in 'ab':
        (tmp_path / f'in/{name}.jpg').touch()
    (tmp_path / 'folder').symlink_to('in')
    (tmp_path / 'link.jpg').symlink_to('in/b.jpg')
    monkeypatch.chdir(tmp_path)
    inputs = [tmp_path / 'in/a.jpg', 'in/b.jpg']
    for output in ('in/a.jpg', 'folder/a.jpg', 'link.jpg', 'x/../in/b.jpg'):
        for path in (output, tmp_path / output):
            with pytest.raises(InputError, match=f"'{path}' would replace"):
                check_inputs_stay(inputs, ['in/c.jpg', path])
    with pytest.raises(InputError, match='would replace'):
        check_inputs_stay(['link.jpg'], ['in/b.jpg'])
    check_inputs_stay(inputs, ['in/c.jpg', 'a.jpg', 'in/a.json', 'in'])
