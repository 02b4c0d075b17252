"""Write the tables and plots of photographs.md, from photographs.jsonl.

First measures the networks' time and stores it with the results, for each
WORK_DIR that tools/ablation.py has filled: nothing else should be running
then. Run it in the root of the checkout: ``python -m docs.make_photographs``.
A test compares the page with what is stored.
"""

import argparse
import re
import runpy
import statistics
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  before torchvision's users
from matplotlib.figure import Figure

from benchmarks import page
from benchmarks.kinds import load
from benchmarks.measure import measure
from mmpose_ext.checks import read_json
from mmpose_ext.errors import InputError, run_tool

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs/photographs.md'
RECORDS = PAGE.with_suffix('.jsonl')
ABLATION = runpy.run_path(str(ROOT / 'tools/ablation.py'))
# Between these two, with the name of a plan, the page is made.
BLOCK = re.compile(
    r'(<!-- (\w+): made by `python -m docs\.make_photographs`, do not edit '
    r'-->\n).*?(<!-- end -->\n)',
    re.DOTALL,
)
JOINTS = ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle')


def store(work_dir: Path, records: Path = RECORDS) -> None:
    """Time the networks of an ablation, and store all that is known."""
    path = work_dir / 'results.json'
    results = read_json(str(path), 'results')
    if results['baseline'] not in results['variants']:
        raise InputError(
            f"'{path}' has no results of the baseline yet, expected "
            f'{results["baseline"]!r}'
        )
    configs = [v['config'] for v in results['variants'].values()]
    specs = [f'network:{work_dir / config}' for config in configs]
    sides = measure(load, specs, isolate=True)
    for side, config in zip(sides, configs):  # without a machine's folders
        side['spec'] = f'network:work_dirs/{results["plan"]}/{config}'
    page.append_record(records, results['plan'], sides, results=results)


def read(records: Path = RECORDS) -> dict:
    """The results of each plan, with the networks' times."""
    plans = {}
    for name, record in page.read_records(records).items():
        plans[name] = record['results']
        variants = record['results']['variants'].values()
        for variant, side in zip(variants, record['sides']):
            variant['seconds'] = statistics.median(side['seconds'])
        plans[name]['about'] = record['about']
    return plans


def render(text: str, plans: dict) -> str:
    """The page, with the tables of all plans that it has a place for."""

    def fill(match: re.Match) -> str:
        start, name, end = match.groups()
        tables = make_tables(name, plans[name]) if name in plans else ''
        return f'{start}{tables}{end}'

    return BLOCK.sub(fill, text)


def make_tables(name: str, results: dict) -> str:
    variants, metrics = results['variants'], results['metrics']
    joints = {
        variant: dict(seeds={s: per_joint(m) for s, m in v['seeds'].items()})
        for variant, v in variants.items()
    }
    columns = {joint: joint for joint in JOINTS}
    baseline = results['baseline']
    return f"""
{ABLATION['make_table'](variants, metrics)}
Differences to the baseline, seed by seed, with 95 % confidence intervals
(Student's t):

{ABLATION['make_differences'](variants, metrics, baseline)}
PCK@0.1 of each joint, left and right together:

{ABLATION['make_table'](joints, columns)}
![PCK@0.1 of each seed, and differences to the baseline](images/{name}.png)

*Left: PCK@0.1 of each seed, and its mean. Right: its mean difference to the
baseline, with the 95 % confidence interval.*

The time on the CPU is that of one image, all networks alternately
({results['about']}).

"""


def per_joint(metrics: dict) -> dict:
    sides = ('right', 'left')
    return {
        joint: statistics.mean(metrics[f'{s}_{joint}@0.1'] for s in sides)
        for joint in JOINTS
    }


def draw(results: dict) -> Figure:
    """PCK@0.1 of each seed; differences to the baseline and intervals."""
    variants, metric = results['variants'], results['metrics']['PCK@0.1']
    baseline = variants[results['baseline']]
    size = (10, 1.5 + 0.35 * len(variants))
    figure = Figure(figsize=size, dpi=120, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    mark = dict(marker='|', color='k', markersize=16)
    for row, result in enumerate(variants.values()):
        scores = [metrics[metric] for metrics in result['seeds'].values()]
        for i, score in enumerate(scores):
            left.plot(score, row, 'o', color=f'C{i}', alpha=0.7)
        left.plot(statistics.mean(scores), row, **mark)
        values = ABLATION['find_differences'](result, baseline, metric)
        if result is baseline:
            right.plot(0, row, **mark)
        elif len(values) > 1:
            mean = statistics.mean(values)
            low, high = ABLATION['find_interval'](values)
            error = [[mean - low], [high - mean]]
            right.errorbar(mean, row, xerr=error, fmt='ko', capsize=4)
    right.axvline(0, color='k', linewidth=0.8, linestyle=':')
    left.set_yticks(range(len(variants)), variants)
    left.set_ylim(len(variants) - 0.5, -0.5)
    left.set_xlabel('PCK@0.1, a colour for each seed')
    right.set_xlabel(f'minus {results["baseline"]}')
    for axes in (left, right):
        axes.grid(axis='x', alpha=0.3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', nargs='*', type=Path, metavar='WORK_DIR')
    for work_dir in parser.parse_args().work_dirs:
        store(work_dir)
    plans = read()
    PAGE.write_text(render(PAGE.read_text(encoding='utf-8'), plans), 'utf-8')
    for name, results in plans.items():
        # Without the version of the software, which would change the file.
        path = PAGE.with_name('images') / f'{name}.png'
        draw(results).savefig(path, metadata=dict(Software=None))


if __name__ == '__main__':
    run_tool(main)
