"""Detection that is interrupted, shared between ranks, or both."""

import json

import mmengine.dist as dist
import pytest
from mmengine.config import Config

from mmpose_ext.errors import InputError
from mmpose_ext.inference import (
    PersonDetector,
    describe_run,
    detect_to_file,
    read_images,
)

RUN = dict(score_thr=0.0)


@pytest.fixture(scope='module')
def detector(tiny_detector):
    config, checkpoint = tiny_detector
    return PersonDetector(Config.fromfile(config), str(checkpoint))


@pytest.fixture(scope='module')
def images(toy_persons):
    return read_images(
        toy_persons / 'annotations/person_keypoints_val.json',
        toy_persons / 'val',
    )


@pytest.fixture(scope='module')
def expected(detector, images, tmp_path_factory):
    """The bytes of a file that was written without interruption."""
    out = tmp_path_factory.mktemp('expected') / 'boxes.json'
    detect_to_file(detector, images, out, RUN, batch_size=2)
    return out.read_bytes()


def interrupt_after(detector, monkeypatch, steps):
    """Let the detector end like a killed process after some steps."""
    predict, left = detector.predict, iter(range(steps))

    def predict_or_end(samples):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return predict(samples)

    monkeypatch.setattr(detector, 'predict', predict_or_end)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file(expected, detector, images):
    boxes = json.loads(expected)
    assert {b['image_id'] for b in boxes} == {id_ for id_, _ in images}
    order = [id_ for id_, _ in images]
    assert [order.index(b['image_id']) for b in boxes] == sorted(
        order.index(b['image_id']) for b in boxes
    )
    for box in boxes:
        assert sorted(box) == ['bbox', 'category_id', 'image_id', 'score']
        assert box['category_id'] == 1
        assert min(box['bbox'][2:]) > 0
        assert 0 < box['score'] <= 1
    first = [b['score'] for b in boxes if b['image_id'] == order[0]]
    assert first == sorted(first, reverse=True)


def test_workers_change_nothing(detector, images, tmp_path, expected):
    out = tmp_path / 'new/boxes.json'
    boxes = detect_to_file(
        detector, images, out, RUN, batch_size=2, num_workers=1
    )
    assert out.read_bytes() == expected
    assert json.loads(expected) == boxes
    assert names(out.parent) == ['boxes.json']


@pytest.mark.parametrize(
    ('name', 'tear'), [('boxes.json', False), ('boxes[1].json', True)]
)
def test_goes_on_after_an_interruption(
    detector, images, tmp_path, expected, monkeypatch, name, tear
):
    out = tmp_path / name
    with monkeypatch.context() as patch:
        interrupt_after(detector, patch, 2)
        with pytest.raises(KeyboardInterrupt):
            detect_to_file(detector, images, out, RUN, batch_size=2)
    assert names(tmp_path) == [f'{name}.partial.0.jsonl']
    partial = tmp_path / f'{name}.partial.0.jsonl'
    whole = partial.read_bytes()
    assert len(whole.splitlines()) == 3  # with the header
    if tear:
        partial.write_bytes(whole[:-5])
        # The torn line is replaced by that of the same batch.
        with monkeypatch.context() as patch:
            interrupt_after(detector, patch, 1)
            with pytest.raises(KeyboardInterrupt):
                detect_to_file(detector, images, out, RUN, batch_size=2)
        assert partial.read_bytes() == whole

    with monkeypatch.context() as patch:
        interrupt_after(detector, patch, 1)  # just enough
        detect_to_file(detector, images, out, RUN, batch_size=2)
    assert out.read_bytes() == expected
    assert names(tmp_path) == [name]


def test_killed_while_it_wrote_the_first_line(
    detector, images, tmp_path, expected
):
    (tmp_path / 'boxes.json.partial.0.jsonl').write_bytes(b'{"score')
    out = tmp_path / 'boxes.json'
    detect_to_file(detector, images, out, RUN, batch_size=2)
    assert out.read_bytes() == expected


def test_wrong_numbers(tmp_path):
    for name, value in [('batch_size', 0), ('num_workers', -1)]:
        with pytest.raises(ValueError, match=f'{name} .* got {value}'):
            detect_to_file(None, [], tmp_path / 'a', RUN, **{name: value})
    assert names(tmp_path) == []


HEADER = json.dumps({**RUN, 'batch_size': 2}).encode() + b'\n'
BOX = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)


def batch_line(*content):
    return HEADER + json.dumps(content).encode() + b'\n'


