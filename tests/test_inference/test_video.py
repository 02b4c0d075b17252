"""Frames read from and written to videos and folders."""

import re
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmpose_ext.errors import InputError
from mmpose_ext.inference.video import (
    FrameFiles,
    FrameWriter,
    VideoFile,
    VideoWriter,
    device_time,
    open_frames,
    open_output,
    written_files,
)


def picture(i: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A grey picture, the brighter the larger its number."""
    return np.full((height, width, 3), 20 * i % 256, dtype=np.uint8)


def write_video(path: Path, number: int = 7, fps: float = 12.5) -> Path:
    with VideoWriter(path, fps) as video:
        for i in range(number):
            video.write(str(i), picture(i))
    return path


def files(folder: Path):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize('suffix', ['.mp4', '.avi', '.AVI'])
def test_a_video_comes_back(suffix, tmp_path):
    path = write_video(tmp_path / f'new/folder/a{suffix}')
    assert files(path.parent) == [path.name]
    video = open_frames(str(path))
    assert isinstance(video, VideoFile)
    assert (video.number, video.fps, video.path) == (7, 12.5, path)
    for _ in range(2):  # the frames can be asked for again
        frames = [(name, decode()) for name, decode in video]
        assert [name for name, _ in frames] == [
            f'{i:06d}.jpg' for i in range(1, 8)
        ]
        for i, (_, image) in enumerate(frames):
            assert image.dtype == np.uint8
            assert image.shape == (48, 64, 3)
            assert np.abs(image.astype(int) - picture(i)).max() <= 5


def test_odd_sizes_lose_nothing(tmp_path):
    image = picture(5, 47, 63)
    image[-1] = 255
    with VideoWriter(tmp_path / 'a.avi') as video:
        video.write('a', image)
    (image,) = [decode() for _, decode in VideoFile(tmp_path / 'a.avi')]
    assert image.shape == (48, 64, 3)
    assert image[-2:].min() > 200
    assert image[:40].max() < 120


def test_a_video_is_whole_or_not_there(tmp_path):
    path = write_video(tmp_path / 'a.mp4', number=2)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), VideoWriter(path) as video:
        video.write('0', picture(0))
        old, part = files(tmp_path)
        assert old == 'a.mp4'
        assert re.fullmatch(r'a\.mp4\.\w+\.part\.mp4', part)
        assert path.read_bytes() == before
        raise ZeroDivisionError
    assert files(tmp_path) == ['a.mp4']
    assert path.read_bytes() == before
    write_video(path)
    assert VideoFile(path).number == 7


def test_frames_of_a_video_have_one_size(tmp_path):
    message = r"'b\.png' is 60 x 48, .* 64 x 48.*folder"
    with (
        pytest.raises(InputError, match=message),
        VideoWriter(tmp_path / 'a.mp4') as video,
    ):
        video.write('a.png', picture(0))
        video.write('b.png', picture(0, width=60))
    assert files(tmp_path) == []


def test_sizes_of_images_are_checked_by_their_headers(tmp_path):
    paths = [tmp_path / f'{i}.png' for i in range(4)]
    for path, width in zip(paths, (64, 64, 60, 64)):
        cv2.imwrite(str(path), picture(0, width=width))
    frames = FrameFiles(paths)
    frames.check_one_size(2)
    message = r"2\.png' is 60 x 48 px, the first .*0\.png', is 64 x 48: a vid"
    for number in (None, 3, 9):
        with pytest.raises(InputError, match=message):
            frames.check_one_size(number)
    paths[1].write_bytes(b'no picture')
    with pytest.raises(InputError, match=r"1\.png' cannot be read"):
        frames.check_one_size()


def test_frames_that_a_format_cannot_have(tmp_path):
    writer = FrameWriter(tmp_path)
    with pytest.raises(InputError, match=r"'a\.webp' is 16400 x 2, too large"):
        writer.write('a.webp', picture(0, 2, 16400))
    assert files(tmp_path) == []


def test_a_rate_that_the_codec_cannot_have(tmp_path):
    with (
        pytest.raises(InputError, match=r'64 x 48 .* 90000\.5 frames'),
        VideoWriter(tmp_path / 'a.mp4', 90000.5) as video,
    ):
        video.write('a', picture(0))
    assert files(tmp_path) == []


def test_a_rate_that_is_not_positive():
    with pytest.raises(ValueError, match=r'^fps must be .* 0$'):
        VideoWriter('a.mp4', 0)


@pytest.mark.parametrize('suffix', ['.mp4', '.avi'])
def test_a_full_disk(suffix, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    try:
        with (
            pytest.raises(OSError, match='disk may be full'),
            VideoWriter(tmp_path / f'a{suffix}') as video,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
            for _ in range(20):
                video.write('a', noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []


def test_a_damaged_video_gives_what_it_has(tmp_path):
    path = tmp_path / 'a.avi'
    rng = np.random.default_rng(0)
    with VideoWriter(path) as video:
        for _ in range(20):
            video.write('a', rng.integers(0, 256, (120, 160, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = VideoFile(path)
    with pytest.warns(UserWarning, match=r'a\.avi.* after (9|10|11) of 20'):
        frames = list(video)
    assert 9 <= len(frames) <= 11


class Capture:
    """OpenCV's, wrapped, since a subclass of it crashes."""

    def __init__(self, path, capture=cv2.VideoCapture):
        self.capture = capture(path)

    def read(self):
        return self.capture.read()

    def get(self, key):
        return self.capture.get(key)


@pytest.mark.parametrize('rate', [0.0, float('nan'), float('inf')])
def test_a_video_without_rate_and_count(rate, tmp_path, monkeypatch):
    class Unknown(Capture):
        def get(self, key):
            unknown = {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: -1}
            return unknown.get(key, super().get(key))

    path = write_video(tmp_path / 'a.avi')
    monkeypatch.setattr(cv2, 'VideoCapture', Unknown)
    video = VideoFile(path)
    assert (video.fps, video.number) == (25, 0)
    assert len(list(video)) == 7


def test_a_damaged_frame_is_not_the_end(tmp_path, monkeypatch):
    class Damaged(Capture):
        def read(self):
            good, image = super().read()
            second = self.get(cv2.CAP_PROP_POS_FRAMES) == 2
            return (False, None) if second else (good, image)

    path = write_video(tmp_path / 'a.avi')
    monkeypatch.setattr(cv2, 'VideoCapture', Damaged)
    frames = iter(VideoFile(path))
    assert next(frames)[1]().shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"^frame 2 of video '.*a\.avi' can"):
        next(frames)


