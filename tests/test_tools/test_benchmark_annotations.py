import json
import re
import runpy
from pathlib import Path

import pytest

from mmpose_ext.checks import read_annotations

TOOL = Path(__file__).parents[2] / 'tools/analysis/benchmark_annotations.py'


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOL))


def test_times_are_compared(tool, capsys):
    ratio = tool['main'](
        ['--images', '30', '--persons', '120', '--rounds', '1']
    )
    (line,) = capsys.readouterr().out.splitlines()
    found = re.fullmatch(
        r'120 persons in 30 images, \d MB: json.load ([\d.]+) s, with all '
        r'checks ([\d.]+) s \(([\d.]+) times\)',
        line,
    )
    assert found and float(found[3]) == pytest.approx(ratio, abs=0.006)


def test_the_file_needs_no_repair(tool, tmp_path):
    path = tmp_path / 'a.json'
    tool['write_annotations'](path, 30, 120)
    before = json.loads(path.read_text())
    found = read_annotations(str(path))
    assert found == before and len(found['images']) == 30
    assert sum(a['iscrowd'] for a in found['annotations']) == 2
    assert len({a['image_id'] for a in found['annotations']}) == 30
