"""Which parts of an image a model's heatmaps depend on, as pictures."""

import argparse
import re
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import List, Tuple

import mmpose_ext  # noqa: F401  # isort: skip  before those that it repairs
import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmpose.apis import init_model
from mmpose.registry import DATASETS
from mmpose.structures import PoseDataSample
from rich.console import Console
from rich.progress import Progress
from torch import nn

from mmpose_ext.analysis.receptive_field import (
    check_threshold,
    check_windows,
    heatmap_function,
    receptive_field,
)
from mmpose_ext.checks import (
    check_checkpoint_file,
    check_config,
    check_output_file,
    check_type_names,
    explain_errors,
)
from mmpose_ext.engine.arguments import positive_int, usable_device
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError, did_you_mean, run_tool
from mmpose_ext.files import write_jpeg, write_json
from mmpose_ext.inference.files import read_image
from mmpose_ext.inference.poses import load_pose_model

# BGR, as in the paper's figures: left, right, and keypoints of neither side
# (green there, as is the field).
_COLOURS = {'left': (0, 0, 255), 'right': (255, 0, 0), '': (0, 255, 255)}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a top-down heatmap model')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='its weights (default: random ones, with a warning)',
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--image', help='image file')
    source.add_argument(
        '--index',
        type=int,
        help="number of a sample of the config's test dataset, whose ground "
        'truth is drawn as well',
    )
    parser.add_argument(
        '--bbox',
        nargs=4,
        type=float,
        metavar=('X', 'Y', 'W', 'H'),
        help='person in --image, in pixels (default: all of it)',
    )
    parser.add_argument(
        '--keypoints',
        nargs='+',
        default=['all'],
        help='names such as right_hip, or all (default)',
    )
    parser.add_argument(
        '--window',
        type=positive_int,
        default=11,
        help='side of the window of random values in pixels (default: 11)',
    )
    parser.add_argument(
        '--stride',
        type=positive_int,
        default=4,
        help='pixels from one window to the next (default: 4)',
    )
    parser.add_argument(
        '--threshold',
        type=float,
        default=0.1,
        help="part of a keypoint's largest difference above which a place "
        'counts as in its field (default: 0.1)',
    )
    parser.add_argument(
        '--out-dir',
        required=True,
        help='folder for KEYPOINT.jpg and receptive_field.json',
    )
    parser.add_argument(
        '--device', type=usable_device, default='cpu', help='default: cpu'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing results'
    )
    return parser.parse_args()


def check_arguments(args: argparse.Namespace, cfg: Config) -> None:
    """Check what can be checked without the model."""
    check_threshold(args.threshold)
    if args.checkpoint:
        check_checkpoint_file(args.checkpoint)
    if args.bbox and args.image is None:
        raise InputError('--bbox is for --image; a sample has its own')
    if args.bbox and not (
        np.isfinite(args.bbox).all() and min(args.bbox[2:]) > 0
    ):
        raise InputError(
            f'expected a finite --bbox X Y W H with W and H > 0, got '
            f'{args.bbox}'
        )
    if 'model' not in cfg or 'test_dataloader' not in cfg:
        raise InputError(
            f"{args.config}: expected a config with a 'model' and a "
            "'test_dataloader'"
        )
    if cfg.get('default_scope') == 'mmdet':
        raise InputError(
            f'{args.config}: expected a config of a top-down model of MMPose, '
            'got one of MMDetection'
        )
    if args.index is None:
        check_type_names(cfg, ['model', 'test_dataloader'])
    else:
        check_config(cfg, 'test')


def load_model(args: argparse.Namespace, cfg: Config) -> nn.Module:
    # The field is that of the image, not of its mirror image too.
    cfg.merge_from_dict({'model.test_cfg.flip_test': False})
    if args.checkpoint:
        return load_pose_model(cfg, args.checkpoint, args.device)
    print('warning: no checkpoint, the weights are random', file=sys.stderr)
    torch.manual_seed(0)
    with explain_errors(cfg):
        return init_model(cfg, device=args.device)


def choose_keypoints(names: List[str], wanted: List[str]) -> List[int]:
    """Indices of the keypoints that the user wants."""
    if wanted == ['all']:
        return list(range(len(names)))
    for name in wanted:
        if name not in names:
            raise InputError(
                f"there is no keypoint '{name}'"
                + (did_you_mean(name, names) or f', but {", ".join(names)}')
            )
    return [names.index(name) for name in dict.fromkeys(wanted)]


def load_sample(args: argparse.Namespace, model: nn.Module) -> dict:
    """The input and the data sample, as the test pipeline makes them."""
    dataset = model.cfg.test_dataloader.dataset
    if args.index is None:
        image = read_image(args.image)
        height, width = image.shape[:2]
        x, y, w, h = args.bbox or (0, 0, width, height)
        return Compose(dataset.pipeline)(
            dict(
                img=image,
                bbox=np.array([[x, y, x + w, y + h]], dtype=np.float32),
                bbox_score=np.ones(1, dtype=np.float32),
                **model.dataset_meta,
            )
        )
    with redirect_stdout(sys.stderr):  # COCO's tools print
        dataset = DATASETS.build(dataset)
    if not 0 <= args.index < len(dataset):
        raise InputError(
            f'expected an --index from 0 to {len(dataset) - 1}, got '
            f'{args.index}'
        )
    return dataset[args.index]


