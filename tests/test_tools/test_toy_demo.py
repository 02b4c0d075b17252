import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.chdir(ROOT)
    return runpy.run_path('tools/toy_demo.py')


def test_its_configs_are_there(demo):
    assert demo['find'](demo['DETECTOR']).is_file()
    assert demo['find'](demo['POSE']).is_file()


def test_a_figure_below_its_floor_is_an_error(demo, capsys):
    demo['report']({'good': (0.51, 0.5), 'just': (0.5, 0.5)})
    assert '0.510' in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r'bad$'):
        demo['report']({'good': (0.51, 0.5), 'bad': (0.499, 0.5)})


def test_overview_puts_nine_pictures_into_one(demo, tmp_path):
    for i in range(9):
        picture = np.full((30, 40, 3), 20 * i, np.uint8)
        cv2.imwrite(str(tmp_path / f'{i}.jpg'), picture)
    out = tmp_path / 'out/overview.jpg'
    demo['write_overview'](tmp_path, out)
    overview = cv2.imread(str(out))
    assert overview.shape == (54, 72, 3)
    corner = overview[2, 2].astype(int), overview[-3, -3].astype(int)
    assert np.allclose(corner, [[0], [160]], atol=3)
