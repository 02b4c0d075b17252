"""Detect the persons of many images, resumably and on several ranks."""

import contextlib
import glob
import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Set, Tuple, Union

import mmengine.dist as dist
from mmengine.config import Config
from rich.progress import Progress
from torch.utils.data import DataLoader, Dataset

from ..arguments import non_negative_int, positive_int
from ..checks import check_detections
from ..errors import InputError
from ..files import write_json
from .box_file import as_entries
from .files import read_image
from .persons import PersonDetector, prepare


def detect_to_file(
    detector: PersonDetector,
    images: Sequence[Tuple[int, Path]],
    out: Union[str, Path],
    run: Dict[str, Any],
    batch_size: int = 8,
    num_workers: int = 0,
) -> List[dict]:
    """Detect the persons of many images, and write one file of boxes.

    Each finished batch is appended to ``<out>.partial.<rank>.jsonl``, from
    which an interrupted run resumes, with any number of ranks; at the end
    these files are removed. Ranks take turns batch by batch, so a batch, and
    with it the file, does not depend on their number.

    Args:
        detector (PersonDetector): The detector.
        images (Sequence[Tuple[int, Path]]): Id and path of each image.
        out (str | Path): The file to write, see :func:`read_boxes`.
        run (Dict[str, Any]): What the boxes depend on (see
            :func:`describe_run`); those of a different run are not reused.
        batch_size (int): Images per step. Defaults to 8.
        num_workers (int): Processes that read images. Defaults to 0.

    Returns:
        List[dict]: The content of the file, image by image in the order of
        ``images``, the best box of each image first.

    Raises:
        InputError: If a partial file is damaged or from a different run, or
            an image cannot be decoded.
        ValueError: If ``batch_size`` is not a positive integer, or
            ``num_workers`` not a non-negative one.
    """
    batch_size = positive_int('batch_size', batch_size)
    num_workers = non_negative_int('num_workers', num_workers)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    run = json.loads(json.dumps({**run, 'batch_size': batch_size}))
    indices = range(len(images))
    batches = [
        indices[start : start + batch_size] for start in indices[::batch_size]
    ]
    partial = _PartialBoxes(out, run)
    done = partial.read([{images[j][0] for j in batch} for batch in batches])
    dist.barrier()  # no rank appends before all have read

    mine = range(dist.get_rank(), len(batches), dist.get_world_size())
    mine = [i for i in mine if i not in done]
    loader = DataLoader(
        _Images([path for _, path in images], detector.pipeline),
        batch_sampler=[batches[i] for i in mine],
        num_workers=num_workers,
        collate_fn=list,
    )
    # Leaving the block stops the bar, also on an error: the garbage collector
    # may stop it while another bar holds rich's lock.
    bar = Progress(disable=not dist.is_main_process())
    with partial.open() as append, bar:
        steps = bar.track(loader, description='Detecting persons')
        for samples, i in zip(steps, mine):
            for sample in samples:
                if isinstance(sample, InputError):
                    raise sample
            done[i] = [
                box
                for j, found in zip(batches[i], detector.predict(samples))
                for box in as_entries(images[j][0], found)
            ]
            append(i, done[i])

    for other in dist.all_gather_object(done):
        done.update(other)
    boxes = [box for i in range(len(batches)) for box in done[i]]
    if dist.is_main_process():
        write_json(out, boxes)
        partial.remove()
    dist.barrier()
    return boxes


def describe_run(
    config: Config, checkpoint: str, ann_file: Union[str, Path], **flags
) -> Dict[str, Any]:
    """Describe a run of a detector by what its boxes depend on.

    Returns:
        Dict[str, Any]: Digests of the config's model and test data and of
        both files (the address of a checkpoint that is not a local file),
        and the flags.
    """
    parts = [config.model.to_dict(), config.test_dataloader.to_dict()]
    text = json.dumps(parts, sort_keys=True, default=str)
    return dict(
        config=_digest(text.encode()),
        checkpoint=_digest(Path(checkpoint).read_bytes())
        if Path(checkpoint).is_file()
        else checkpoint,
        ann_file=_digest(Path(ann_file).read_bytes()),
        **flags,
    )


