"""Train and test variants of a config with several seeds, as one table.

A plan is a config that inherits the one to be varied. Each of its variants is
trained and tested with each of its seeds; finished runs are skipped, and
interrupted ones resumed. The key 'ablation' of a plan is a dict of
  variants  {name: settings}, each nested as in a config or by dotted keys
            such as 'model.head.context'; {} is the plan's own config
  seeds     whole numbers, one for each training
  metrics   {column of the table: name of a metric in the test's result}
  baseline  name of a variant, for a second table: the others' differences to
            it, seed by seed, with their 95 % confidence interval (Student's t)
All else in it, such as train_cfg, changes the config of all variants. The
plans of the documents are in configs/*/ablations.
"""

import argparse
import ast
import copy
import inspect
import json
import math
import re
import signal
import statistics
import sys
from pathlib import Path
from typing import Any, List, NamedTuple, Tuple

import mmpose_ext  # noqa: F401  # isort: skip  before those that it fixes
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import track
from scipy.stats import t

from mmpose_ext.analysis import count_complexity, load_network
from mmpose_ext.analysis.complexity import Complexity
from mmpose_ext.checks import check_config
from mmpose_ext.engine.config import load_config
from mmpose_ext.engine.steps import run_step
from mmpose_ext.errors import InputError, did_you_mean, run_tool
from mmpose_ext.files import write_atomic

# Columns of the table: what is known of each variant, its unit and format.
COSTS = {
    'params (M)': ('params', 1e6, '.3f'),
    'GMACs': ('macs', 1e9, '.3f'),
    'CPU (ms)': ('seconds', 1e-3, '.1f'),  # not measured here
}


class Run(NamedTuple):
    """One variant with one seed."""

    variant: str
    seed: int
    cfg: Config
    cost: Complexity
    folder: Path
    config: Path  # beside the folder, where the runner writes one


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('plan', help='path or base name of the plan')
    parser.add_argument(
        '--work-dir',
        type=Path,
        help='folder for trainings, results.json and table.md (default: '
        'work_dirs/ and the name of the plan)',
    )
    return parser.parse_args()


def check_ablation(ablation: Any, path: str) -> None:
    """Check the key 'ablation' of the plan in a file."""

    def expect(is_right: bool, what: str, given: Any) -> None:
        if not is_right:
            raise InputError(f'{path}: expected {what}, got {given!r}')

    expect(isinstance(ablation, dict), "a dict 'ablation'", ablation)
    known = ('variants', 'metrics', 'seeds', 'baseline')
    for key in ablation:
        expect(key in known, f'keys of ablation to be among {known}', key)
    for key in known[:2]:
        value = ablation.get(key)
        is_right = isinstance(value, dict) and len(value) > 0
        expect(is_right, f'ablation.{key} to be a dict with entries', value)
    for name in ablation['metrics'].values():
        expect(isinstance(name, str), 'names of metrics', name)
    seeds = ablation.get('seeds')
    is_right = isinstance(seeds, list) and len(seeds) > 0
    is_right = is_right and all(type(s) is int and s >= 0 for s in seeds)
    is_right = is_right and len(set(seeds)) == len(seeds)
    what = 'ablation.seeds to be a list of different whole numbers'
    expect(is_right, what, seeds)
    baseline = ablation.get('baseline')
    is_right = baseline is None or baseline in ablation['variants']
    expect(is_right, 'ablation.baseline to be a variant', baseline)
    # Python itself keeps the last of equal keys.
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Dict):
            keys = [k.value for k in node.keys if isinstance(k, ast.Constant)]
            for key in keys:
                place = f'line {node.lineno} to have different keys'
                expect(keys.count(key) == 1, place, key)


