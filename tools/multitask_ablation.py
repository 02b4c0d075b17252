"""Refinement and tasks of the multi-task R-CNN on the toy persons.

Trains the toy network with no refinement, with refinement in the backbone and
with refinement in backbone and keypoint head, each with masks and without
(same seed, same schedule), tests it, and prints a table. What is done is not
done again, so an interrupted run goes on where it stopped.
"""

import argparse
import itertools
from pathlib import Path

import mmpose_ext  # noqa: F401  (before torchvision's users)
from mmpose_ext.checks import check_file
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.engine.config import load_config
from mmpose_ext.engine.variants import train_and_test, write_variant
from mmpose_ext.errors import run_tool
from mmpose_ext.files import write_atomic

TOY = (
    Path(__file__)
    .parents[1]
    .joinpath(
        'configs/multitask_rcnn/multitask-rcnn-rbh_r50-w16-dcn_'
        'fpn-c3c5_1xb4-10e_toy-persons-256x192.py'
    )
)
# What the toy network, which has all refinement, loses.
PLAIN_HEAD = dict(conv_cfg=None, heatmap_refine=False)
REFINEMENTS = {
    'none': dict(
        backbone=dict(dcn=None, stage_with_dcn=(False,) * 4),
        keypoint_head=PLAIN_HEAD,
    ),
    'backbone': dict(backbone=dict(), keypoint_head=PLAIN_HEAD),
    'backbone + head': dict(backbone=dict(), keypoint_head=dict()),
}
TASKS = ('keypoints', 'keypoints + masks')
CONFIG = """_base_ = [{base!r}]

train_cfg = dict(max_epochs={epochs}, val_interval={epochs})
param_scheduler = _base_.param_scheduler
param_scheduler[1].T_max = {epochs}
model = dict(
    backbone=dict({backbone}),
    roi_head=dict(keypoint_head=dict({keypoint_head})),
)
"""
# As the configs of boxes and keypoints alone.
WITHOUT_MASKS = """
model.update(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
)
model['roi_head'].update(mask_roi_extractor=None, mask_head=None)
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='LoadMultiTaskAnnotations', with_bbox=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = _base_.val_evaluator
val_evaluator[0].metric = 'bbox'
test_evaluator = val_evaluator
"""
COLUMNS = {
    'box AP': 'coco/bbox_mAP',
    'mask AP': 'coco/segm_mAP',
    'keypoint AP': 'coco/keypoints_mAP',
    'AP@.5': 'coco/keypoints_mAP_50',
}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--epochs',
        type=positive_int,
        default=8,
        help='of each training (default: %(default)s)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/multitask_ablation'),
        help='where results go (default: %(default)s)',
    )
    return parser.parse_args()


def make_config(folder: Path, refinement: str, task: str, epochs: int) -> Path:
    """Write the config of a variant."""

    def arguments(settings: dict) -> str:
        return ', '.join(f'{key}={value!r}' for key, value in settings.items())

    parts = REFINEMENTS[refinement]
    text = CONFIG.format(
        base=str(TOY),
        epochs=epochs,
        backbone=arguments(parts['backbone']),
        keypoint_head=arguments(parts['keypoint_head']),
    )
    if 'masks' not in task:
        text += WITHOUT_MASKS
    return write_variant(folder, text)


def run_variant(args, refinement: str, task: str) -> dict:
    """Train and test one variant."""
    name = f'{refinement}_{task}'.replace(' + ', '-')
    config = make_config(args.work_dir / name, refinement, task, args.epochs)
    title = f'refinement {refinement}, {task}'
    return train_and_test(config, args.epochs, title)


def make_table(results: dict) -> str:
    """Markdown of {(refinement, task): metrics}, in percent."""
    lines = [
        f'| refinement | tasks | {" | ".join(COLUMNS)} |',
        f'| --- | --- |{" --- |" * len(COLUMNS)}',
    ]
    for (refinement, task), metrics in results.items():
        values = [
            f'{100 * metrics[key]:.1f}' if key in metrics else '-'
            for key in COLUMNS.values()
        ]
        lines.append(f'| {refinement} | {task} | {" | ".join(values)} |')
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
        for variant in itertools.product(REFINEMENTS, TASKS)
    }
    table = make_table(results)
    write_atomic(args.work_dir / 'ablation.md', table.encode())
    print(table, end='')


if __name__ == '__main__':
    run_tool(main)
