"""demo/multitask_demo.py, from the command line."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmpose_ext.errors import InputError

DEMO = Path(__file__).parents[2] / 'demo/multitask_demo.py'
CONFIG = Path(__file__).parents[1] / 'tiny_multitask.py'
main = runpy.run_path(str(DEMO))['main']


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('model') / 'random.pth'
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(Config.fromfile(CONFIG).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


@pytest.fixture
def demo(checkpoint, tmp_path):
    def run(source, *options, config=CONFIG):
        out = tmp_path / 'out'
        options = '--device', 'cpu', '--out-dir', out, *options
        main([*map(str, (source, config, checkpoint, *options))])
        return out

    return run


def read(out, name):
    return json.loads((out / 'predictions' / f'{name}.json').read_text())


def files(folder):
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()
    )


def test_folder(demo, toy_persons, capsys):
    out = demo(toy_persons / 'val', '--score-thr', 0.1, '--batch-size', 4)
    names = [f'{i:012d}' for i in range(1, 7)]
    assert files(out) == [
        *(f'predictions/{name}.json' for name in names),
        *(f'visualizations/{name}.jpg' for name in names),
    ]
    number = 0
    for name in names:
        content = read(out, name)
        meta = content['meta_info']
        assert meta['dataset_name'] == 'coco'
        assert meta['keypoint_names'][0] == 'nose'
        assert len(meta['skeleton_links'][0]) == 2
        assert (meta['width'], meta['height']) == (256, 192)
        assert meta['image'].endswith(f'val/{name}.jpg')
        for person in content['instance_info']:
            number += 1
            assert person['bbox_score'] >= 0.1
            ((x1, y1, x2, y2),) = person['bbox']
            assert 0 <= x1 < x2 <= 256
            assert 0 <= y1 < y2 <= 192
            x, y = np.transpose(person['keypoints'])
            assert x.shape == np.shape(person['keypoint_scores']) == (17,)
            # Pixel indices, half a pixel less than the box's coordinates.
            assert x1 - 0.51 <= x.min() <= x.max() <= x2 - 0.49
            assert y1 - 0.51 <= y.min() <= y.max() <= y2 - 0.49
            assert mask_util.decode(person['mask']).shape == (192, 256)
    assert number > 0
    assert f'{number} persons in 6 images' in capsys.readouterr().out


def test_picture(demo, toy_persons, capsys):
    """Three times as large, with the joints that --kpt-thr lets pass."""
    name = '000000000002'
    source = toy_persons / f'val/{name}.jpg'
    plain = cv2.resize(
        cv2.imread(str(source)), (768, 576), interpolation=cv2.INTER_CUBIC
    )
    nose = (51, 153, 255)  # in RGB
    for kpt_thr, expected in ((-1, True), (2, False)):
        options = ['--score-thr', 0.1, '--kpt-thr', kpt_thr, '--overwrite']
        out = demo(source, *options)
        drawn = cv2.imread(str(out / f'visualizations/{name}.jpg'))
        assert drawn.shape == (576, 768, 3)
        assert (np.abs(drawn.astype(int) - plain) > 40).any()
        person = read(out, name)['instance_info'][-1]  # drawn last
        # The centre of the first pixel is in the centre of three.
        x, y = (3 * np.array(person['keypoints'][0]) + 1.5).astype(int)
        there = np.abs(drawn[y, x, ::-1].astype(int) - nose).max() < 80
        assert there == expected

    with pytest.raises(InputError, match=r'visualizations/0+2\.jpg.* exists'):
        demo(source)
    demo(source, '--score-thr', 2, '--overwrite')
    assert read(out, name)['instance_info'] == []
    assert 'no person scored at least 2: the highest score was 0.' in (
        capsys.readouterr().err
    )
    drawn = cv2.imread(str(out / f'visualizations/{name}.jpg'))
    assert np.abs(drawn.astype(int) - plain).mean() < 4
    demo(source, '--score-thr', 2, '--resume')  # nothing to do
    printed = capsys.readouterr()
    assert 'no person' not in printed.err
    assert '0 persons in 0 images' in printed.out


def test_bad_images_are_skipped(demo, toy_persons, tmp_path, capsys):
    folder = tmp_path / 'in'
    folder.mkdir()
    for i in (1, 2):
        shutil.copy(toy_persons / f'val/{i:012d}.jpg', folder / f'{i}.jpg')
    for width in (2000, 65501):
        image = np.full((2, width, 3), 90, dtype=np.uint8)
        cv2.imwrite(str(folder / f'1_{width}.png'), image)
    (folder / '1text.jpg').write_bytes(b'no picture')
    with pytest.raises(SystemExit, match='1'):
        demo(folder, '--batch-size', 8, '--score-thr', 0.1)
    out = tmp_path / 'out'
    names = ['1', '1_2000', '2']
    assert files(out / 'predictions') == [f'{name}.json' for name in names]
    printed = capsys.readouterr()
    wide, text = (str(folder / name) for name in ('1_65501.png', '1text.jpg'))
    assert f"skipped: image '{wide}': a picture of 65501 x 2 px" in printed.err
    assert f"3 of 5 images done; skipped: '{text}', '{wide}'" in printed.err
    assert read(out, '1_2000')['meta_info']['width'] == 2000
    for person in read(out, '1_2000')['instance_info']:
        assert mask_util.decode(person['mask']).shape == (2, 2000)
        ((x1, y1, x2, y2),) = person['bbox']
        assert 0 <= x1 < x2 <= 2000
        assert 0 <= y1 < y2 <= 2


def test_mistakes(demo, toy_persons, tiny_config, tiny_detector, tmp_path):
    for config, message in [
        ('gone.py', r"'gone\.py' does not exist"),
        (tiny_config, r'tiny\.py is no.* config of a multi-task'),
        (tiny_detector[0], r'tiny_detector\.py is no.* config'),
    ]:
        with pytest.raises(InputError, match=message):
            demo(toy_persons / 'val/000000000001.jpg', config=config)
        assert not (tmp_path / 'out').exists()


def test_without_mmdet(demo, toy_persons, monkeypatch, tmp_path):
    for name in list(sys.modules):
        if name.startswith('mmpose_ext.multitask'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    with pytest.raises(InputError, match=r'needs MMDetection.*pip install'):
        demo(toy_persons / 'val')
    assert not (tmp_path / 'out').exists()
