"""Writing the toy persons to a folder."""

import csv
import io
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple, Union

import cv2
import numpy as np
from rich.progress import track

from ..errors import InputError
from ..files import write_atomic
from .annotation import CATEGORY, Annotation, annotate, clean_mask, lip_row
from .contact_sheet import draw_contact_sheet
from .scene import Scene, compose

# Raise it whenever a seed generates something else.
GENERATOR_VERSION = 1
MARKER = 'toy_persons.json'
SPLITS = ('train', 'val')
_PARTS = '.parts'
_OWN = ('annotations', 'train', 'val', 'lip', 'contact_sheet.png', _PARTS)
_JPEG_QUALITY = 92
# Images per unit of work: what an interruption can lose, per process.
_CHUNK = 50
# A person is cut out for LIP if at least this many of the COCO keypoints are
# in the image and its box is at least this high, px.
_LIP_KEYPOINTS, _LIP_HEIGHT = 10, 48


@dataclass(frozen=True)
class Settings:
    """Everything that determines the content of a folder."""

    num_train: int
    num_val: int
    seed: int
    width: int
    height: int
    lip: bool

    def check(self) -> None:
        """Raise an :class:`InputError` that names the first wrong value."""
        for name in ('num_train', 'num_val', 'seed'):
            value = getattr(self, name)
            if value < 0:
                raise InputError(f'{name} must not be negative, got {value}')
        if self.num_train + self.num_val == 0:
            raise InputError('num_train and num_val are both 0')
        for name in ('width', 'height'):
            value = getattr(self, name)
            if not 64 <= value <= 1024:
                raise InputError(
                    f'{name} must be between 64 and 1024 px, got {value}'
                )

    def count(self, split: str) -> int:
        """Number of images of a split."""
        return getattr(self, f'num_{split}')

    def marker(self) -> Dict[str, Any]:
        """What the marker file says about a folder with these settings."""
        return {
            'generator': 'mmpose_ext.synthetic',
            'generator_version': GENERATOR_VERSION,
            **asdict(self),
        }


def make_dataset(
    out_dir: Union[str, Path],
    num_train: int = 800,
    num_val: int = 200,
    seed: int = 0,
    size: Tuple[int, int] = (256, 192),
    lip: bool = True,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> bool:
    """Write toy persons in COCO's and in LIP's layout.

    The same settings give the same bytes, whatever the number of processes;
    an image depends on the seed, its split and its index alone. A call with
    the same settings resumes an interrupted one.

    Args:
        out_dir: A new or empty folder, or one that this function made.
        num_train: Training images.
        num_val: Validation images.
        seed: Not negative.
        size: (width, height) in px.
        lip: Whether to cut out single persons in LIP's layout as well.
        workers: Processes.
        overwrite: Whether a folder that this function made with other
            settings may be replaced.
        progress: Whether to show a progress bar.

    Returns:
        bool: False if the folder was complete already.

    Raises:
        InputError: For settings out of range, for a folder with other
            content, and, unless ``overwrite`` is given, for one made with
            other settings.
    """
    settings = Settings(num_train, num_val, seed, *size, lip)
    settings.check()
    if workers < 1:
        raise InputError(f'workers must be at least 1, got {workers}')
    out_dir = Path(out_dir)
    if _open_folder(out_dir, settings, overwrite):
        return False
    chunks = list(_chunks(settings))
    work = partial(_write_chunk, out_dir, settings)
    pool = ProcessPoolExecutor(workers) if workers > 1 else nullcontext()
    with pool as pool:
        done = pool.map(work, chunks) if pool else map(work, chunks)
        show = dict(total=len(chunks), disable=not progress)
        for _ in track(done, 'Toy persons', **show):
            pass
    for split in SPLITS:
        _merge(out_dir, settings, split)
    sheet = draw_contact_sheet(out_dir)
    write_atomic(out_dir / 'contact_sheet.png', _encode('.png', sheet))
    _write_json(out_dir / MARKER, {**settings.marker(), 'complete': True})
    shutil.rmtree(out_dir / _PARTS)
    return True


def _open_folder(out_dir: Path, settings: Settings, overwrite: bool) -> bool:
    """Make the folder ready; return whether it is complete already."""
    marker = out_dir / MARKER
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f'{out_dir} is a file, expected a folder')
    if out_dir.is_dir() and any(out_dir.iterdir()):
        found = _read_marker(marker)
        complete = found.pop('complete', False)
        if found == settings.marker():
            if complete and not list(_missing(out_dir, settings)):
                return True
        elif overwrite:
            for path in map(out_dir.joinpath, _OWN):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        else:
            wanted = settings.marker()
            differing = ', '.join(
                f'{key}={found.get(key)} there, {wanted[key]} asked for'
                for key in wanted
                if found.get(key) != wanted[key]
            )
            raise InputError(
                f'{out_dir} holds toy persons made with other settings '
                f'({differing}); choose another folder or --overwrite it'
            )
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(
            f'the folder {out_dir} cannot be made: {e.strerror}'
        ) from e
    _write_json(marker, {**settings.marker(), 'complete': False})
    for split in SPLITS:
        (out_dir / split).mkdir(exist_ok=True)
        if settings.lip:
            _lip_images(out_dir, split).mkdir(parents=True, exist_ok=True)
    (out_dir / 'annotations').mkdir(exist_ok=True)
    (out_dir / _PARTS).mkdir(exist_ok=True)
    return False