@pytest.mark.parametrize(
    'content, message',
    [
        (bytes(50) + b'\n', 'line 1 '),
        (b'\xff\xfegarbage\n', 'line 1 '),
        (b'garbage', 'line 1 .*Expecting value'),
        (b'[]\n', r'line 1 .*expected a dict, got \[\]'),
        (HEADER + b'\x00\x00\n', 'line 2 '),
        (HEADER + b'[' * 100_000 + b'\n', 'line 2 .*recursion'),
        (
            HEADER + b'{"batch": 0}\n',
            r'line 2 .*expected \[batch, boxes\]',
        ),
        (batch_line(0, [BOX], 2), r'line 2 .*expected \[batch, boxes\]'),
        (batch_line(2, []), 'line 2 .*expected a batch from 0 to 1, got 2'),
        (batch_line(-1, []), 'expected a batch from 0 to 1, got -1'),
        (batch_line(True, []), 'expected a batch from 0 to 1, got True'),
        (batch_line('0', []), "expected a batch from 0 to 1, got '0'"),
        (batch_line(0, 5), 'line 2 .*got a int'),
        (batch_line(0, [5]), 'line 2 .*entry 0'),
        (batch_line(0, [dict(BOX, bbox='abcd')]), "entry 0: bbox 'abcd'"),
        (batch_line(0, [dict(BOX, score=float('nan'))]), 'entry 0: score nan'),
        (batch_line(0, [dict(BOX, image_id=[1])]), 'line 2 '),
        # That of the third image is in the second batch.
        (batch_line(0, [dict(BOX, image_id=3)]), 'line 2 .*1 image ids'),
    ],
)
def test_a_damaged_partial_file_is_named(
    content, message, detector, images, tmp_path
):
    assert [id_ for id_, _ in images[:3]] == [1, 2, 3]
    partial = tmp_path / 'boxes.json.partial.0.jsonl'
    partial.write_bytes(content)
    out = tmp_path / 'boxes.json'
    with pytest.raises(InputError, match=message) as error:
        detect_to_file(detector, images[:3], out, RUN, batch_size=2)
    assert f'of {partial} is damaged' in str(error.value)
    assert 'Remove the file' in str(error.value)
    assert partial.read_bytes() == content
    assert not out.exists()


def test_goes_on_with_another_number_of_ranks(
    detector, images, tmp_path, expected, monkeypatch
):
    """Rank 1 of 2 is interrupted, then one process alone goes on."""
    out = tmp_path / 'boxes.json'
    with monkeypatch.context() as patch:
        patch.setattr(dist, 'get_rank', lambda: 1)
        patch.setattr(dist, 'get_world_size', lambda: 2)
        patch.setattr(dist, 'all_gather_object', lambda done: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            detect_to_file(detector, images, out, RUN, batch_size=2)
    assert names(tmp_path) == ['boxes.json.partial.1.jsonl']
    partial = (tmp_path / 'boxes.json.partial.1.jsonl').read_text()
    batches = [json.loads(line)[0] for line in partial.splitlines()[1:]]
    assert batches == [1]

    with monkeypatch.context() as patch:
        interrupt_after(detector, patch, 2)
        detect_to_file(detector, images, out, RUN, batch_size=2)
    assert out.read_bytes() == expected
    assert names(tmp_path) == ['boxes.json']


def test_boxes_of_another_run_are_not_taken(
    detector, images, tmp_path, monkeypatch
):
    out = tmp_path / 'boxes.json'
    interrupt_after(detector, monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        detect_to_file(detector, images, out, RUN, batch_size=2)
    before = (tmp_path / 'boxes.json.partial.0.jsonl').read_bytes()
    for run, size, message in [
        (dict(score_thr=0.5), 2, 'score_thr 0.0, now 0.5'),
        (RUN, 3, 'batch_size 2, now 3'),
    ]:
        with pytest.raises(InputError, match=f'partial.0.*{message}'):
            detect_to_file(detector, images, out, run, batch_size=size)
    assert (tmp_path / 'boxes.json.partial.0.jsonl').read_bytes() == before


@pytest.mark.parametrize('num_workers', [0, 1])
def test_an_image_that_cannot_be_decoded(
    detector, images, tmp_path, num_workers
):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'\xff\xd8 no picture')
    with pytest.raises(InputError, match=r'broken\.jpg'):
        detect_to_file(
            detector,
            [*images[:2], (99, broken)],
            tmp_path / 'boxes.json',
            RUN,
            batch_size=2,
            num_workers=num_workers,
        )
    assert not (tmp_path / 'boxes.json').exists()


def test_description_of_a_run(tmp_path, tiny_detector):
    config, checkpoint = map(str, tiny_detector)
    config = Config.fromfile(config)
    ann_file = tmp_path / 'x.json'
    ann_file.write_text('{}')
    run = describe_run(config, checkpoint, ann_file, score_thr=0.5)
    assert run['score_thr'] == 0.5
    config.work_dir = 'elsewhere'
    assert describe_run(config, checkpoint, ann_file, score_thr=0.5) == run

    def differing(*args):
        other = describe_run(*args, score_thr=0.5)
        return [key for key in run if run[key] != other[key]]

    ann_file.write_text('{ }')
    assert differing(config, checkpoint, ann_file) == ['ann_file']
    ann_file.write_text('{}')
    url = 'https://example.org/x.pth'
    assert differing(config, url, ann_file) == ['checkpoint']
    config.model.test_cfg.score_thr = 0.3
    assert differing(config, checkpoint, ann_file) == ['config']