def check_settings(new: dict, old: Any, place: str = '') -> None:
    """Check that a variant changes what there is.

    What has a type may get more arguments: whether it takes them shows when
    it is built.
    """
    for key, value in new.items():
        if not place:
            key, *inner = key.split('.')
            for part in reversed(inner):
                value = {part: value}
        if isinstance(old, (list, tuple)):
            old = {str(i): item for i, item in enumerate(old)}
        if key != '_delete_' and key not in old and 'type' not in old:
            raise InputError(
                f'the config has no {place}{key}{did_you_mean(key, old)}'
            )
        if isinstance(value, dict) and '_delete_' not in value:
            inherited = old.get(key)
            if isinstance(inherited, (dict, list, tuple)):
                check_settings(value, inherited, f'{place}{key}.')


def make_variant(plan: Config, settings: Any) -> Tuple[Config, Complexity]:
    """The config of a variant, checked, and the cost of its network."""
    if not isinstance(settings, dict):
        raise InputError(f'expected a dict of settings, got {settings!r}')
    check_settings(settings, plan._cfg_dict)
    cfg = copy.deepcopy(plan)
    # Merging takes the _delete_ out of what it merges.
    cfg.merge_from_dict(copy.deepcopy(settings))
    check_config(cfg, 'train')
    check_config(cfg, 'test')
    scope = cfg.get('default_scope', 'mmengine')
    loaders = (cfg.get(f'{x}_dataloader') for x in ('train', 'val', 'test'))
    with (
        DefaultScope.overwrite_default_scope(scope),
        DATASETS.switch_scope_and_registry(scope) as datasets,
    ):
        for dataset in (loader.dataset for loader in loaders if loader):
            if issubclass(datasets.get(dataset.type), BaseDataset):
                datasets.build(dict(dataset, lazy_init=True))
    network, images, kwargs = load_network(cfg)
    return cfg, count_complexity(network, images, **kwargs)


def make_runs(plan: Config, ablation: dict, work_dir: Path) -> List[Run]:
    """All runs, checked."""
    runs = []
    names = {}  # of the variants, by their folders
    variants = ablation['variants'].items()
    console = Console(stderr=True)  # stdout is the table's
    for variant, settings in track(variants, 'checking', console=console):
        name = re.sub(r'[^\w-]+', '-', str(variant)).strip('-').lower()
        if not name or name in names:
            raise InputError(
                f"the name of variant '{variant}' gives the folder '{name}'"
                + (f", as '{names[name]}' does" if name else '')
            )
        names[name] = variant
        try:
            cfg, cost = make_variant(plan, settings)
        except Exception as e:  # A network's arguments may fail in any way.
            raise InputError(f"variant '{variant}': {e}") from e
        for seed in ablation['seeds']:
            seeded = copy.deepcopy(cfg)
            seeded.randomness = dict(cfg.get('randomness', {}), seed=seed)
            folder = work_dir / name / f'seed_{seed}'
            config = folder.with_suffix('.py')
            runs.append(Run(variant, seed, seeded, cost, folder, config))
    return runs


def write_configs(runs: List[Run]) -> None:
    """Write the configs, unless a folder has another's results."""

    def settings(cfg: Config) -> dict:
        keys = (*inspect.signature(Runner).parameters, 'custom_imports')
        return {key: cfg.get(key) for key in keys}

    for run in runs:
        if run.config.exists():
            old = load_config(str(run.config))
            if settings(old) != settings(run.cfg):
                raise InputError(
                    f"'{run.config}' is of a run with other settings: choose "
                    'another --work-dir, or remove it and its folder'
                )
    for run in runs:
        write_atomic(run.config, run.cfg.pretty_text.encode())


def train_and_test(run: Run, title: str) -> dict:
    """Train and test in separate processes; the metrics."""
    loop = run.cfg.train_cfg
    number = loop.get('max_epochs') or loop.max_iters
    name = f'{"epoch" if "max_epochs" in loop else "iter"}_{number}.pth'
    checkpoint, metrics = run.folder / name, run.folder / 'metrics.json'
    tools, common = Path(__file__).parent, ('--work-dir', run.folder)
    train = (sys.executable, tools / 'train.py', run.config, *common)
    test = (sys.executable, tools / 'test.py', run.config, checkpoint, *common)
    run_step(f'Train {title}', checkpoint, *train, '--resume')
    run_step(f'Test {title}', metrics, *test, '--out', metrics)
    return json.loads(metrics.read_text())