def test_frames_of_files(tmp_path):
    for name in ('b/frame10.png', 'b/frame2.png', 'a/frame3.PNG'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), picture(len(name)))
    (tmp_path / 'b/notes.txt').touch()
    frames = open_frames(str(tmp_path / 'b'))
    assert (frames.number, frames.fps, frames.path) == (2, 25, tmp_path / 'b')
    assert [name for name, _ in frames] == ['frame2.png', 'frame10.png']
    decoded = [decode() for _, decode in frames]
    np.testing.assert_array_equal(decoded, [picture(12), picture(13)])

    frames = open_frames(str(tmp_path / '*/frame?.*'))
    assert [name for name, _ in frames] == ['a/frame3.PNG', 'b/frame2.png']
    ((name, _),) = open_frames(str(tmp_path / 'a/frame3.PNG'))
    assert name == 'frame3.PNG'

    (tmp_path / 'b/frame3.png').write_bytes(b'no picture')
    good, bad, _ = open_frames(str(tmp_path / 'b'))
    assert good[1]().shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"b/frame3\.png' cannot be decoded"):
        bad[1]()


def test_what_an_input_is(tmp_path):
    (tmp_path / 'broken.mp4').write_bytes(b'no video at all')
    path = write_video(tmp_path / 'take[1].avi')
    assert isinstance(open_frames(str(path)), VideoFile)
    (tmp_path / 'no_images').mkdir()
    (tmp_path / 'empty.mp4').touch()
    for source, message in [
        ('gone.mp4', r"video '.*gone\.mp4' does not exist"),
        ('gone', r"'.*gone' does not exist"),
        ('broken.mp4', r"video '.*broken\.mp4' cannot be decoded"),
        ('empty.mp4', r"empty\.mp4' is empty"),
        ('no_images', "no images at '.*no_images'"),
        ('*.png', r"no images at '.*\*\.png'"),
        ('gone.png', r"no images at '.*gone\.png'"),
        ('b*.mp4', r"frame '.*broken\.mp4' is not an image: expected one"),
    ]:
        with pytest.raises(InputError, match=message):
            open_frames(str(tmp_path / source))
    with pytest.raises(InputError, match='not an image'):
        FrameFiles([Path('a.png'), Path('a.txt')])


