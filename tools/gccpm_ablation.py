"""Context modules and masking augmentations of GCCPM on the toy persons.

Trains the toy network with each context module and each masking augmentation
(same seed, same schedule), tests it, measures its empirical receptive field,
and prints a table. What is done is not done again, so an interrupted run goes
on where it stopped.
"""

import argparse
import itertools
import json
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

import mmpose_ext  # noqa: F401  (before torchvision's users)
from mmpose_ext.checks import check_file
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.config import load_config
from mmpose_ext.engine.variants import train_and_test, write_variant
from mmpose_ext.errors import run_tool
from mmpose_ext.files import write_atomic, write_json

TOY = (
    Path(__file__)
    .parents[1]
    .joinpath(
        'configs/gccpm/'
        'gccpm-2stage_ushape_mobilenet-v1-w0.5_1xb8-12e_toy-lip-128x128.py'
    )
)
# Widths are a quarter of the paper's, as those of the toy network.
CONTEXTS = {
    'none': None,
    'pyramid pooling': dict(type='PyramidPoolingContext', mid_channels=8),
    'ASPP': dict(type='ASPPContext', mid_channels=256, neck_channels=32),
    'U-shaped': dict(type='UShapedContext'),
}
MASKINGS = {
    'none': [],
    'body': [dict(type='BodyMasking')],
    'keypoint': [dict(type='KeypointMasking')],
}
CONFIG = """_base_ = [{base!r}]

train_cfg = dict(max_epochs={epochs}, val_interval={epochs})
param_scheduler = _base_.param_scheduler
param_scheduler[0].T_max = {epochs}
model = dict(head=dict(context={context}))
train_pipeline = _base_.train_pipeline
train_pipeline[1:2] = {masking}
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
"""


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--epochs',
        type=positive_int,
        default=6,
        help='of each training (default: %(default)s)',
    )
    parser.add_argument(
        '--images',
        type=positive_int,
        default=8,
        help='validation images for the receptive field (default: '
        '%(default)s)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/gccpm_ablation'),
        help='where results go (default: %(default)s)',
    )
    return parser.parse_args()


def make_config(folder: Path, context: str, masking: str, epochs: int) -> Path:
    """Write the config of a variant."""
    module = CONTEXTS[context]
    text = CONFIG.format(
        base=str(TOY),
        epochs=epochs,
        context=module and dict(module, _delete_=True),
        masking=MASKINGS[masking],
    )
    return write_variant(folder, text)


def measure_area(config: Path, checkpoint: Path, num_images: int) -> float:
    """Mean area of the receptive fields, percent of the input."""
    from mmpose.registry import DATASETS

    from mmpose_ext.analysis import receptive_field as rf
    from mmpose_ext.inference.poses import load_pose_model

    cfg = load_config(str(config))
    model = load_pose_model(cfg, str(checkpoint), 'cpu')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    heatmaps_of = rf.heatmap_function(
        model, len(model.dataset_meta['flip_indices'])
    )
    with Progress(console=Console(stderr=True)) as bar:
        areas = [
            rf.receptive_field(heatmaps_of, dataset[i]['inputs'], stride=8)
            .area()
            .mean()
            .item()
            for i in bar.track(
                range(min(num_images, len(dataset))), description='fields'
            )
        ]
    return sum(areas) / len(areas)


def run_variant(args, context: str, masking: str) -> dict:
    """Train, test and measure one variant."""
    name = f'{context}_{masking}'.replace(' ', '-').lower()
    folder = args.work_dir / name
    config = make_config(folder, context, masking, args.epochs)
    metrics = train_and_test(
        config, args.epochs, f'context {context}, masking {masking}'
    )
    area = folder / f'area_{args.images}.json'
    if not area.exists():
        checkpoint = folder / f'epoch_{args.epochs}.pth'
        write_json(area, measure_area(config, checkpoint, args.images))
    return dict(metrics, area=json.loads(area.read_text()))


def make_table(results: dict) -> str:
    """Markdown of {(context, masking): metrics}."""
    lines = [
        '| context | masking | Head | Hip | PCKh | receptive field (%) |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    for (context, masking), r in results.items():
        lines.append(
            f'| {context} | {masking} | {r["lip/Head"]:.1f} '
            f'| {r["lip/Hip"]:.1f} | {r["lip/PCKh"]:.1f} | {r["area"]:.1f} |'
        )
    return '\n'.join(lines) + '\n'


def main():
    args = parse_args()
    dataset = load_config(str(TOY)).test_dataloader.dataset
    check_file(
        dataset.data_root + dataset.ann_file,
        'annotation file (tools/make_toy_persons.py makes it)',
    )
    results = {
        variant: run_variant(args, *variant)
        for variant in itertools.product(CONTEXTS, MASKINGS)
    }
    table = make_table(results)
    write_atomic(args.work_dir / 'ablation.md', table.encode())
    print(table, end='')


if __name__ == '__main__':
    run_tool(main)