def find_points(model: nn.Module, data: dict) -> Tuple[np.ndarray, np.ndarray]:
    """Predicted and true keypoints, (K, 2), px of the input, or NaN."""
    with torch.no_grad():
        (sample,) = model.test_step(pseudo_collate([data]))
    predicted = to_input(sample.pred_instances.keypoints[0], sample)
    truth = sample.gt_instances
    if 'keypoints' not in truth:
        return predicted, np.full_like(predicted, np.nan)
    visible = truth.keypoints_visible.reshape(len(predicted), -1)[:, :1] > 0
    true = to_input(truth.keypoints[0], sample)
    return predicted, np.where(visible, true, np.nan)


def to_input(points: np.ndarray, sample: PoseDataSample) -> np.ndarray:
    """From pixels of the image to pixels of the network input."""
    meta = sample.metainfo
    corner = meta['input_center'] - meta['input_scale'] / 2
    return (points[:, :2] - corner) / meta['input_scale'] * meta['input_size']


def draw(
    image: np.ndarray,
    field: np.ndarray,
    name: str,
    predicted: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    """A picture as in figures 7 and 8 of the paper.

    The image (h, w, 3) turns grey and, where its parts matter, green: the
    saturation is the relative difference (h, w). The name tells the colour of
    the predicted point, px; the true one may be NaN.
    """
    factor = max(1, round(512 / max(image.shape[:2])))
    size = (image.shape[1] * factor, image.shape[0] * factor)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # Not too dark for a colour to be seen.
    value = 64 + 0.75 * cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC)
    saturation = 255 * cv2.resize(field, size, interpolation=cv2.INTER_NEAREST)
    hsv = np.stack([np.full_like(value, 60), saturation, value], axis=-1)
    picture = cv2.cvtColor(hsv.round().astype(np.uint8), cv2.COLOR_HSV2BGR)

    side = re.match(r'(l|left|r|right)(?=[_ -])|', name.lower())[0]
    side = {'l': 'left', 'r': 'right'}.get(side, side)
    radius = max(3, max(size) // 100)
    for point, colour, thickness in (
        (truth, (255, 255, 255), 2),
        (predicted, _COLOURS[side], -1),
    ):
        if not np.isfinite(point).all():
            continue
        # Pixel centres are at whole numbers.
        x, y = np.rint((point + 0.5) * factor - 0.5).astype(int).tolist()
        big = 2 * radius if thickness > 0 else radius
        cv2.circle(picture, (x, y), big, colour, thickness, cv2.LINE_AA)
    return picture


def make_table(names: List[str], area: list, largest: list) -> str:
    """Markdown of the area of each keypoint's field."""
    lines = [
        '| keypoint | area (% of the input) | largest difference |',
        '| --- | --- | --- |',
        *(
            f'| {name} | {a:.2f} | {d:.4g} |'
            for name, a, d in zip(names, area, largest)
        ),
        f'| mean | {np.mean(area):.2f} | |',
    ]
    return '\n'.join(lines) + '\n'


def main():
    args = parse_args()
    cfg = load_config(args.config)
    check_arguments(args, cfg)
    model = load_model(args, cfg)
    names = list(model.dataset_meta['keypoint_name2id'])
    chosen = choose_keypoints(names, args.keypoints)
    names = [names[k] for k in chosen]
    out = Path(args.out_dir)
    stems = [re.sub(r'[^\w-]', '_', name) for name in names]
    pictures = [out / f'{stem}.jpg' for stem in stems]
    report = out / 'receptive_field.json'
    for path in (*pictures, report):
        check_output_file(str(path), args.overwrite)

    with explain_errors(cfg):
        data = load_sample(args, model)
    image = data['inputs']
    check_windows(args.window, args.stride, tuple(image.shape[:0:-1]))
    points = [found[chosen] for found in find_points(model, data)]
    heatmaps_of = heatmap_function(
        model, len(model.dataset_meta['flip_indices'])
    )
    # stdout is the table's.
    with Progress(console=Console(stderr=True)) as progress:
        track = partial(progress.track, description='covering')
        field = receptive_field(
            heatmaps_of, image, args.window, args.stride, track=track
        )
    area = field.area(args.threshold)[chosen].tolist()
    largest = field.differences[chosen].amax(dim=(1, 2)).tolist()

    image = image.permute(1, 2, 0).numpy()
    relative = field.relative()[chosen].numpy()
    for path, *parts in zip(pictures, relative, names, *points):
        write_jpeg(path, draw(image, *parts))
    content = vars(args).copy()
    for key, found in zip(('predicted', 'ground_truth'), points):
        known = [p.tolist() if np.isfinite(p).all() else None for p in found]
        content[key] = dict(zip(names, known))
    content.update(
        input_size=[image.shape[1], image.shape[0]],
        area=dict(zip(names, area)),
        mean_area=float(np.mean(area)),
    )
    write_json(report, content)
    print(make_table(names, area, largest), end='')


if __name__ == '__main__':
    run_tool(main)
