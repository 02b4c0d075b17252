"""docs/photographs.md holds what is stored of the ablations on photographs."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from mmpose_ext.errors import InputError
from mmpose_ext.files import write_json

ROOT = Path(__file__).resolve().parents[1]
PLANS = sorted(p.stem for p in ROOT.glob('configs/*/ablations/*_lspet.py'))
JOINTS = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'docs/make_photographs.py'))


def test_page_is_current(tool):
    text = tool['PAGE'].read_text(encoding='utf-8')
    assert tool['render'](text, tool['read']()) == text
    blocks = tool['BLOCK'].findall(text)
    assert sorted(name for _, name, _ in blocks) == PLANS
    for plan in PLANS:
        assert f'\nOMP_NUM_THREADS=1 python tools/ablation.py {plan}\n' in text


def make_variant(*scores):
    seeds = {}
    for seed, score in enumerate(scores):
        joints = {f'right_{j}@0.1': score + 0.1 for j in JOINTS}
        joints |= {f'left_{j}@0.1': score - 0.2 for j in JOINTS}
        seeds[seed] = {'PCK@0.1': score, **joints}
    return dict(params=2e6, macs=3e9, config='x/seed_0.py', seeds=seeds)


@pytest.fixture
def plans(tool, tmp_path, monkeypatch):
    """What is stored of two variants of the plan 'necks_lspet'."""
    variants = {'a': make_variant(0.4, 0.5), 'b': make_variant(0.6, 0.9)}
    results = dict(plan='necks_lspet', metrics={'PCK@0.1': 'PCK@0.1'})
    results['baseline'] = 'a'
    folder = tmp_path / 'runs'
    write_json(folder / 'results.json', dict(results, variants=variants))
    timed = []

    def measure(load, specs, isolate):
        timed.extend(specs)
        return [
            dict(spec=spec, images=1, seconds=[1.0, 0.0125, 0.01])
            for spec in specs
        ]

    monkeypatch.setitem(tool['store'].__globals__, 'measure', measure)
    tool['store'](folder, tmp_path / 'records.jsonl')
    assert timed == [f'network:{folder}/x/seed_0.py'] * 2
    assert 'runs' not in (tmp_path / 'records.jsonl').read_text()
    return tool['read'](tmp_path / 'records.jsonl')


def test_nothing_is_stored_before_the_baseline_is_tested(tool, tmp_path):
    results = dict(plan='necks_lspet', baseline='a', variants={'b': {}})
    write_json(tmp_path / 'results.json', results)
    with pytest.raises(InputError, match="of the baseline yet, expected 'a'"):
        tool['store'](tmp_path, tmp_path / 'records.jsonl')
    assert not (tmp_path / 'records.jsonl').exists()


def test_tables(tool, plans):
    start = (
        '<!-- {}: made by `python -m docs.make_photographs`, do not edit -->'
    )
    old, other = start.format('necks_lspet'), start.format('hrnet_lspet')
    end = '<!-- end -->\n'
    text = f'x\n{old}\nold\n{end}y\n{other}\nold\n{end}z\n'
    page = tool['render'](text, plans)
    assert page.startswith(f'x\n{old}\n\n| variant | PCK@0.1 | params (M)')
    assert page.endswith(f'{end}y\n{other}\n{end}z\n')
    assert tool['render'](page, plans) == page
    rows = [line for line in page.splitlines() if line.startswith('| b')]
    # Half of the interval: 12.706 times half of the difference of 0.2 and 0.4.
    assert rows == [
        '| b | 0.750 ± 0.21 | 2.000 | 3.000 | 12.5 | 2 |',
        '| b | +0.300 (-0.971 to +1.571) | 2 |',
        f'| b |{" 0.700 ± 0.21 |" * 6} 2 |',
    ]


def test_plot(tool, plans):
    left, right = tool['draw'](plans['necks_lspet']).axes
    assert [t.get_text() for t in left.get_yticklabels()] == ['a', 'b']
    points = np.concatenate([line.get_xydata() for line in left.lines])
    # The seeds and their mean, of each variant.
    assert points[:, 0] == pytest.approx([0.4, 0.5, 0.45, 0.6, 0.9, 0.75])
    assert points[:, 1].tolist() == [0, 0, 0, 1, 1, 1]
    assert right.get_xlabel() == 'minus a'
    ((_, _, (bars,)),) = right.containers
    ((low, high),) = bars.get_segments()
    assert low == pytest.approx((-0.971, 1), abs=1e-3)
    assert high == pytest.approx((1.571, 1), abs=1e-3)
