"""The frames of a video, read and written, and the time that each takes."""

import errno
import math
import os
import time
import warnings
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence, Tuple, Union

import cv2
import mmcv
import numpy as np
import torch

from ..arguments import positive
from ..checks import check_file, check_output_file
from ..errors import InputError
from ..files import replacing, write_atomic
from .files import IMAGE_SUFFIXES, list_images, read_image, read_size

DEFAULT_FPS = 25.0
_CODECS = {'.avi': 'MJPG', '.mp4': 'mp4v'}

# The name of a frame, and what decodes it to a BGR image of shape (H, W, 3),
# to be called before the next frame is asked for.
Frame = Tuple[str, Callable[[], np.ndarray]]


class VideoFile:
    """The frames of a video file, named ``000001.jpg`` and so on.

    Where a file ends before its own count of frames, which is an estimate in
    some formats, there is a warning after the last one.

    Args:
        path (str | Path): The video.

    Attributes:
        paths (Sequence[Path]): The files that are read: the video.
        fps (float): Frames per second; 25 where the file names no rate.
        number (int): The file's count of frames, 0 if unknown.

    Raises:
        InputError: If the file is missing, or a frame cannot be decoded.
    """

    def __init__(self, path: Union[str, Path]):
        check_file(path, 'video')
        self.path = Path(path)
        self.paths = [self.path]
        video = mmcv.VideoReader(str(path))
        if video.read() is None:
            raise InputError(f"video '{path}' cannot be decoded")
        self.fps = video.fps if 0 < video.fps < math.inf else DEFAULT_FPS
        self.number = max(video.frame_cnt, 0)

    def __iter__(self) -> Iterator[Frame]:
        video = mmcv.VideoReader(str(self.path), cache_capacity=1)
        # Not `for image in video`, which seeks first: inexact in some formats.
        while (image := video.read()) is not None:
            yield f'{video.position:06d}.jpg', partial(np.asarray, image)
        # The reader also stops at a frame that is there but is damaged.
        if video.vcap.get(cv2.CAP_PROP_POS_FRAMES) > video.position:
            raise InputError(
                f"frame {video.position + 1} of video '{self.path}' cannot be "
                'decoded'
            )
        if video.position < self.number:
            warnings.warn(
                f"video '{self.path}' ends after {video.position} of "
                f'{self.number} frames; it may be damaged',
                stacklevel=2,
            )


class FrameFiles:
    """Images as the frames of a video, named by their place in ``path``.

    Args:
        paths (Sequence[Path]): The images, in order.

    Attributes:
        paths (Sequence[Path]): The files that are read, the images.
        path (Path): The common folder of the images.
        fps (float): 25.
        number (int): How many images there are.

    Raises:
        InputError: If one does not have the suffix of an image.
    """

    def __init__(self, paths: Sequence[Path]):
        for path in paths:
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                raise InputError(
                    f"frame '{path}' is not an image: expected one of "
                    + ', '.join(IMAGE_SUFFIXES)
                )
        self.paths = paths
        self.path = Path(os.path.commonpath([p.parent for p in paths]))
        self.fps = DEFAULT_FPS
        self.number = len(paths)

    def __iter__(self) -> Iterator[Frame]:
        for path in self.paths:
            yield str(path.relative_to(self.path)), partial(read_image, path)

    def check_one_size(self, number: Optional[int] = None) -> None:
        """Raise an error unless the first images, or all, have one size."""
        first, *others = self.paths[:number]
        size = read_size(first)
        for path in others:
            other = read_size(path)
            if other != size:
                raise InputError(
                    f"frame '{path}' is {other[0]} x {other[1]} px, the first "
                    f"one, '{first}', is {size[0]} x {size[1]}: a video has "
                    'frames of one size; write them to a folder, which is an '
                    'output without a suffix'
                )


def open_frames(source: str) -> Union[VideoFile, FrameFiles]:
    """Open a video file, a folder of frames, or the frames of a glob.

    Frames are sorted by the numbers in their names.

    Raises:
        InputError: If nothing is found, or the video cannot be decoded.
    """
    path = Path(source)
    is_glob = not path.is_file() and any(c in source for c in '*?[')
    if path.suffix.lower() in IMAGE_SUFFIXES or path.is_dir() or is_glob:
        return FrameFiles(list_images(source))
    return VideoFile(source)


