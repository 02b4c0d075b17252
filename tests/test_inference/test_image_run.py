from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmpose_ext.errors import InputError
from mmpose_ext.inference.image_run import ImageRun, blamed_on

PATHS = [Path(f'in/{name}.jpg') for name in 'abcd']


def halve(number: int) -> int:
    """A step that fails as OpenCV does for odd numbers."""
    if number % 2:
        cv2.resize(np.zeros((2, 2)), (0, number))
    return number // 2


def test_images_that_fail_are_left_out(capsys):
    run = ImageRun('in', 4)
    items = dict(zip(PATHS, (2, 3, 4, 5)))
    assert list(run.each(halve, items)) == [(PATHS[0], 1), (PATHS[2], 2)]
    assert run.skipped == [PATHS[1], PATHS[3]]
    assert run.done == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == ''
    assert len(lines) == 2
    for line, name in zip(lines, 'bd'):
        assert line.startswith(f"skipped: image 'in/{name}.jpg': error: Open")
        assert 'resize' in line

    with pytest.raises(SystemExit) as e:
        run.finish()
    assert e.value.code == 1
    assert capsys.readouterr().err == (
        "2 of 4 images done; skipped: 'in/b.jpg', 'in/d.jpg'\n"
    )


def test_a_batch_is_repeated_without_the_ones_that_fail():
    run = ImageRun('in', 4)
    calls = []

    def work(items):
        calls.append(list(items.values()))
        return [halve(number) for number in items.values()]

    items = dict(zip(PATHS, (2, 3, 4, 6)))
    assert run.batch(work, items) == {PATHS[0]: 1, PATHS[2]: 2, PATHS[3]: 3}
    assert run.skipped == [PATHS[1]]
    assert calls == [[2, 3, 4, 6], [2], [3], [4], [6]]
    calls.clear()
    assert run.batch(work, {PATHS[0]: 8}) == {PATHS[0]: 4}
    assert calls == [[8]]
    assert run.batch(lambda items: 1 / 0, {}) == {}


def test_nothing_to_report(capsys):
    run = ImageRun('in', 4)
    assert dict(run.each(halve, {PATHS[0]: 2})) == {PATHS[0]: 1}
    run.finish()
    assert capsys.readouterr() == ('', '')


def test_many_are_counted(capsys):
    run = ImageRun('in', 13)
    run.skipped = [Path(f'{i}.jpg') for i in range(12)]
    with pytest.raises(SystemExit):
        run.finish()
    error = capsys.readouterr().err
    assert "1 of 13 images done; skipped: '0.jpg', '1.jpg'," in error
    assert error.endswith("'9.jpg', and 2 more\n")


def test_a_single_image_ends_the_run(tmp_path):
    path = tmp_path / 'a.jpg'
    path.touch()
    run = ImageRun(str(path), 1)
    with pytest.raises(InputError, match=r"^image '.*a\.jpg': error: OpenCV"):
        list(run.each(halve, {path: 1}))
    assert run.skipped == []


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (InputError("image 'x.jpg' is odd"), "^image 'x.jpg' is odd$"),
        (InputError('too\nlarge'), "^image 'x.jpg': too large$"),
        (MemoryError(), "^image 'x.jpg': MemoryError: $"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 B"),
            "^image 'x.jpg': RuntimeError: DefaultCPUAllocator: can't .* 9 B$",
        ),
        (
            torch.cuda.OutOfMemoryError('CUDA out of memory.'),
            "^image 'x.jpg': OutOfMemoryError: CUDA out of memory.$",
        ),
    ],
)
def test_what_is_blamed_on_an_image(error, message):
    with pytest.raises(InputError, match=message), blamed_on('x.jpg'):
        raise error


@pytest.mark.parametrize('error', [ValueError, RuntimeError, OSError])
def test_errors_of_the_program_keep_their_traceback(error):
    run, calls = ImageRun('in', 2), []

    def fail(item):
        calls.append(item)
        raise error('a defect')

    items = dict(zip(PATHS, (1, 2)))
    for step in (run.batch, lambda *args: list(run.each(*args))):
        with pytest.raises(error, match=r'^a defect$'):
            step(fail, items)
    assert calls == [items, 1]
    assert run.skipped == []