class _Images(Dataset):
    """Images, read and prepared for a detector.

    For an unreadable one the error is returned, since one that is raised in
    a worker process reaches the user as a traceback.
    """

    def __init__(self, paths: Sequence[Path], pipeline):
        self.paths = paths
        self.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Union[dict, InputError]:
        try:
            return prepare(read_image(self.paths[index]), self.pipeline)
        except InputError as e:
            return e


class _PartialBoxes:
    """What interrupted runs have found, one file per rank.

    The first line of a file describes the run, each further one holds the
    boxes of one batch. The last line may be incomplete.
    """

    def __init__(self, out: Path, run: Dict[str, Any]):
        self.out = out
        self.run = run
        self.header = json.dumps(run).encode() + b'\n'

    def paths(self) -> List[Path]:
        name = glob.escape(self.out.name)
        return sorted(self.out.parent.glob(f'{name}.partial.*.jsonl'))

    def read(self, ids: Sequence[Set[int]]) -> Dict[int, List[dict]]:
        """Read all files; ``ids`` are those of the images of each batch."""
        done = {}
        for path in self.paths():
            lines = _whole_lines(path)
            if self.header.startswith(path.read_bytes()):
                continue  # killed while it wrote the first line, or after it
            with _naming(path, 1):
                run = json.loads(lines[0] if lines else b'')
                if not isinstance(run, dict):
                    raise InputError(f'expected a dict, got {run!r:.80}')
            differing = [
                f'{key} {run.get(key)!r}, now {value!r}'
                for key, value in self.run.items()
                if run.get(key) != value
            ]
            if differing:
                raise InputError(
                    f'{path} is from an interrupted run with '
                    f'{"; ".join(differing)}. Repeat that run to finish it, '
                    'or remove the file'
                )
            for number, line in enumerate(lines[1:], 2):
                with _naming(path, number):
                    batch, boxes = _read_batch(line, ids)
                    done[batch] = boxes
        return done

    @contextlib.contextmanager
    def open(self) -> Iterator:
        rank = dist.get_rank()
        path = self.out.with_name(f'{self.out.name}.partial.{rank}.jsonl')
        lines = _whole_lines(path) if path.exists() else []
        with open(path, 'ab') as file:
            file.truncate(sum(map(len, lines)))
            if not lines:
                file.write(self.header)

            def append(batch: int, boxes: List[dict]) -> None:
                file.write(json.dumps([batch, boxes]).encode() + b'\n')
                file.flush()

            yield append

    def remove(self) -> None:
        for path in self.paths():
            path.unlink()


def _read_batch(
    line: bytes, ids: Sequence[Set[int]]
) -> Tuple[int, List[dict]]:
    """The number of a batch, and the boxes of its images."""
    content = json.loads(line)
    if not isinstance(content, list) or len(content) != 2:
        raise InputError(f'expected [batch, boxes], got {content!r:.80}')
    batch, boxes = content
    if type(batch) is not int or not 0 <= batch < len(ids):
        raise InputError(
            f'expected a batch from 0 to {len(ids) - 1}, got {batch!r:.80}'
        )
    check_detections(boxes, f'batch {batch}', ids[batch])
    return batch, boxes


@contextlib.contextmanager
def _naming(path: Path, line: int) -> Iterator[None]:
    """Name the damaged line, and what to do."""
    try:
        yield
    # JSON can be nested too deeply, and an image id be a list.
    except (ValueError, TypeError, RecursionError) as e:
        raise InputError(
            f'line {line} of {path} is damaged: {e}. Remove the file to '
            'search its images again'
        ) from e


def _whole_lines(path: Path) -> List[bytes]:
    lines = path.read_bytes().splitlines(keepends=True)
    return lines[:-1] if lines and not lines[-1].endswith(b'\n') else lines


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
