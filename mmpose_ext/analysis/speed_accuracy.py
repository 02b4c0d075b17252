"""How accurate a trained model is, and how many images a second it takes."""

import hashlib
import json
import math
import re
import time
import uuid
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner, autocast

from ..checks import (
    StrictCheckpointHook,
    check_checkpoint_file,
    check_config,
    explain_errors,
)
from ..deploy.estimators import use_exported
from ..deploy.runtimes import is_exported
from ..engine.fast_test import FastTestHook, use_fused_flip
from ..engine.no_detections import accept_no_detections
from ..errors import InputError, did_you_mean

# What the accuracy is unless the user says, by the metric's name behind its
# prefix, and what an axis calls it.
_ACCURACIES = {
    'AP': 'AP',
    'keypoints_mAP': 'AP',
    'PCKh': 'PCKh',
    'PCK': 'PCK',
}
# Images that one model is timed on before it is the next one's turn.
_TURN = 10


@dataclass
class EvaluatedModel:
    """A model that has been tested, ready to be timed.

    Args:
        metrics (dict[str, float]): What its evaluator has found.
        predict (Callable): From a batch, as the collated samples of
            ``dataset``, to the poses in pixels of the image.
        dataset (Sequence): The test dataset.
        batch_size (int): The largest batch that ``predict`` takes.
    """

    metrics: Dict[str, float]
    predict: Callable[[Any], Any]
    dataset: Any
    batch_size: int

    @property
    def top_down(self) -> bool:
        """Whether boxes of persons are given to the model."""
        return getattr(self.dataset, 'data_mode', None) == 'topdown'

    @property
    def test_set(self) -> str:
        """What the dataset is called: the stem of its annotation file."""
        return Path(getattr(self.dataset, 'ann_file', '')).stem


def check_model(cfg: Config, checkpoint: str) -> None:
    """Check that a model can be tested, and prepare its config.

    Args:
        cfg (Config): The config; made fit for a detection file without a
            box, if it has one.
        checkpoint (str): File or URL of its weights.

    Raises:
        InputError: Names the first thing that is wrong.
    """
    check_checkpoint_file(checkpoint)
    evaluator = cfg.get('test_evaluator')
    if not evaluator:
        raise InputError("expected a 'test_evaluator'")
    empty = check_config(cfg, 'test')
    for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
        if metric.get('format_only'):
            raise InputError(
                'the test_evaluator has format_only=True, but an accuracy '
                'needs ground truth'
            )
    accept_no_detections(cfg, 'test', empty)


def identify_model(cfg: Config, checkpoint: str) -> str:
    """A name for what a model is, whatever its files are called.

    Args:
        cfg (Config): The config.
        checkpoint (str): File or URL of its weights, or an exported file.

    Returns:
        str: A digest of the config and of the content of the file, or of the
        URL.
    """
    settings = json.dumps(cfg.to_dict(), sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode())
    if '://' in checkpoint:
        digest.update(checkpoint.encode())
        return digest.hexdigest()
    # The weights of an exported file may lie beside it.
    files = [Path(checkpoint), Path(checkpoint).with_suffix('.bin')]
    for path in files if is_exported(checkpoint) else files[:1]:
        if path.is_file():
            with open(path, 'rb') as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def load_and_evaluate(
    cfg: Config,
    checkpoint: str,
    device: str = 'cpu',
    metrics: Optional[Dict[str, float]] = None,
) -> EvaluatedModel:
    """Load a model and test it as ``tools/test.py`` does.

    Args:
        cfg (Config): The config, checked by :func:`check_model`.
        checkpoint (str): File or URL of its weights, or an exported file,
            which has its model in it.
        device (str): Where it runs. Defaults to ``'cpu'``.
        metrics (dict[str, float], optional): What an earlier test has found,
            so that the model is only loaded. Defaults to ``None``, it is
            tested.

    Returns:
        EvaluatedModel: The model.

    Raises:
        InputError: The checkpoint does not fit, or an image cannot be read.
    """
    cfg = cfg.copy()
    cfg.load_from, cfg.resume, cfg.launcher = checkpoint, False, 'none'
    exported = is_exported(checkpoint)
    if exported:
        use_exported(cfg, checkpoint)
        cfg.model.update(device=device, num_threads=torch.get_num_threads())
    else:
        use_fused_flip(cfg)
    name = Path(cfg.filename).stem
    cfg.work_dir = cfg.get('work_dir') or str(Path('work_dirs', name))
    # MMEngine's loggers and the like are shared by runs of the same name, and
    # write to the folder of the first.
    cfg.experiment_name = f'{name}_{uuid.uuid4().hex}'
    if cfg.get('visualizer'):
        cfg.visualizer.name = cfg.experiment_name
    with explain_errors(cfg):
        runner = Runner.from_cfg(cfg)
        if not exported:
            runner.register_hook(StrictCheckpointHook(checkpoint))
            runner.register_hook(FastTestHook())
        runner.model.to(device)
        if metrics is None:
            found = runner.test()
            metrics = {
                k: float(v) for k, v in found.items() if isinstance(v, Real)
            }
        else:
            runner.load_or_resume()
            runner.call_hook('before_test')
        loop, model = runner.test_loop, runner.model.eval()

    fp16 = getattr(loop, 'fp16', False)

    def predict(batch: Any) -> Any:
        with torch.no_grad(), autocast(enabled=fp16):
            return model.test_step(batch)

    batch_size = cfg.test_dataloader.get('batch_size') or 1
    return EvaluatedModel(
        metrics, predict, loop.dataloader.dataset, batch_size
    )