def make_table(results: dict, metrics: dict) -> str:
    """Markdown: mean ± standard deviation over the seeds."""
    known = set.intersection(*map(set, results.values()))
    costs = {n: c for n, c in COSTS.items() if c[0] in known}
    rows = [['variant', *metrics, *costs, 'seeds']]
    for variant, result in results.items():
        row = [variant]
        for metric in metrics.values():
            found = [
                m[metric] for m in result['seeds'].values() if metric in m
            ]
            cell = f'{statistics.mean(found):#.3g}' if found else '-'
            if len(found) > 1:
                cell += f' ± {statistics.stdev(found):.2g}'
            row.append(cell)
        for key, unit, form in costs.values():
            row.append(f'{result[key] / unit:{form}}')
        rows.append([*row, str(len(result['seeds']))])
    return join_rows(rows)


def make_differences(results: dict, metrics: dict, baseline: str) -> str:
    """Markdown: mean differences to a variant and their intervals."""
    rows = [[f'minus {baseline}', *metrics, 'seeds']]
    for variant, result in results.items():
        if variant == baseline:
            continue
        row, counts = [variant], set()
        for metric in metrics.values():
            values = find_differences(result, results[baseline], metric)
            counts.add(len(values))
            cell = f'{statistics.mean(values):+.3f}' if values else '-'
            if len(values) > 1:
                low, high = find_interval(values)
                cell += f' ({low:+.3f} to {high:+.3f})'
            row.append(cell)
        rows.append([*row, str(max(counts))])
    return join_rows(rows)


def find_differences(new: dict, old: dict, metric: str) -> List[float]:
    """Those of a metric, for each seed with which both were tested."""
    pairs = [(m, old['seeds'].get(s, {})) for s, m in new['seeds'].items()]
    return [
        a[metric] - b[metric]
        for a, b in pairs
        if {metric} <= a.keys() & b.keys()
    ]


def find_interval(values: List[float]) -> Tuple[float, float]:
    """The 95 % confidence interval of the mean, by Student's t."""
    mean, number = statistics.mean(values), len(values)
    error = statistics.stdev(values) / math.sqrt(number)
    half = t.ppf(0.975, number - 1) * error
    return mean - half, mean + half


def make_tables(content: dict) -> str:
    """Markdown of what results.json holds."""
    results, metrics = content['variants'], content['metrics']
    tables = [make_table(results, metrics)]
    if content['baseline'] in results:
        tables.append(make_differences(results, metrics, content['baseline']))
    return '\n'.join(tables)


def join_rows(rows: List[List[str]]) -> str:
    """Markdown of a table whose first row is its head."""
    rows.insert(1, ['---'] * len(rows[0]))
    return ''.join(f'| {" | ".join(row)} |\n' for row in rows)


def main():
    args = parse_args()
    plan = load_config(args.plan)
    ablation = plan._cfg_dict.pop('ablation', None)
    check_ablation(ablation, plan.filename)
    work_dir = args.work_dir or Path('work_dirs', Path(plan.filename).stem)
    runs = make_runs(plan, ablation, work_dir)
    write_configs(runs)
    # Else a training would go on without this process, and a second start
    # would be a second one in the same folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    results: dict = {}
    content = dict(
        plan=Path(plan.filename).stem,
        metrics=ablation['metrics'],
        baseline=ablation.get('baseline'),
        variants=results,
    )
    for i, run in enumerate(runs, 1):
        title = f'{run.variant}, seed {run.seed} ({i} of {len(runs)})'
        metrics = train_and_test(run, title)
        result = results.setdefault(
            run.variant,
            dict(
                params=run.cost.params,
                macs=run.cost.macs,
                config=str(run.config.relative_to(work_dir)),
                seeds={},
            ),
        )
        result['seeds'][run.seed] = metrics
        text = json.dumps(content, indent=1)
        write_atomic(work_dir / 'results.json', text.encode())
        tables = make_tables(content)
        write_atomic(work_dir / 'table.md', tables.encode())
    print(tables, end='')


if __name__ == '__main__':
    run_tool(main)
