"""The main job from end to end, on data that it makes itself.

Generates the toy persons, trains the toy detector and a small RAM + GPR pose
model through mim, detects the persons, evaluates the poses with ground-truth
and with detector boxes, draws them, and prints a table. A step whose result
is there is not run again, so an interrupted demo continues where it stopped.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from rich.table import Table

from mmpose_ext.engine.steps import console, run_step

DETECTOR = 'rtmdet_r18-w16_1xb8-10e_toy-persons-192x144.py'
POSE = 'ram-gpr_hrnet-w16_1xb8-15e_toy-persons-128x96.py'
DATA = Path('data/toy_persons')
# The first nine images of the validation set.
IMAGES = DATA / 'val/00000000000?.jpg'
LAST_IMAGE = '000000000009.jpg'
VAL = DATA / 'annotations/person_keypoints_val.json'


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/toy_demo'),
        help='where results go (default: %(default)s)',
    )
    return parser.parse_args()


def mim(*args) -> list:
    """A command of OpenMIM, in this Python."""
    return [sys.executable, '-m', 'mim', *args]


def find(config: str) -> Path:
    """The path of one of the project's configs."""
    (path,) = Path('configs').glob(f'*/{config}')
    return path


def train(title: str, config: str, work_dir: Path) -> Path:
    """Train a config, going on with an interrupted run; its checkpoint."""
    from mmengine.config import Config

    cfg = Config.fromfile(find(config), import_custom_modules=False)
    checkpoint = work_dir / f'epoch_{cfg.train_cfg.max_epochs}.pth'
    command = mim('train', 'mmpose_ext', config, '--gpus', 0)
    run_step(title, checkpoint, *command, '--work-dir', work_dir, '--resume')
    return checkpoint


def test(title: str, checkpoint: Path, metrics: Path, *options) -> float:
    """AP of the pose model on the validation images."""
    command = mim('test', 'mmpose_ext', POSE, '--checkpoint', checkpoint)
    folder = ('--work-dir', metrics.parent, '--out', metrics)
    run_step(title, metrics, *command, '--gpus', 0, *folder, *options)
    return json.loads(metrics.read_text())['coco/AP']


def main():
    work_dir = parse_args().work_dir
    start = time.perf_counter()

    run_step(
        'Make the toy persons',
        DATA / 'contact_sheet.png',
        *mim('run', 'mmpose_ext', 'make_toy_persons', DATA),
    )
    detector = train('Train the detector', DETECTOR, work_dir / 'detector')
    pose = train('Train the pose model', POSE, work_dir / 'pose')

    boxes = work_dir / 'val_boxes.json'
    detect = mim('run', 'mmpose_ext', 'detect_persons')
    images = ('--ann-file', VAL, '--img-dir', DATA / 'val')
    run_step(
        'Detect the persons',
        boxes,
        *(*detect, find(DETECTOR), detector, *images, '--out', boxes),
    )

    title = 'Evaluate the poses'
    with_truth = test(
        f'{title} in ground-truth boxes', pose, work_dir / 'truth/ap.json'
    )
    with_detector = test(
        f'{title} in detector boxes',
        pose,
        work_dir / 'detected/ap.json',
        '--cfg-options',
        f'test_dataloader.dataset.bbox_file={boxes}',
    )

    pictures = work_dir / 'pictures'
    overview = work_dir / 'overview.jpg'
    draw = (sys.executable, 'demo/image_demo.py', IMAGES, find(POSE), pose)
    detector_args = ('--det-config', find(DETECTOR), '--det-checkpoint')
    run_step(
        'Draw the poses',
        pictures / 'visualizations' / LAST_IMAGE,
        *(*draw, *detector_args, detector, '--score-thr', 0.4),
        *('--out-dir', pictures, '--resume'),
    )
    write_overview(pictures / 'visualizations', overview)

    report(
        {
            'person AP@.5 of the detector': (detector_ap(boxes), 0.80),
            'pose AP in ground-truth boxes': (with_truth, 0.50),
            'pose AP in detector boxes': (with_detector, 0.45),
        }
    )
    console.print(
        f'pictures: {overview}, {pictures / "visualizations"}, '
        f'{DATA / "contact_sheet.png"}\n'
        f'the demo took {(time.perf_counter() - start) / 60:.1f} minutes'
    )


def detector_ap(boxes: Path) -> float:
    """COCO's person AP at an IoU of 0.5 on the validation images."""
    from mmpose_ext.inference import evaluate_boxes

    return evaluate_boxes(VAL, json.loads(boxes.read_text()))['AP50']


def write_overview(folder: Path, path: Path) -> None:
    """Put the pictures of a folder into one, three in a row."""
    import cv2

    from mmpose_ext.files import write_jpeg

    pictures = [cv2.imread(str(p)) for p in sorted(folder.glob('*.jpg'))]
    rows = [cv2.hconcat(pictures[i : i + 3]) for i in range(0, 9, 3)]
    write_jpeg(path, cv2.resize(cv2.vconcat(rows), None, fx=0.6, fy=0.6))


def report(figures: dict) -> None:
    """Print the table; end with an error where a figure is too low."""
    table = Table('figure', 'value', 'at least')
    for name, (value, floor) in figures.items():
        table.add_row(name, f'{value:.3f}', f'{floor:.2f}')
    console.print(table)
    low = [name for name, (value, floor) in figures.items() if value < floor]
    if low:
        sys.exit(f'error: lower than this data allows: {", ".join(low)}')


if __name__ == '__main__':
    main()
