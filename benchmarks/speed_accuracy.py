"""AP against frames per second of any models, as a figure and a table.

Each model, which may be an exported file, is tested as by tools/test.py. All
are timed alternately, in separate processes, from images in memory to poses. A
top-down model gets all persons of an image, with the boxes of its test set.
Accuracies are kept beside --out, and not measured again.
"""

import argparse
import hashlib
import io
import statistics
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  before torchvision's users
import numpy as np
from matplotlib.figure import Figure
from mmengine.dataset import pseudo_collate
from rich.console import Console
from rich.table import Table

from mmpose_ext.checks import check_output_file, read_json
from mmpose_ext.deploy import accuracy
from mmpose_ext.engine import arguments
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_atomic, write_json

from .measure import Call, measure


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add, number = parser.add_argument, arguments.positive_int
    model = dict(nargs=2, metavar=('CONFIG', 'CHECKPOINT'), action='append')
    add('--model', required=True, help='once for each', **model)
    add('--out', type=Path, required=True, help='the figure, .png .svg .pdf')
    add('--metric', help='default: AP, or else PCKh, PCK, or PCK@0.1')
    add('--images', type=number, default=50, help='(default: 50)')
    add('--rounds', type=number, default=3, help='(default: 3)')
    add('--device', type=arguments.usable_device, default='cpu')
    add('--threads', type=number, help='CPU threads of each')
    add('--overwrite', action='store_true', help='replace an existing figure')
    return parser.parse_args()


def load_images(spec: str, number: int, device: str = 'cpu') -> Call:
    """The prediction of ``number`` images, spread over the test set."""
    config, checkpoint = spec.split('\n')
    cfg = load_config(config)
    accuracy.check_model(cfg, checkpoint)
    model = accuracy.load_and_evaluate(cfg, checkpoint, device, metrics={})
    samples: dict = {}  # of each image
    for i in range(len(model.dataset)):
        path = model.dataset.get_data_info(i)['img_path']
        samples.setdefault(path, []).append(i)
    places = np.linspace(0, len(samples) - 1, min(number, len(samples)))
    batches, size = [], model.batch_size
    for path in np.array(sorted(samples))[places.round().astype(int)]:
        persons = [model.dataset[i] for i in samples[path]]
        for start in range(0, len(persons), size):
            batches.append(pseudo_collate(persons[start : start + size]))
    return Call(lambda: list(map(model.predict, batches)), len(places))


def evaluate(config: str, checkpoint: str, device: str, path: Path) -> dict:
    """The metrics of a model, of the file or else by a test."""
    known = read_json(str(path), 'accuracies') if path.exists() else {}
    cfg = load_config(config)
    accuracy.check_model(cfg, checkpoint)
    digest = hashlib.sha256(f'{cfg.pretty_text}{checkpoint}'.encode())
    for file in (Path(checkpoint), Path(checkpoint).with_suffix('.bin')):
        digest.update(file.read_bytes() if file.is_file() else b'')
    key = digest.hexdigest()
    if not isinstance(known, dict):
        raise InputError(f"'{path}' is not a file of this tool")
    if not isinstance(known.get(key), dict):
        model = accuracy.load_and_evaluate(cfg, checkpoint, device)
        known[key] = model.metrics
        write_json(path, known)
    return known[key]


def main() -> None:
    args = parse_args()
    check_output_file(str(args.out), args.overwrite)
    if args.out.suffix not in ('.png', '.svg', '.pdf'):
        raise InputError(f'expected .png, .svg or .pdf, got --out {args.out}')
    for config, checkpoint in args.model:
        accuracy.check_model(load_config(config), checkpoint)
    kept = args.out.with_suffix('.json')
    metrics = [evaluate(*model, args.device, kept) for model in args.model]
    scores = [accuracy.find_accuracy(m, args.metric) for m in metrics]
    if len({name for _, name in scores}) > 1:
        raise InputError(f'{scores} cannot share a figure: choose a --metric')
    specs = ['\n'.join(model) for model in args.model]
    options = dict(number=args.images, device=args.device)
    options['threads'] = args.threads
    sides = measure(load_images, specs, True, args.rounds, 1e-3, **options)

    table = Table('model', scores[0][1], 'FPS', 'slowest', 'fastest')
    figure = Figure(figsize=(8, 5), dpi=150, layout='constrained')
    axes = figure.subplots()
    for (config, weights), (score, _), side in zip(args.model, scores, sides):
        label = f'{Path(config).stem} {Path(weights).name}'
        fps = [side['images'] / seconds for seconds in side['seconds']]
        low, middle, high = min(fps), statistics.median(fps), max(fps)
        error = [[middle - low], [high - middle]]
        axes.errorbar(middle, score, xerr=error, fmt='o', label=label)
        table.add_row(label, *map('{:.2f}'.format, (score, middle, low, high)))
    axes.set(xlabel='FPS (one image at a time)', ylabel=scores[0][1])
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    figure.legend(loc='outside lower center', frameon=False)
    stream = io.BytesIO()
    figure.savefig(stream, format=args.out.suffix[1:])
    write_atomic(args.out, stream.getvalue())
    Console().print(table)


if __name__ == '__main__':
    run_tool(main)
