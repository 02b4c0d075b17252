"""Codecs, transforms, batches, files and whole tests to be timed."""

import json
import os
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Sequence

import mmpose
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import KEYPOINT_CODECS, MODELS, TRANSFORMS
from mmpose.structures.bbox import bbox_xyxy2corner
from mmpose.testing import get_coco_sample

from mmpose_ext import checks
from mmpose_ext.checks import explain_errors
from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

from .measure import Call

TOOLS = {
    'test': Path(__file__).parents[1] / 'tools/test.py',
    'mmpose-test': Path(mmpose.__file__).parent / '.mim/tools/test.py',
}


def make_sample(shape: Sequence[int], persons: int) -> dict:
    """MMPose's sample of (H, W) px for tests, and what codecs want besides."""
    sample = get_coco_sample(tuple(shape), num_instances=persons)
    left, top, right, bottom = sample['bbox'].T
    return dict(
        sample,
        keypoints=sample['keypoints'].astype(np.float32),
        area=0.53 * (right - left) * (bottom - top),
        iscrowd=np.zeros(persons, int),
        flip_direction=None,
    )


def load_encode(kind: str, what: str, **_: Any) -> Call:
    """A codec's targets: of a config's one, or of ``dict(type=...)``."""
    text = f'codec = {what}'
    cfg = Config.fromstring(text, '.py') if '(' in what else load_config(what)
    with DefaultScope.overwrite_default_scope('mmpose'), explain_errors(cfg):
        codec = KEYPOINT_CODECS.build(cfg.codec)
    more = codec.auxiliary_encode_keys  # of bottom-up codecs
    sample = make_sample(cfg.codec.input_size[::-1], 3 if more else 1)
    sample['bbox'] = bbox_xyxy2corner(sample['bbox'])
    known = {k: sample[k] for k in ('keypoints', 'keypoints_visible', *more)}
    return Call(lambda: codec.encode(**known))


def load_transform(kind: str, what: str, shape=None, **_: Any) -> Call:
    """``dict(type='Cutout', ...)`` on an image of 480x640 with 3 persons.

    Arrays that it writes to, which some trials show, are copied in each call,
    as others make copies themselves. MMPose's look-up of the names of
    ``Albumentation`` fails with Albumentations 2, so this does it.
    """
    cfg = Config.fromstring(f'transform = {what}', '.py')
    with DefaultScope.overwrite_default_scope('mmpose'), explain_errors(cfg):
        if cfg.transform.type == 'Albumentation':
            import albumentations

            for step in cfg.transform.transforms:
                step.type = getattr(albumentations, step.type)
        transform = TRANSFORMS.build(cfg.transform)
    persons = 1 if isinstance(transform, TopdownAffine) else 3
    results = _results(shape or (480, 640), persons)
    arrays = {k: v for k, v in results.items() if isinstance(v, np.ndarray)}
    written = set()
    for _trial in range(20):
        copies = {key: array.copy() for key, array in arrays.items()}
        transform({**results, **copies})
        written |= {k for k in arrays if (arrays[k] != copies[k]).any()}

    def apply() -> Any:
        copies = {key: results[key].copy() for key in written}
        return transform({**results, **copies})

    return Call(apply)


def load_batches(kind: str, config: str, batch: int = 1, **_: Any) -> Call:
    """Reading, transforms, targets and collation of training samples."""
    cfg = load_config(config)
    checks.datasets.check_datasets(cfg, ['train'])
    with DefaultScope.overwrite_default_scope('mmpose'), explain_errors(cfg):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    samples = (dataset[i] for i in cycle(range(len(dataset))))
    return Call(lambda: pseudo_collate(list(islice(samples, batch))), batch)


def load_annotations(kind: str, path: str, **_: Any) -> Call:
    """A COCO annotation file: ``read`` with all checks, or by ``json``."""
    checks.check_file(path, 'annotation file')
    if kind == 'read':
        return Call(lambda: checks.read_annotations(path))
    return Call(lambda: json.loads(Path(path).read_bytes()))


def load_test(kind: str, config: str, **_: Any) -> Call:
    """A batch in the test loop of a tool, on the average, with random weights.

    As MMEngine times it in either tool, with data loading; imports, the
    building of the model and the metrics at the end are left out.
    """
    cfg = load_config(config)
    checks.check_config(cfg, 'test')
    with DefaultScope.overwrite_default_scope('mmpose'), explain_errors(cfg):
        weights = MODELS.build(cfg.model).state_dict()
    threads = dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads()))

    def test() -> float:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder, 'random.pth')
            torch.save(dict(state_dict=weights, meta={}), checkpoint)
            command = [sys.executable, TOOLS[kind], cfg.filename, checkpoint]
            command += ['--work-dir', folder]
            done = subprocess.run(command, capture_output=True, env=threads)
            if done.returncode:
                end = done.stderr.decode(errors='replace')[-300:]
                raise InputError(f'{kind}:{config} failed: {end}')
            (log,) = Path(folder).glob('[0-9]*/[0-9]*.json')
            return json.loads(log.read_text())['time']

    return Call(test, cfg.test_dataloader.batch_size, own_clock=True)


def _results(shape: Sequence[int], persons: int) -> dict:
    """What transforms need; the input has 512x512 px, slightly rotated."""
    return dict(
        make_sample(shape, persons),
        bbox_rotation=np.zeros(persons, np.float32),
        bbox_score=np.ones(persons, np.float32),
        category_id=[1] * persons,
        id=list(range(persons)),
        img_id=0,
        img_path='',
        invalid_segs=[[[200, 100, 330, 90, 400, 200, 350, 300, 190, 250]]],
        input_size=(512, 512),
        warp_mat=np.float32([[0.9, 0.2, -60], [-0.2, 0.9, 90]]),
        heatmaps=np.zeros((17, 128, 128), np.float32),
    )