def _read_marker(marker: Path) -> Dict[str, Any]:
    if not marker.is_file():
        raise InputError(
            f'{marker.parent} is not empty and was not made by this tool '
            f'(no {MARKER}); choose a new folder'
        )
    try:
        content = json.loads(marker.read_text())
    except ValueError as e:
        raise InputError(f'{marker} is damaged: {e}') from e
    named = dict(content) if isinstance(content, dict) else {}
    if named.get('generator') != 'mmpose_ext.synthetic':
        raise InputError(f'{marker} does not describe toy persons')
    return content


def _missing(out_dir: Path, settings: Settings) -> Iterator[Path]:
    """Files that a folder marked complete no longer has."""
    paths = [out_dir / 'contact_sheet.png']
    for split in SPLITS:
        images = range(settings.count(split))
        paths += [_image_file(out_dir, split, index) for index in images]
        paths.append(_annotation_file(out_dir, split))
        if settings.lip:
            paths.append(_lip_file(out_dir, split))
    return (path for path in paths if not path.is_file())


def _annotation_file(out_dir: Path, split: str) -> Path:
    return out_dir / 'annotations' / f'person_keypoints_{split}.json'


def _image_file(out_dir: Path, split: str, index: int) -> Path:
    return out_dir / split / f'{index + 1:012d}.jpg'


def _lip_images(out_dir: Path, split: str) -> Path:
    return out_dir / 'lip' / 'TrainVal_images' / f'{split}_images'


def _lip_file(out_dir: Path, split: str) -> Path:
    folder = out_dir / 'lip' / 'TrainVal_pose_annotations'
    return folder / f'lip_{split}_set.csv'


def _chunks(settings: Settings) -> Iterator[Tuple[str, int, int]]:
    for split in SPLITS:
        count = settings.count(split)
        for start in range(0, count, _CHUNK):
            yield split, start, min(start + _CHUNK, count)


def draw_scene(settings: Settings, split: str, index: int) -> Scene:
    """Draw one image: a function of the seed, the split and the index."""
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    return compose(rng, settings.width, settings.height)


def _write_chunk(
    out_dir: Path, settings: Settings, chunk: Tuple[str, int, int]
) -> None:
    """Write the images of a chunk and, after them, their annotations."""
    split, start, stop = chunk
    part = out_dir / _PARTS / f'{split}_{start:06d}.json'
    if part.is_file():
        return
    # OpenCV would start threads in each process.
    cv2.setNumThreads(1)
    annotations: List[Annotation] = []
    rows: List[List[str]] = []
    for index in range(start, stop):
        scene = draw_scene(settings, split, index)
        annotations += annotate(scene, index + 1)
        jpeg = _encode('.jpg', scene.image)
        if settings.lip:
            rows += _write_lip(out_dir, split, index, scene)
        write_atomic(_image_file(out_dir, split, index), jpeg)
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    write_atomic(part.with_suffix('.csv'), text.getvalue().encode())
    # Last, because it says that the chunk is complete.
    _write_json(part, annotations)


def _write_lip(
    out_dir: Path, split: str, index: int, scene: Scene
) -> List[List[str]]:
    rows = []
    height, width = scene.owner.shape
    for number, figure in enumerate(scene.figures):
        if figure.crowd or (figure.visible[:17] > 0).sum() < _LIP_KEYPOINTS:
            continue
        mask = clean_mask(scene.owner == figure.layer)
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        if h < _LIP_HEIGHT:
            continue
        x0, y0 = max(x - w // 8, 0), max(y - h // 16, 0)
        x1, y1 = min(x + w + w // 8, width), min(y + h + h // 16, height)
        name = f'{index + 1:012d}_{number}.jpg'
        write_atomic(
            _lip_images(out_dir, split) / name,
            _encode('.jpg', scene.image[y0:y1, x0:x1]),
        )
        rows.append(lip_row(figure, np.array([x0, y0, x1, y1]), name))
    return rows


def _merge(out_dir: Path, settings: Settings, split: str) -> None:
    """Join the parts of a split into its annotation files."""
    size = dict(width=settings.width, height=settings.height)
    images = [
        dict(id=n + 1, file_name=_image_file(out_dir, split, n).name, **size)
        for n in range(settings.count(split))
    ]
    info = dict(
        description='Toy persons of mmpose_ext', version=str(GENERATOR_VERSION)
    )
    rest = dict(info=info, licenses=[], categories=[CATEGORY], images=images)
    parts = out_dir / _PARTS
    # Joined as text, because parsing it all again takes as long as drawing a
    # tenth of the images.
    lists = [p.read_bytes() for p in sorted(parts.glob(f'{split}_*.json'))]
    joined = b','.join(text[1:-1] for text in lists if text != b'[]')
    write_atomic(
        _annotation_file(out_dir, split),
        b'{"annotations":[' + joined + b'],' + _to_json(rest)[1:],
    )
    if settings.lip:
        path = _lip_file(out_dir, split)
        path.parent.mkdir(exist_ok=True)
        rows = [p.read_bytes() for p in sorted(parts.glob(f'{split}_*.csv'))]
        write_atomic(path, b''.join(rows))


def _encode(suffix: str, image: np.ndarray) -> bytes:
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    flags = jpeg if suffix == '.jpg' else []
    return cv2.imencode(suffix, image, flags)[1].tobytes()


def _to_json(content: Any) -> bytes:
    return json.dumps(content, separators=(',', ':'), sort_keys=True).encode()


def _write_json(path: Path, content: Any) -> None:
    write_atomic(path, _to_json(content))
