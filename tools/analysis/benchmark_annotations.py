"""Time of reading an annotation file with all checks, beside json.load.

The file is generated, by default of the size of COCO's
person_keypoints_train2017.json: persons with polygons of 10 to 60 points and
17 keypoints, one in 60 a crowd with run lengths. Both are timed in turns, in
seconds of the process, and the best of each is compared.
"""

import argparse
import gc
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

import mmpose_ext  # noqa: F401  (before those that it mends)
from mmpose_ext.checks import read_annotations
from mmpose_ext.engine.arguments import positive_int
from mmpose_ext.errors import run_tool

_WIDTH, _HEIGHT = 640, 480


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--images',
        type=positive_int,
        default=64115,
        help='default: %(default)s',
    )
    parser.add_argument(
        '--persons',
        type=positive_int,
        default=262465,
        help='default: %(default)s',
    )
    parser.add_argument(
        '--rounds', type=positive_int, default=3, help='default: %(default)s'
    )
    return parser.parse_args(argv)


def make_person(number: int, image_id: int, rng: np.random.Generator) -> dict:
    """An annotation with random values."""
    x, y, w, h = rng.uniform((0, 0, 10, 10), (500, 300, 140, 180))
    points = rng.uniform((x, y, 0), (x + w, y + h, 3), (17, 3)).astype(int)
    points[points[:, 2] == 0] = 0
    polygon = rng.uniform((x, y), (x + w, y + h), (rng.integers(10, 60), 2))
    segmentation: Any = [polygon.round(2).ravel().tolist()]
    if number % 60 == 0:
        runs = [100] * (_WIDTH * _HEIGHT // 100)
        segmentation = dict(size=[_HEIGHT, _WIDTH], counts=runs)
    return dict(
        segmentation=segmentation,
        num_keypoints=int((points[:, 2] > 0).sum()),
        area=round(w * h / 2, 4),
        iscrowd=int(number % 60 == 0),
        keypoints=points.ravel().tolist(),
        image_id=image_id,
        bbox=[round(v, 2) for v in (x, y, w, h)],
        category_id=1,
        id=number,
    )


def write_annotations(path: Path, images: int, persons: int) -> None:
    """Write a file of random persons."""
    rng = np.random.default_rng(0)
    content = dict(
        images=[
            dict(
                id=i,
                file_name=f'{i:012}.jpg',
                width=_WIDTH,
                height=_HEIGHT,
                coco_url=f'http://images.cocodataset.org/{i:012}.jpg',
                date_captured='2013-11-14 11:18:45',
            )
            for i in range(1, images + 1)
        ],
        annotations=[
            make_person(i, i % images + 1, rng) for i in range(1, persons + 1)
        ],
        categories=[dict(id=1, name='person')],
    )
    path.write_text(json.dumps(content))


def seconds(read: Callable[[], Any]) -> float:
    """Time of one call, without the release of what it returns."""
    gc.collect()
    start = time.process_time()
    content = read()
    end = time.process_time()
    del content
    return end - start


def load(path: Path) -> Any:
    """What is compared with."""
    with path.open() as f:
        return json.load(f)


def main(argv=None) -> float:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'annotations.json')
        write_annotations(path, args.images, args.persons)
        size = path.stat().st_size / 1e6
        plain, checked = [], []
        for _ in range(args.rounds):
            plain.append(seconds(lambda: load(path)))
            checked.append(seconds(lambda: read_annotations(str(path))))
    ratio = min(checked) / min(plain)
    print(
        f'{args.persons} persons in {args.images} images, {size:.0f} MB: '
        f'json.load {min(plain):.2f} s, with all checks {min(checked):.2f} s '
        f'({ratio:.2f} times)'
    )
    return ratio


if __name__ == '__main__':
    run_tool(main)
