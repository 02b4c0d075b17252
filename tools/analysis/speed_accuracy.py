"""Accuracy of models against their speed, as a figure and a table.

The figure of the LOGO-CAP supplement, section 3, for any models. Each model is
tested like tools/test.py does, and then timed on images of its test set, one
at a time; the models take turns. The supplement does not say what the time of
an image holds. Here it is inference from the network's input in memory to the
poses in pixels of the image: normalisation, network, flip test where the
config has one, decoding, refinement, and NMS of the model (not of the
evaluator). A top-down model does this for all persons of the image, with the
boxes of its test set; the time to detect them does not count.
"""

import argparse
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import mmpose_ext  # isort: skip  before those that it mends
import torch
from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from mmpose_ext.analysis import describe_machine
from mmpose_ext.analysis.figure import (
    FORMATS,
    ModelPoint,
    plot_speed_accuracy,
    render,
)
from mmpose_ext.analysis.speed_accuracy import (
    EvaluatedModel,
    ImageTimer,
    check_model,
    find_accuracy,
    find_family,
    identify_model,
    load_and_evaluate,
    measure_fps,
    shorten_name,
)
from mmpose_ext.checks import (
    check_output_file,
    explain_unreadable_images,
    read_json,
)
from mmpose_ext.engine.arguments import positive_int, usable_device
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_atomic, write_json

# What the speed depends on.
_SETTINGS = (
    'device',
    'images',
    'rounds',
    'warmup',
    'preprocessing',
)


@dataclass
class Job:
    """A model that the user names, and what is known of it.

    Args:
        config (str): As the user names it.
        checkpoint (str): As the user names it.
        cfg (Config): The config.
        result (dict): Its entry in the JSON file.
        model (EvaluatedModel, optional): The model, if it was loaded.
            Defaults to ``None``.
    """

    config: str
    checkpoint: str
    cfg: Config
    result: Dict[str, Any]
    model: Optional[EvaluatedModel] = None


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--model',
        nargs=2,
        action='append',
        metavar=('CONFIG', 'CHECKPOINT'),
        help='config (path, base name, or PACKAGE::PATH) and weights of a '
        'model; once for each',
    )
    source.add_argument(
        '--from-json',
        metavar='FILE',
        help='draw what was measured before and is in this file',
    )
    parser.add_argument(
        '--out', required=True, help=f'the figure, {", ".join(FORMATS)}'
    )
    parser.add_argument(
        '--json',
        metavar='FILE',
        help='what was measured, for --from-json and --resume (default: '
        '--out with the suffix .json)',
    )
    parser.add_argument(
        '--label',
        action='append',
        help='name of a model in the figure; once for each model, or never '
        '(default: from the name of the config)',
    )
    parser.add_argument(
        '--family',
        action='append',
        help='models of the same family look alike and are joined by a line; '
        'once for each model, or never (default: the folder of the config '
        'that tells the method)',
    )
    parser.add_argument(
        '--metric',
        help='accuracy to draw (default: AP, or else PCKh, or else PCK)',
    )
    parser.add_argument(
        '--images',
        type=positive_int,
        default=50,
        help='images to time, spread over the test set (default: 50)',
    )
    parser.add_argument(
        '--rounds',
        type=positive_int,
        default=3,
        help='times that each image is timed; the median of the rounds counts '
        '(default: 3)',
    )
    parser.add_argument(
        '--warmup',
        type=positive_int,
        default=5,
        help='images of each model that do not count (default: 5)',
    )
    parser.add_argument(
        '--preprocessing',
        action='store_true',
        help='let the time include reading the image and the transforms of '
        'the test pipeline',
    )
    parser.add_argument('--device', type=usable_device, default='cpu')
    parser.add_argument(
        '--threads',
        type=positive_int,
        help='CPU threads (default: as torch does)',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='take from --json what was measured already: the accuracy of '
        'models that have not changed, and their speed if settings and '
        'machine are the same',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing files'
    )
    return parser.parse_args()


