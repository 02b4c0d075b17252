"""Draw the first picture of the README, poses on two free photographs.

They are scikit-image's ``astronaut`` and ``camera``, which show no legs. The
networks expect a whole person: each box holds what would be seen of one if
the photograph went on. Run it in the root of the checkout, with scikit-image
installed: ``python -m docs.draw_photographs``.
"""

import json
import runpy
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import cv2

from mmpose_ext.errors import InputError, run_tool

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / 'docs/images/photographs.jpg'
# x, y, width and height in px.
BOXES = dict(astronaut=(-100, 0, 600, 1000), camera=(0, 50, 340, 750))


def main() -> None:
    package = find_spec('skimage')
    if package is None:
        raise InputError('expected scikit-image: pip install scikit-image')
    demo = runpy.run_path(str(ROOT / 'demo/image_demo.py'))['main']
    with tempfile.TemporaryDirectory() as name:
        folder, images, boxes = Path(name), [], []
        for i, (photo, box) in enumerate(BOXES.items()):
            source = Path(package.origin).parent / f'data/{photo}.png'
            shutil.copy(source, folder)
            images.append(
                dict(id=i, file_name=source.name, width=512, height=512)
            )
            boxes.append(dict(image_id=i, category_id=1, bbox=box, score=1))
        ann_file, box_file = folder / 'images.json', folder / 'boxes.json'
        content = dict(images=images, annotations=[], categories=[])
        ann_file.write_text(json.dumps(content))
        box_file.write_text(json.dumps(boxes))
        options = '--boxes', box_file, '--ann-file', ann_file
        options += '--out-dir', folder, *sys.argv[1:]
        demo([*map(str, (folder, *options))])
        drawn = [
            cv2.resize(
                cv2.imread(str(folder / f'visualizations/{photo}.jpg')),
                (512, 512),
                interpolation=cv2.INTER_AREA,
            )
            for photo in BOXES
        ]
    cv2.imwrite(str(PICTURE), cv2.hconcat(drawn))
    print(PICTURE)


if __name__ == '__main__':
    run_tool(main)
