"""demo/image_demo.py, from the command line."""

import json
import re
import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmpose_ext.engine.config import find_config
from mmpose_ext.errors import InputError
from mmpose_ext.inference.shipped import DEFAULT_MODEL

DEMO = Path(__file__).parents[2] / 'demo/image_demo.py'
main = runpy.run_path(str(DEMO))['main']


@pytest.fixture
def detector(tiny_detector):
    config, checkpoint = map(str, tiny_detector)
    return ['--det-config', config, '--det-checkpoint', checkpoint]


@pytest.fixture
def demo(pose_model, tmp_path):
    def run(source, *options, model=pose_model):
        out = tmp_path / 'out'
        options = '--device', 'cpu', '--out-dir', out, *options
        main([*map(str, (source, *model, *options))])
        return out

    return run


def persons_of(out, name):
    path = out / 'predictions' / f'{name}.json'
    return json.loads(path.read_text())['instance_info']


def files(folder):
    return sorted(
        str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()
    )


def test_folder_with_a_detector(demo, detector, toy_persons, capsys):
    some = [*detector, '--score-thr', 0.6]
    out = demo(toy_persons / 'val', *some, '--batch-size', 4)
    names = [f'{i:012d}' for i in range(1, 7)]
    assert files(out) == [
        *(f'predictions/{name}.json' for name in names),
        *(f'visualizations/{name}.jpg' for name in names),
    ]
    found = {name: persons_of(out, name) for name in names}
    numbers = 0
    for persons in found.values():
        for person in persons:
            numbers += 1
            assert np.shape(person['keypoints']) == (17, 2)
            assert np.shape(person['keypoint_scores']) == (17,)
            (box,) = person['bbox']
            assert box[0] < box[2] <= 256
            assert box[1] < box[3] <= 192
            assert person['bbox_score'] >= 0.6
    assert numbers > 0
    assert f'{numbers} persons in 6 images' in capsys.readouterr().out

    demo(toy_persons / 'val', *some, '--batch-size', 1, '--overwrite')
    for name, persons in found.items():
        alone = persons_of(out, name)
        assert len(persons) == len(alone)
        for person, same in zip(persons, alone):
            np.testing.assert_allclose(person['bbox'], same['bbox'], atol=1e-2)


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


def test_boxes_of_a_file(demo, toy_persons, tmp_path, capsys):
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

    path.write_text('[]')
    demo(pattern, '--boxes', path, '--ann-file', ann_file, '--overwrite')
    printed = capsys.readouterr()
    assert 'no person was found' in printed.err
    assert '0 persons in 2 images' in printed.out


def test_bottomup(demo, bottomup_model, detector, toy_persons, tmp_path):
    def run(*options, image=toy_persons / 'val/000000000002.jpg'):
        out = demo(image, *options, model=bottomup_model)
        return persons_of(out, '000000000002')

    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('[]')
    for options in (detector, ['--boxes', boxes, '--ann-file', ann_file]):
        with pytest.raises(InputError, match='finds the persons itself'):
            run(*options)
        assert not (tmp_path / 'out').exists()

    persons = run('--score-thr', 0)
    assert len(persons) == 5
    for person in persons:
        x, y = np.transpose(person['keypoints'])
        assert person['bbox'] == [[x.min(), y.min(), x.max(), y.max()]]
    assert run('--score-thr', 0.9, '--overwrite') == []

    thin = tmp_path / 'thin.png'
    cv2.imwrite(str(thin), np.zeros((2, 2000, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r'thin\.png.* 128000 x 128 px is t'):
        run(image=thin)


def test_a_photo_is_enough(stand_in, toy_persons, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = str(toy_persons / 'val/000000000002.jpg')
    main([photo])
    (person,) = persons_of(Path('poses'), '000000000002')
    assert np.shape(person['keypoints']) == (14, 2)
    assert person['bbox'] == [[0, 0, 256, 192]]

    # By name, and by its config.
    for name in (DEFAULT_MODEL, find_config(DEFAULT_MODEL)):
        main([photo, str(name), '--overwrite'])
        assert persons_of(Path('poses'), '000000000002') == [person]
    wrong = DEFAULT_MODEL.replace('stage', 'stag')
    with pytest.raises(InputError, match=f"; did you mean '{DEFAULT_MODEL}'"):
        main([photo, wrong, '--overwrite'])


def test_boxes_for_the_default_model(stand_in, demo, toy_persons, tmp_path):
    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    box = dict(image_id=1, category_id=1, bbox=[10, 20, 60, 80], score=0.9)
    (tmp_path / 'boxes.json').write_text(json.dumps([box]))
    source = toy_persons / 'val/000000000001.jpg'
    from_file = '--boxes', tmp_path / 'boxes.json', '--ann-file', ann_file
    (person,) = persons_of(demo(source, *from_file, model=()), source.stem)
    assert person['bbox'] == [[10, 20, 70, 100]]


@pytest.mark.parametrize(
    'more', [('b.JPG',), ('b.jpg', 'c.jpg', 'd.jpg'), ('b.mp4',)]
)
def test_several_inputs(more, capsys):
    with pytest.raises(SystemExit, match='2'):
        main(['a.jpg', *more])
    message = f"'{more[0]}' is a second input, expected one: a folder, or a "
    assert message + "glob in quotes, such as '*.jpg'" in (
        capsys.readouterr().err
    )


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


def test_bad_images_are_skipped(demo, detector, mixed, tmp_path, capsys):
    with pytest.raises(SystemExit, match='1'):
        demo(mixed, *detector)
    printed, out = capsys.readouterr(), tmp_path / 'out'
    assert files(out / 'predictions') == ['1.json', '1thin.json', '2.json']
    assert files(out / 'visualizations') == ['1.jpg', '1thin.jpg', '2.jpg']
    assert re.search(r'\d persons in 3 images: ', printed.out)
    names = ', '.join(f"'{mixed / name}'" for name in BAD)
    assert f'3 of 6 images done; skipped: {names}\n' in printed.err
    one = demo(mixed / '1.jpg', *detector, '--overwrite')
    assert persons_of(one, '1') == persons_of(out, '1')

    # Once it is good, --resume does it.
    for name in BAD:
        (mixed / name).rename(tmp_path / name)
    shutil.copy(mixed / '1.jpg', mixed / BAD[1])
    demo(mixed, *detector, '--resume')
    assert len(files(out)) == 8
    assert '1 images' in capsys.readouterr().out


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
    with pytest.raises(InputError, match=r'x\.png.* 32767 x 3 px is too'):
        demo(path, *detector)


def test_mistakes(demo, detector, toy_persons, tiny_detector, tmp_path):
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
        ([tmp_path / '*.png'], r'\*\.png'),
        ([source, *from_file[:2]], 'belong together'),
        ([source, *from_file, *detector], 'not both'),
        ([train_only, *other], 'does not list'),
    ]:
        with pytest.raises(InputError, match=message):
            demo(*arguments)
        assert not (tmp_path / 'out').exists()

    with pytest.raises(InputError, match='TopdownPoseEstimator'):
        demo(source, model=tiny_detector)