def check_files(args: argparse.Namespace) -> Path:
    """Check the outputs; return the JSON file."""
    out = Path(args.out)
    if out.suffix not in FORMATS:
        raise InputError(
            f"--out '{out}' must end in {', '.join(FORMATS[:-1])} or "
            f'{FORMATS[-1]}'
        )
    check_output_file(args.out, args.overwrite)
    if args.from_json:
        for option in ('json', 'resume'):
            if getattr(args, option):
                raise InputError(
                    f'--{option} is for measuring; leave it out with '
                    '--from-json'
                )
        return Path(args.from_json)
    path = Path(args.json or out.with_suffix('.json'))
    if path.suffix != '.json':
        raise InputError(f"--json '{path}' must end in .json")
    check_output_file(str(path), args.overwrite or args.resume)
    return path


def check_number(args: argparse.Namespace, number: int) -> None:
    """Check that names are given for all models or none."""
    for option in ('label', 'family'):
        given = getattr(args, option)
        if given and len(given) != number:
            raise InputError(
                f'expected as many --{option} as models, {number}, got '
                f'{len(given)}'
            )


def plan_jobs(args: argparse.Namespace) -> List[Job]:
    """Load and check the configs of all models."""
    jobs: List[Job] = []
    for config, checkpoint in args.model:
        cfg = load_config(config)
        try:
            check_model(cfg, checkpoint)
        except InputError as e:
            raise InputError(f'{config}: {e}') from e
        digest = identify_model(cfg, checkpoint)
        twin = [job for job in jobs if job.result['sha256'] == digest]
        if twin:
            raise InputError(
                f'{config} {checkpoint} is the same model as '
                f'{twin[0].config} {twin[0].checkpoint}'
            )
        result = dict(config=config, checkpoint=checkpoint, sha256=digest)
        jobs.append(Job(config, checkpoint, cfg, result))
    names = args.label or make_labels(jobs)
    families = args.family or [find_family(job.cfg.filename) for job in jobs]
    for job, label, family in zip(jobs, names, families):
        job.result.update(label=label, family=family)
    return jobs


def make_labels(jobs: List[Job]) -> List[str]:
    """Short names of the configs; where two are the same, of weights too."""
    labels = [shorten_name(job.cfg.filename) for job in jobs]
    weights = [Path(job.checkpoint) for job in jobs]
    return [
        f'{label} ({path.parent.name}/{path.stem})'
        if labels.count(label) > 1
        else label
        for label, path in zip(labels, weights)
    ]


def read_results(path: Path) -> dict:
    """Read what was measured before."""
    content = read_json(str(path), 'results')
    try:
        for model in content['models']:
            model['label'], model['family'], model['sha256']
            model['metrics'].items()
        content['settings']['preprocessing']
        for key in ('cpu', 'threads', 'torch'):
            content['machine'][key]
    except (TypeError, KeyError, AttributeError) as e:
        raise InputError(
            f"'{path}' is not a file of this tool: {type(e).__name__}: {e}"
        ) from e
    return content


def resume(jobs: List[Job], path: Path, content: dict) -> None:
    """Take over what was measured before."""
    if not path.exists():
        return
    before = read_results(path)
    models = {model['sha256']: model for model in before['models']}
    lost = set(models) - {job.result['sha256'] for job in jobs}
    if lost:
        first = models[min(lost)]
        raise InputError(
            f"'{path}' has results of {first.get('config')} "
            f'{first.get("checkpoint")}, which would be lost: name it with '
            '--model too, or choose another --json'
        )
    same = all(before[k] == content[k] for k in ('settings', 'machine'))
    for job in jobs:
        old = models.get(job.result['sha256'], {})
        keys = ('metrics', 'top_down', 'test_set', *(('fps',) if same else ()))
        job.result.update({k: old[k] for k in keys if k in old})


def evaluate(job: Job, args: argparse.Namespace) -> None:
    """Load a model, and test it unless that was done before."""
    metrics = job.result.get('metrics')
    # stdout is the table's.
    with redirect_stdout(sys.stderr):
        job.model = load_and_evaluate(
            job.cfg, job.checkpoint, args.device, metrics
        )
    job.result.update(
        metrics=job.model.metrics,
        top_down=job.model.top_down,
        test_set=job.model.test_set,
    )