def find_accuracy(
    metrics: Dict[str, float], wanted: Optional[str] = None
) -> Tuple[float, str]:
    """Find the metric that is a model's accuracy.

    Args:
        metrics (dict[str, float]): What the model's evaluator has found.
        wanted (str, optional): What the user wants. Defaults to ``None``: the
            AP of keypoints, or else PCKh, or else PCK.

    Returns:
        tuple[float, str]: Its value, for COCO's metrics, which are fractions,
        in percent; and what an axis calls it.

    Raises:
        InputError: There is none, or it is no finite number.
    """
    keys = {key.rpartition('/')[2]: key for key in reversed(metrics)}
    if wanted is not None:
        key, what = wanted, f"a metric '{wanted}'"
        hint = did_you_mean(wanted, metrics)
    else:
        key = next((keys[name] for name in _ACCURACIES if name in keys), None)
        what, hint = 'an AP, PCKh or PCK', '; choose one with --metric'
    if key not in metrics:
        raise InputError(
            f'expected {what} among {", ".join(metrics) or "no metrics"}{hint}'
        )
    value = metrics[key]
    if not math.isfinite(value):
        raise InputError(f'expected a finite {key}, got {value}')
    name = key.rpartition('/')[2]
    title = _ACCURACIES.get(name, name)
    if re.match(r'AP|AR|\w+_mAP', name):
        return 100 * value, f'{title} (%)'
    # Others than LIP's are a fraction or not, as their evaluator likes.
    return value, f'{title} (%)' if key.startswith('lip/') else title


def shorten_name(config: str) -> str:
    """The name of a config without what it says of the training.

    Args:
        config (str): Its path, whose name has parts separated by ``_`` as
            those of MMPose have.

    Returns:
        str: The parts, separated by blanks, but for the one of batch size and
        epochs, such as ``8xb32-210e``.
    """
    parts = Path(config).stem.split('_')
    return ' '.join(p for p in parts if not re.match(r'\d+xb\d+', p))


def find_family(config: str) -> str:
    """The method of a config, by the folder that it is in.

    Args:
        config (str): Its path: ``configs/METHOD/NAME.py``, or in MMPose
            ``configs/TASK/METHOD/DATASET/NAME.py``.

    Returns:
        str: The method; the last folder if the path is another one.
    """
    folders = Path(config).resolve().parent.parts
    depth = folders[::-1].index('configs') if 'configs' in folders else 0
    return folders[1 - depth] if depth > 2 else folders[-1]


class ImageTimer:
    """A model, and the images of its test set that it is timed on.

    They are spread evenly over the test set, in the order of their paths.
    A bottom-up model gets an image at a time. A top-down one gets all samples
    of the image, which are its persons with their boxes, in one batch, or in
    as few as the config's batch size allows.

    Args:
        model (EvaluatedModel): The model.
        images (int): How many images; all if there are fewer. Defaults to
            50.
        preprocessing (bool): Whether reading the image and the transforms of
            the test pipeline count. Defaults to ``False``: the time is that
            from a batch in memory to the poses in pixels of the image.
        device (str): Where the model runs: a GPU is waited for. Defaults to
            ``'cpu'``.

    Raises:
        InputError: The test set has no sample.
    """

    def __init__(
        self,
        model: EvaluatedModel,
        images: int = 50,
        preprocessing: bool = False,
        device: str = 'cpu',
    ):
        self.model = model
        self.preprocessing = preprocessing
        self.device = torch.device(device)
        samples: Dict[str, List[int]] = {}
        for i in range(len(model.dataset)):
            path = model.dataset.get_data_info(i)['img_path']
            samples.setdefault(path, []).append(i)
        if not samples:
            raise InputError('the test set has no sample to be timed on')
        paths = sorted(samples)
        places = np.linspace(0, len(paths) - 1, min(images, len(paths)))
        self.images = [samples[paths[i]] for i in places.round().astype(int)]

    def __len__(self) -> int:
        return len(self.images)

    def __call__(self, index: int) -> float:
        """Seconds that an image takes.

        Args:
            index (int): The number of the image.
        """
        start = self._now()
        batches = self._load(self.images[index])
        if not self.preprocessing:
            start = self._now()
        for batch in batches:
            self.model.predict(batch)
        return self._now() - start

    def _load(self, indices: Sequence[int]) -> list:
        samples = [self.model.dataset[i] for i in indices]
        n = self.model.batch_size
        return [
            pseudo_collate(samples[i : i + n])
            for i in range(0, len(samples), n)
        ]

    def _now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def measure_fps(
    timers: Sequence[Callable[[int], float]],
    rounds: int = 3,
    warmup: int = 5,
    track: Callable[[Iterable], Iterable] = iter,
) -> List[List[float]]:
    """Images per second of several models, which take turns.

    What slows the machine down for a while slows all of them: in each round
    every model has its turn after each few images.

    Args:
        timers (Sequence[Callable]): For each model, from the number of an
            image to seconds, with a length, as :class:`ImageTimer` is.
        rounds (int): How often each image is timed. Defaults to 3.
        warmup (int): Images that each model takes before, which do not
            count. Defaults to 5.
        track (Callable): Goes over the rounds, such as a progress bar's
            ``track``. Defaults to ``iter``.

    Returns:
        list[list[float]]: For each model, its images per second in each
        round.
    """
    for timer in timers:
        for i in range(warmup):
            timer(i % len(timer))
    fps: List[List[float]] = [[] for _ in timers]
    longest = max(map(len, timers), default=0)
    for _ in track(range(rounds)):
        seconds = [0.0] * len(timers)
        for start in range(0, longest, _TURN):
            for k, timer in enumerate(timers):
                turn = range(start, min(start + _TURN, len(timer)))
                seconds[k] += sum(map(timer, turn))
        for rates, timer, total in zip(fps, timers, seconds):
            rates.append(len(timer) / total)
    return fps
