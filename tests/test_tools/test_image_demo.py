"""demo/image_demo.py, from the command line."""

import json
import re
import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpose.models import build_pose_estimator

from mmpose_ext.errors import InputError

DEMO = Path(__file__).parents[2] / 'demo/image_demo.py'
main = runpy.run_path(str(DEMO))['main']


@pytest.fixture
def detector(tiny_detector):
    config, checkpoint = map(str, tiny_detector)
    return ['--det-config', config, '--det-checkpoint', checkpoint]


@pytest.fixture
def demo(pose_model, tmp_path):
    def run(source, *options):
        main(
            [
                *(str(source), *pose_model, '--device', 'cpu'),
                *('--out-dir', str(tmp_path / 'out'), *map(str, options)),
            ]
        )
        return tmp_path / 'out'

    return run


def persons_of(out, name):
    path = out / 'predictions' / f'{name}.json'
    return json.loads(path.read_text())['instance_info']


def files(folder):
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()
    )


def test_folder_with_a_detector(demo, detector, toy_persons, capsys):
    out = demo(toy_persons / 'val', *detector, '--score-thr', 0.6)
    names = [f'{i:012d}' for i in range(1, 7)]
    assert files(out) == [
        *(f'predictions/{name}.json' for name in names),
        *(f'visualizations/{name}.jpg' for name in names),
    ]
    numbers = 0
    for name in names:
        for person in persons_of(out, name):
            numbers += 1
            assert np.shape(person['keypoints']) == (17, 2)
            assert np.shape(person['keypoint_scores']) == (17,)
            (box,) = person['bbox']
            assert box[0] < box[2] <= 256
            assert box[1] < box[3] <= 192
            assert person['bbox_score'] >= 0.6
    assert numbers > 0
    assert f'{numbers} persons in 6 images' in capsys.readouterr().out


def test_whole_image(demo, toy_persons):
    out = demo(toy_persons / 'val/000000000002.jpg', '--kpt-thr', -1)
    (person,) = persons_of(out, '000000000002')
    assert person['bbox'] == [[0, 0, 256, 192]]
    assert person['bbox_score'] == 1
    prediction = out / 'predictions/000000000002.json'
    meta = json.loads(prediction.read_text())['meta_info']
    assert meta['dataset_name'] == 'coco'
    assert meta['keypoint_names'][0] == 'nose'
    assert len(meta['skeleton_links'][0]) == 2
    assert (meta['width'], meta['height']) == (256, 192)
    assert meta['image'].endswith('val/000000000002.jpg')

    # Three times as large, with something drawn at the first keypoint.
    drawn = cv2.imread(str(out / 'visualizations/000000000002.jpg'))
    image = cv2.imread(str(toy_persons / 'val/000000000002.jpg'))
    assert drawn.shape == (576, 768, 3)
    plain = cv2.resize(image, (768, 576), interpolation=cv2.INTER_CUBIC)
    x, y = (3 * np.array(person['keypoints'][0]) + 1).round().astype(int)
    assert np.abs(drawn.astype(int) - plain)[y, x].max() > 40


def test_boxes_of_a_file(demo, toy_persons, tmp_path):
    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    box = dict(category_id=1, bbox=[10, 20, 60, 80])
    boxes = [
        {**box, 'image_id': 1, 'score': 0.5},
        {**box, 'image_id': 1, 'score': 0.9},
        {**box, 'image_id': 1, 'score': 0.1},  # below the threshold
        {**box, 'image_id': 2, 'score': 0.1},
    ]
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(boxes))
    pattern = toy_persons / 'val/00000000000[12].jpg'
    out = demo(pattern, '--boxes', path, '--ann-file', ann_file)
    found = persons_of(out, '000000000001')
    assert [p['bbox'] for p in found] == [[[10, 20, 70, 100]]] * 2
    assert [p['bbox_score'] for p in found] == pytest.approx([0.9, 0.5])
    assert persons_of(out, '000000000002') == []

    # Nobody found: the picture is only enlarged.
    drawn = cv2.imread(str(out / 'visualizations/000000000002.jpg'))
    image = cv2.imread(str(toy_persons / 'val/000000000002.jpg'))
    plain = cv2.resize(image, (768, 576), interpolation=cv2.INTER_CUBIC)
    assert np.abs(drawn.astype(int) - plain).mean() < 4


def test_batches_change_nothing(demo, detector, toy_persons, tmp_path):
    source = toy_persons / 'val'
    out = demo(source, *detector, '--batch-size', 1)
    one = [persons_of(out, f'{i:012d}') for i in range(1, 7)]
    demo(source, *detector, '--batch-size', 4, '--overwrite')
    four = [persons_of(out, f'{i:012d}') for i in range(1, 7)]
    for a, b in zip(one, four):
        assert len(a) == len(b)
        for person, same in zip(a, b):
            np.testing.assert_allclose(person['bbox'], same['bbox'], atol=1e-2)