class VideoWriter:
    """Write a video, which gets its name once it is complete.

    If an exception leaves the context, what was written is removed. Frames
    of an odd width or height are extended by a copy of their last column or
    row, since codecs take even sizes only.

    Args:
        path (str | Path): An ``.mp4`` (codec mp4v) or ``.avi`` (MJPG) file.
        fps (float): Frames per second. Defaults to 25.

    Raises:
        ValueError: If ``fps`` is not a positive finite number.
    """

    def __init__(self, path: Union[str, Path], fps: float = DEFAULT_FPS):
        self.path = Path(path)
        self.fps = positive('fps', fps)
        self._stack = ExitStack()
        self._part = self.path
        self._writer: Optional[cv2.VideoWriter] = None
        self._size = (0, 0)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __contains__(self, name: str) -> bool:
        return False

    def write(self, name: str, image: np.ndarray) -> None:
        """Append a BGR image of shape (H, W, 3); the name is for messages.

        Raises:
            InputError: If its size is not that of the frames before, or the
                video cannot be written.
        """
        height, width = image.shape[:2]
        if self._writer is None:
            self._open(width, height)
        if (width, height) != self._size:
            was = ' x '.join(map(str, self._size))
            raise InputError(
                f"the picture of frame '{name}' is {width} x {height}, those "
                f'before it are {was}: a video has frames of one size; write '
                'them to a folder'
            )
        self._writer.write(
            cv2.copyMakeBorder(
                image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE
            )
        )

    def __exit__(self, kind, error, trace) -> None:
        self._stack.__exit__(kind, error, trace)

    def _open(self, width: int, height: int) -> None:
        draft = replacing(self.path, self.path.suffix)
        self._part = self._stack.enter_context(draft)
        self._stack.push(self._close)
        self._size = (width, height)
        self._writer = cv2.VideoWriter(
            str(self._part),
            cv2.VideoWriter_fourcc(*_CODECS[self.path.suffix.lower()]),
            self.fps,
            (width + width % 2, height + height % 2),
        )
        if not self._writer.isOpened():
            raise InputError(
                f"cannot write video '{self.path}' of {width} x {height} "
                f'pixels at {self.fps:g} frames per second'
            )

    def _close(self, kind, error, trace) -> None:
        self._writer.release()
        if kind is not None:
            return
        # OpenCV does not report a full disk.
        capture = cv2.VideoCapture(str(self._part))
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) < 1:
            raise OSError(
                errno.EIO,
                'the video is incomplete, the disk may be full',
                str(self.path),
            )


class FrameWriter:
    """Write frames as images of a folder, each one atomically.

    Args:
        folder (str | Path): The folder; it is made with the first frame.
        resume (bool): Whether frames that the folder has count as written.
            Defaults to ``False``.
    """

    def __init__(self, folder: Union[str, Path], resume: bool = False):
        self.folder = Path(folder)
        self.resume = resume

    def __enter__(self) -> 'FrameWriter':
        return self

    def __exit__(self, kind, error, trace) -> None:
        pass

    def __contains__(self, name: str) -> bool:
        return self.resume and (self.folder / name).exists()

    def write(self, name: str, image: np.ndarray) -> None:
        """Write a BGR image of shape (H, W, 3) to a path in the folder.

        Raises:
            InputError: If images of its suffix cannot be that large.
        """
        suffix = Path(name).suffix
        good, content = cv2.imencode(suffix, image)
        if not good:
            height, width = image.shape[:2]
            raise InputError(
                f"the picture of frame '{name}' is {width} x {height}, too "
                f'large for {suffix}'
            )
        write_atomic(self.folder / name, content.tobytes())


def written_files(
    path: Union[str, Path], frames: Union[VideoFile, FrameFiles]
) -> List[Path]:
    """List the files that :func:`open_output` leads to for some frames.

    In a folder, the frames of a video file count as the folder alone.
    """
    path = Path(path)
    if path.suffix:
        return [path]
    return [path / p.relative_to(frames.path) for p in frames.paths]


def open_output(
    path: str,
    fps: float = DEFAULT_FPS,
    overwrite: bool = False,
    resume: bool = False,
) -> Union[VideoWriter, FrameWriter]:
    """Choose between a video and a folder of frames, by the suffix.

    Args:
        path (str): An ``.mp4`` or ``.avi`` file, or without a suffix a
            folder.
        fps (float): Frames per second of a video. Defaults to 25.
        overwrite (bool): Whether older output may be replaced; other files
            of a folder stay. Defaults to ``False``.
        resume (bool): Whether to keep the frames that the folder has. A
            video cannot be resumed. Defaults to ``False``.

    Raises:
        InputError: If the suffix is unknown, there is older output, or a
            video is to be resumed.
    """
    suffix = Path(path).suffix
    if suffix and suffix.lower() not in _CODECS:
        raise InputError(
            f"output '{path}' has the unknown suffix '{suffix}': expected "
            f'{", ".join(_CODECS)}, or none for a folder of frames'
        )
    if suffix:
        if resume:
            raise InputError(
                f"video '{path}' cannot be resumed: --resume needs a folder "
                'of frames as output'
            )
        check_output_file(path, overwrite)
        return VideoWriter(path, fps)
    if Path(path).is_file():
        raise InputError(f"output folder '{path}' is a file")
    used = Path(path).is_dir() and any(Path(path).iterdir())
    if used and not (overwrite or resume):
        raise InputError(
            f"output folder '{path}' is not empty: choose another name, give "
            '--overwrite, or --resume after it'
        )
    return FrameWriter(path, resume)


def device_time(device: Union[str, torch.device]) -> float:
    """The time in seconds once a device has done its work so far."""
    if torch.device(device).type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()