def measure(args: argparse.Namespace, path: Path) -> dict:
    """Measure what was not measured before, and keep it in a file."""
    jobs = plan_jobs(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    content = dict(
        settings={key: getattr(args, key) for key in _SETTINGS},
        machine=describe_machine(args.device),
        mmpose_ext=mmpose_ext.__version__,
    )
    if args.resume:
        resume(jobs, path, content)
    left = [job for job in jobs if not job.result.get('fps')]
    for job in left:
        evaluate(job, args)
        done = [j.result for j in jobs if 'metrics' in j.result]
        write_json(path, dict(content, models=done))
        find_points(done, args.metric)

    with explain_unreadable_images():
        timers = [
            ImageTimer(job.model, args.images, args.preprocessing, args.device)
            for job in left
        ]
        # Drawn between the rounds, not during them.
        console = Console(stderr=True)
        with Progress(console=console, auto_refresh=False) as progress:
            task = progress.add_task('timing', total=args.rounds)

            def track(rounds):
                for number in rounds:
                    yield number
                    progress.update(task, advance=1, refresh=True)

            rates = measure_fps(timers, args.rounds, args.warmup, track)
    for job, fps in zip(left, rates):
        job.result['fps'] = fps
    content['models'] = [job.result for job in jobs]
    write_json(path, content)
    return content


def find_points(
    models: List[dict], metric: Optional[str]
) -> Tuple[List[ModelPoint], str]:
    """The points of the figure, and the name of their accuracy."""
    points, first = [], ''
    for model in models:
        try:
            score, name = find_accuracy(model['metrics'], metric)
        except InputError as e:
            raise InputError(f'{model["label"]}: {e}') from e
        first = first or name
        if name != first:
            raise InputError(
                f'{models[0]["label"]} has the accuracy {first}, but '
                f'{model["label"]} has {name}: they cannot share a figure'
            )
        fps = model.get('fps') or ()
        points.append(ModelPoint(model['label'], model['family'], fps, score))
    return points, first


def describe(content: dict) -> Tuple[str, str, str]:
    """Title, subtitle and name of the axis of speed."""
    models, settings = content['models'], content['settings']
    machine = content['machine']
    sets = dict.fromkeys(m['test_set'] for m in models if m.get('test_set'))
    title = 'Accuracy and speed' + (f' on {", ".join(sets)}' if sets else '')
    threads = machine['threads']
    where = machine.get('gpu') or (
        f'{machine["cpu"]}, {threads} thread{"s" if threads > 1 else ""}'
    )
    lines = [f'{where}, torch {machine["torch"]}']
    if any(model.get('top_down') for model in models):
        lines.append(
            'top-down models: all persons of an image, with boxes given'
        )
    with_ = 'with' if settings['preprocessing'] else 'without'
    speed = f'FPS (images per second, one at a time, {with_} pre-processing)'
    return title, '\n'.join(lines), speed


def show(points: List[ModelPoint], name: str) -> None:
    """Print the table."""
    table = Table()
    table.add_column('model', overflow='fold')
    table.add_column('family', overflow='fold')
    for column in (name, 'FPS', 'rounds'):
        table.add_column(column, justify='right')
    for point in points:
        table.add_row(
            point.label,
            point.family,
            f'{point.score:.2f}',
            f'{point.speed:.2f}',
            f'{min(point.fps):.2f} to {max(point.fps):.2f}',
        )
    Console().print(table)


def main():
    args = parse_args()
    path = check_files(args)
    if args.from_json:
        content = read_results(path)
        check_number(args, len(content['models']))
        for option in ('label', 'family'):
            names = getattr(args, option) or ()
            for model, name in zip(content['models'], names):
                model[option] = name
    else:
        check_number(args, len(args.model))
        content = measure(args, path)
    points, name = find_points(content['models'], args.metric)
    unmeasured = [point.label for point in points if not point.fps]
    if unmeasured or not points:
        raise InputError(
            f"'{path}' has no speed of {', '.join(unmeasured) or 'any model'}:"
            ' it was interrupted; measure again with --resume'
        )
    title, subtitle, speed = describe(content)
    figure = plot_speed_accuracy(points, title, subtitle, speed, name)
    write_atomic(args.out, render(figure, Path(args.out).suffix))
    show(points, name)


if __name__ == '__main__':
    run_tool(main)