def test_outputs_keep_the_folders_of_the_images(demo, toy_persons, tmp_path):
    image = toy_persons / 'val/000000000001.jpg'
    for folder in ('a', 'b'):
        (tmp_path / 'in' / folder).mkdir(parents=True)
        shutil.copy(image, tmp_path / 'in' / folder / 'x.jpg')
    out = demo(tmp_path / 'in/*/x.jpg')
    assert files(out / 'predictions') == ['a/x.json', 'b/x.json']

    shutil.copy(image, tmp_path / 'in/a/x.jpeg')
    with pytest.raises(InputError, match='same outputs'):
        demo(tmp_path / 'in/a', '--overwrite')


def test_existing_outputs(demo, toy_persons):
    source = toy_persons / 'val/000000000001.jpg'
    out = demo(source)
    picture = out / 'visualizations/000000000001.jpg'
    picture.write_bytes(b'mine')
    with pytest.raises(InputError, match=r'visualizations/0+1'):
        demo(toy_persons / 'val')
    assert len(files(out)) == 2

    demo(toy_persons / 'val', '--resume')
    assert len(files(out)) == 12
    assert picture.read_bytes() == b'mine'
    demo(source, '--overwrite')
    assert picture.read_bytes() != b'mine'


def test_inputs_are_not_replaced(demo, toy_persons, tmp_path):
    folder = tmp_path / 'out/visualizations'
    folder.mkdir(parents=True)
    image = folder / '1.jpg'
    shutil.copy(toy_persons / 'val/000000000001.jpg', image)
    before = image.read_bytes()
    for source in (folder, image):
        for option in ('--overwrite', '--resume'):
            with pytest.raises(InputError, match=r"1\.jpg' would replace"):
                demo(source, option)

    # Another input, and a link to it where the JSON would go.
    other = tmp_path / 'in/2.jpg'
    other.parent.mkdir()
    shutil.copy(image, other)
    prediction = tmp_path / 'out/predictions/2.json'
    prediction.parent.mkdir()
    prediction.symlink_to(other)
    with pytest.raises(InputError, match=r"2\.json' would replace"):
        demo(other, '--overwrite')
    prediction.unlink()
    assert files(tmp_path) == ['in/2.jpg', 'out/visualizations/1.jpg']
    assert image.read_bytes() == other.read_bytes() == before

    demo(other)
    assert image.read_bytes() == before


def test_nobody_scores_enough(demo, detector, toy_persons, tmp_path, capsys):
    source = toy_persons / 'val/00000000000[12].jpg'
    high = ['--score-thr', 2, '--overwrite']
    demo(source, *high)
    hint = 'no person scored at least 2: the highest score was '
    assert f'{hint}1, see --score-thr\n' in capsys.readouterr().err
    demo(source, *high, *detector)
    assert f'{hint}0.' in capsys.readouterr().err
    demo(source, '--score-thr', 1, '--overwrite')
    demo(source, '--resume', '--score-thr', 2)
    assert 'no person' not in capsys.readouterr().err

    boxes = tmp_path / 'boxes.json'
    boxes.write_text('[]')
    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    from_file = ['--boxes', boxes, '--ann-file', ann_file]
    demo(source, '--overwrite', *from_file)
    printed = capsys.readouterr()
    assert 'no person was found' in printed.err
    assert '0 persons in 2 images' in printed.out