def test_frames_in_a_folder(tmp_path):
    folder = FrameWriter(tmp_path / 'out')
    with folder as out:
        assert files(tmp_path) == []
        for name in ('1.png', 'a/2.BMP', '3.jpg', '4.tiff', '5.webp'):
            out.write(name, picture(9))
            image = cv2.imread(str(tmp_path / 'out' / name))
            assert np.abs(image.astype(int) - picture(9)).max() <= 3
    assert files(tmp_path / 'out') == [
        *('1.png', '3.jpg', '4.tiff', '5.webp', 'a')
    ]
    assert '1.png' not in folder
    folder = FrameWriter(tmp_path / 'out', resume=True)
    assert '1.png' in folder
    assert 'a/2.BMP' in folder
    assert '2.png' not in folder


def test_what_an_output_is(tmp_path):
    video = open_output(str(tmp_path / 'a.mp4'), 30)
    assert isinstance(video, VideoWriter)
    assert video.fps == 30
    assert '000001.jpg' not in video
    assert isinstance(open_output(str(tmp_path)), FrameWriter)

    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / '1.jpg').touch()
    (tmp_path / 'b.avi').touch()
    (tmp_path / 'file').touch()
    for name, resume, message in [
        ('a.mkv', False, r"a\.mkv' has the unknown suffix '\.mkv'.*\.mp4"),
        ('b.avi', False, 'exists already'),
        ('a.mp4', True, r"video '.*a\.mp4' cannot be resumed"),
        ('folder', False, "folder' is not empty.*--resume"),
        ('file', False, "file' is a file"),
        ('file', True, "file' is a file"),
    ]:
        with pytest.raises(InputError, match=message):
            open_output(str(tmp_path / name), resume=resume)
    assert '1.jpg' in open_output(str(folder), resume=True)
    assert '1.jpg' not in open_output(str(folder), overwrite=True)
    open_output(str(tmp_path / 'b.avi'), overwrite=True)


def test_what_an_output_writes(tmp_path):
    video = open_frames(str(write_video(tmp_path / 'in.avi')))
    for name in ('a/2.png', 'b/10.png'):
        (tmp_path / name).parent.mkdir()
        cv2.imwrite(str(tmp_path / name), picture(1))
    images = open_frames(str(tmp_path / '*/*.png'))
    assert video.paths == [tmp_path / 'in.avi']
    assert images.paths == [tmp_path / 'a/2.png', tmp_path / 'b/10.png']

    out = Path('x/out.mp4')
    for frames in (video, images):
        assert written_files(out, frames) == [out]
    assert written_files('.', images) == [Path('a/2.png'), Path('b/10.png')]
    # The folder of a video is none of its frames.
    assert written_files(tmp_path, video) == [tmp_path]


def test_the_time_waits_for_a_gpu(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, 'synchronize', waited.append)
    first = device_time('cpu')
    assert waited == []
    assert device_time('cuda:0') >= first
    assert waited == ['cuda:0']