def test_bottomup(toy_persons, detector, tmp_path):
    config = Path(__file__).parents[1] / 'tiny_bottomup.py'
    checkpoint = tmp_path / 'random.pth'
    torch.manual_seed(0)
    model = build_pose_estimator(Config.fromfile(config).model)
    model.head.heatmap_conv_layers[-1].bias.data.fill_(0.5)
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    out = tmp_path / 'out'

    def run(*options, image=toy_persons / 'val/000000000002.jpg'):
        arguments = [image, config, checkpoint, '--out-dir', out, *options]
        main([*map(str, arguments), '--device', 'cpu'])
        return persons_of(out, '000000000002')

    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('[]')
    for options in (detector, ['--boxes', boxes, '--ann-file', ann_file]):
        with pytest.raises(InputError, match='finds the persons itself'):
            run(*options)
        assert not out.exists()

    persons = run('--score-thr', 0)
    assert len(persons) == 5
    thin = tmp_path / 'thin.png'
    cv2.imwrite(str(thin), np.zeros((2, 2000, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r'thin\.png.* 128000 x 128 px is t'):
        run(image=thin)

    for person in persons:
        x, y = np.transpose(person['keypoints'])
        assert person['bbox'] == [[x.min(), y.min(), x.max(), y.max()]]
    assert run('--score-thr', 0.9, '--overwrite') == []


@pytest.fixture
def mixed(toy_persons, tmp_path):
    """A folder of good images, bad ones, and one of 2000 x 2 pixels."""
    folder = tmp_path / 'mixed'
    folder.mkdir()
    for i in (1, 2):
        shutil.copy(toy_persons / f'val/{i:012d}.jpg', folder / f'{i}.jpg')
    thin = np.full((2, 2000, 3), 90, dtype=np.uint8)
    cv2.imwrite(str(folder / '1thin.png'), thin)
    (folder / '1text.jpg').write_bytes(b'no picture')
    (folder / '1void.png').touch()
    (folder / '1folder.jpg').mkdir()
    return folder


BAD = ['1folder.jpg', '1text.jpg', '1void.png']


def skipping(run, capsys):
    """What a run says on stderr that has skipped images."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as e:
        run()
    assert e.value.code == 1
    printed = capsys.readouterr()
    assert 'Traceback' not in printed.err
    return printed.out, printed.err


@pytest.mark.parametrize('batch_size', [1, 8])
def test_bad_images_are_skipped(
    demo, detector, mixed, batch_size, tmp_path, capsys
):
    batch = ['--batch-size', batch_size]
    told, error = skipping(lambda: demo(mixed, *detector, *batch), capsys)
    out = tmp_path / 'out'
    assert files(out / 'predictions') == ['1.json', '1thin.json', '2.json']
    assert files(out / 'visualizations') == ['1.jpg', '1thin.jpg', '2.jpg']
    assert re.search(r'\d persons in 3 images: ', told)
    for name in BAD:
        assert f"skipped: image '{mixed / name}' " in error
    names = ', '.join(f"'{mixed / name}'" for name in BAD)
    assert f'3 of 6 images done; skipped: {names}\n' in error
    one = demo(mixed / '1.jpg', *detector, '--overwrite')
    assert persons_of(one, '1') == persons_of(out, '1')

    # Once they are good, --resume does them.
    good = (mixed / '1.jpg').read_bytes()
    (mixed / BAD[0]).rmdir()
    for name in BAD[1:]:
        (mixed / name).write_bytes(good)
    demo(mixed, *detector, '--resume')
    assert len(files(out)) == 10
    assert '2 images' in capsys.readouterr().out


def test_old_outputs_of_bad_images_stay(demo, mixed, tmp_path, capsys):
    old = tmp_path / 'out/predictions/1text.json'
    old.parent.mkdir(parents=True)
    old.write_text('old')
    skipping(lambda: demo(mixed, '--overwrite'), capsys)
    assert old.read_text() == 'old'


@pytest.mark.parametrize('shape', [(1, 1), (3000, 1), (1, 3000), (3, 32766)])
def test_any_aspect_ratio(demo, detector, shape, tmp_path):
    path = tmp_path / 'x.png'
    cv2.imwrite(str(path), np.zeros((*shape, 3), dtype=np.uint8))
    out = demo(path)
    (person,) = persons_of(out, 'x')
    assert person['bbox'] == [[0, 0, shape[1], shape[0]]]
    demo(path, *detector, '--overwrite')
    factor = 4 if shape == (1, 1) else 1
    drawn = cv2.imread(str(out / 'visualizations/x.jpg'))
    assert drawn.shape[:2] == (factor * shape[0], factor * shape[1])


def test_images_that_are_too_large(demo, detector, tmp_path):
    path = tmp_path / 'x.png'
    cv2.imwrite(str(path), np.zeros((3, 32767, 3), dtype=np.uint8))
    for options in ([], detector):
        with pytest.raises(InputError, match=r'x\.png.* 32767 x 3 px is too'):
            demo(path, *options)


def test_defects_are_no_fault_of_an_image(demo, mixed, monkeypatch):
    def fail(*_):
        raise ValueError('a defect')

    monkeypatch.setitem(main.__globals__, 'split_instances', fail)
    with pytest.raises(ValueError, match='a defect'):
        demo(mixed)


def test_a_folder_that_cannot_be_written(demo, mixed, monkeypatch):
    """This is no fault of an image either."""

    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='No space left'):
        demo(mixed)


def test_mistakes(
    demo, detector, toy_persons, tiny_detector, pose_model, tmp_path
):
    source = toy_persons / 'val/000000000001.jpg'
    broken = tmp_path / 'in/broken.jpg'
    broken.parent.mkdir()
    broken.write_bytes(b'no picture')
    ann_file = toy_persons / 'annotations/person_keypoints_train.json'
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('[]')
    from_file = ['--boxes', boxes, '--ann-file', ann_file]
    train_only = toy_persons / 'train/000000000012.jpg'
    other = ['--boxes', boxes, '--ann-file']
    other.append(toy_persons / 'annotations/person_keypoints_val.json')
    for arguments, message in [
        ([broken], r'broken\.jpg'),
        ([tmp_path / 'gone.jpg'], r'gone\.jpg'),
        ([tmp_path / '*.png'], r'\*\.png'),
        ([source, *detector[:2]], 'belong together'),
        ([source, *from_file[:2]], 'belong together'),
        ([source, *from_file, *detector], 'not both'),
        ([train_only, *other], 'does not list'),
        ([source, *detector[:3], pose_model[1]], 'another architecture'),
    ]:
        with pytest.raises(InputError, match=message):
            demo(*arguments)
        assert not (tmp_path / 'out').exists()

    config, checkpoint = map(str, tiny_detector)
    out_dir = ['--out-dir', str(tmp_path / 'out')]
    with pytest.raises(InputError, match='TopdownPoseEstimator'):
        main([str(source), config, checkpoint, *out_dir])
