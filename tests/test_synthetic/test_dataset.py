import csv
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpose.datasets.datasets.body import CocoDataset
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from mmpose_ext.errors import InputError
from mmpose_ext.synthetic import dataset, make_dataset

TINY = dict(num_train=6, num_val=3, seed=1)


def digests(folder):
    files = [path for path in Path(folder).rglob('*') if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in files
    }


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy') / 'persons'
    assert make_dataset(folder, **TINY)
    return folder


@pytest.fixture
def own(folder, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(folder, tmp_path / 'copy')


def test_layout(folder):
    names = set(digests(folder))
    expected = {
        'annotations/person_keypoints_train.json',
        'annotations/person_keypoints_val.json',
        'lip/TrainVal_pose_annotations/lip_train_set.csv',
        'lip/TrainVal_pose_annotations/lip_val_set.csv',
        'contact_sheet.png',
        'toy_persons.json',
        *(f'train/{n:012d}.jpg' for n in range(1, 7)),
        *(f'val/{n:012d}.jpg' for n in range(1, 4)),
    }
    assert expected <= names
    assert all(name.startswith('lip/') for name in names - expected)
    image = cv2.imread(str(folder / 'train/000000000001.jpg'))
    assert image.shape == (192, 256, 3)


@pytest.mark.parametrize('split, count', [('train', 6), ('val', 3)])
def test_coco_file(folder, split, count):
    path = folder / f'annotations/person_keypoints_{split}.json'
    coco = COCO(str(path))
    assert len(coco.imgs) == count
    assert {a['image_id'] for a in coco.anns.values()} <= set(coco.imgs)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation['area']
        assert list(cv2.boundingRect(mask)) == annotation['bbox']
    # The annotated keypoints are perfect as detections.
    persons = [a for a in coco.anns.values() if not a['iscrowd']]
    names = ('image_id', 'category_id', 'keypoints')
    found = [dict({k: a[k] for k in names}, score=1.0) for a in persons]
    sigmas = np.full(17, 0.05)
    evaluation = COCOeval(coco, coco.loadRes(found), 'keypoints', sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)


@pytest.mark.parametrize('mode', ['topdown', 'bottomup'])
def test_mmpose_reads_it(folder, mode):
    content = json.loads(
        (folder / 'annotations/person_keypoints_train.json').read_text()
    )
    data = CocoDataset(
        data_root=str(folder),
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        data_mode=mode,
        pipeline=[],
    )
    posed = [a for a in content['annotations'] if a['num_keypoints']]
    assert len(data) == (len(posed) if mode == 'topdown' else 6)
    first = data.get_data_info(0)
    assert Path(first['img_path']).is_file()
    by_id = {a['id']: a for a in posed}
    key = first['id'] if mode == 'topdown' else first['id'][0]
    expected = np.array(by_id[key]['keypoints']).reshape(17, 3)
    np.testing.assert_allclose(first['keypoints'][0], expected[:, :2])


def test_category_is_coco_s(folder):
    path = folder / 'annotations/person_keypoints_val.json'
    (category,) = json.loads(path.read_text())['categories']
    assert (category['id'], category['name']) == (1, 'person')
    names, skeleton = category['keypoints'], category['skeleton']
    assert (len(names), len(skeleton)) == (17, 19)
    assert [names[0], names[15]] == ['nose', 'left_ankle']
    assert [skeleton[0], skeleton[18]] == [[16, 14], [5, 7]]


def test_lip_file(folder):
    path = folder / 'lip/TrainVal_pose_annotations/lip_train_set.csv'
    rows = list(csv.reader(path.open()))
    images = folder / 'lip/TrainVal_images/train_images'
    assert {row[0] for row in rows} == {p.name for p in images.iterdir()}
    assert len(rows) >= 4
    for row in rows:
        assert len(row) == 49
        height, width = cv2.imread(str(images / row[0])).shape[:2]
        joints = np.array(row[1:], float).reshape(16, 3)
        there = ~np.isnan(joints[:, 0])
        assert there.sum() >= 8
        assert np.isnan(joints[~there]).all()
        assert (joints[there, :2] >= 0).all()
        assert (joints[there, :2] < (width, height)).all()
        assert set(joints[there, 2]) <= {0, 1}


def test_same_seed_same_bytes_with_any_number_of_processes(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(dataset, '_CHUNK', 2)
    make_dataset(tmp_path / 'two', workers=2, **TINY)
    assert digests(tmp_path / 'two') == digests(folder)


def test_image_depends_on_seed_split_and_index_alone(folder, tmp_path):
    few, other = tmp_path / 'few', tmp_path / 'other'
    make_dataset(few, num_train=2, num_val=0, seed=1, lip=False)
    make_dataset(other, num_train=0, num_val=1, seed=2, lip=False)
    assert not (few / 'lip').exists()
    every, fewer = digests(folder), digests(few)
    first, second = (f'train/{n:012d}.jpg' for n in (1, 2))
    assert (fewer[first], fewer[second]) == (every[first], every[second])
    assert every[first] != every['val/000000000001.jpg']
    elsewhere = digests(other)['val/000000000001.jpg']
    assert elsewhere != every['val/000000000001.jpg']
    path = 'annotations/person_keypoints_train.json'
    fewer = json.loads((few / path).read_text())['annotations']
    every = json.loads((folder / path).read_text())['annotations']
    assert fewer == every[: len(fewer)]
    # Without training images the sheet shows the validation images.
    assert cv2.imread(str(other / 'contact_sheet.png')).shape == (384, 512, 3)


def test_complete_folder_is_left_alone_until_an_image_is_gone(own):
    before = digests(own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'write_atomic', None)
        assert make_dataset(own, **TINY) is False
    (own / 'train/000000000004.jpg').unlink()
    assert make_dataset(own, **TINY) is True
    assert digests(own) == before


def test_interrupted_run_resumes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, '_CHUNK', 2)
    out = tmp_path / 'out'
    draw, drawn = dataset.draw_scene, []

    def failing(settings, split, index):
        drawn.append((split, index))
        if len(drawn) == 6:
            raise KeyboardInterrupt
        return draw(settings, split, index)

    monkeypatch.setattr(dataset, 'draw_scene', failing)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(out, **TINY)
    marker = json.loads((out / 'toy_persons.json').read_text())
    assert marker['complete'] is False
    assert not (out / 'annotations/person_keypoints_train.json').exists()
    # What a kill in the middle of a write leaves behind.
    part = out / 'train/000000000005.jpg.0123.part'
    part.write_bytes(b'half')
    kept = (out / 'train/000000000001.jpg').stat().st_mtime_ns
    drawn.clear()
    drawn.extend([None] * 6)
    assert make_dataset(out, **TINY)
    # Two chunks of two images had been finished.
    rest = [('train', 4), ('train', 5), ('val', 0), ('val', 1), ('val', 2)]
    assert drawn[6:] == rest
    assert (out / 'train/000000000001.jpg').stat().st_mtime_ns == kept
    part.unlink()
    assert digests(out) == digests(folder)


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / 'holiday.jpg').write_bytes(b'dear')
    for overwrite in (False, True):
        with pytest.raises(InputError, match='not made by this tool'):
            make_dataset(tmp_path, overwrite=overwrite, **TINY)
    assert digests(tmp_path).keys() == {'holiday.jpg'}
    (tmp_path / 'holiday.jpg').unlink()
    marker = tmp_path / 'toy_persons.json'
    for text, message in (
        ('{', 'damaged'),
        ('[]', 'describe'),
        ('{"a": 1}', 'describe'),
    ):
        marker.write_text(text)
        with pytest.raises(InputError, match=message):
            make_dataset(tmp_path, overwrite=True, **TINY)


def test_other_settings_need_overwrite(own):
    before = digests(own)
    (own / 'note.txt').write_text('mine')
    other = dict(num_train=1, num_val=1, seed=1)
    with pytest.raises(InputError, match='num_train=6 there, 1 asked for'):
        make_dataset(own, **other)
    (own / 'note.txt').unlink()
    assert digests(own) == before
    (own / 'note.txt').write_text('mine')
    assert make_dataset(own, overwrite=True, **other)
    assert (own / 'note.txt').read_text() == 'mine'
    assert len(list((own / 'train').iterdir())) == 1


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(num_train=-1), 'num_train must not be negative, got -1'),
        (dict(seed=-3), 'seed must not be negative, got -3'),
        (dict(num_train=0, num_val=0), 'both 0'),
        (dict(size=(32, 192)), 'width must be between 64 and 1024 px, got 32'),
        (dict(size=(64, 4000)), 'height .* got 4000'),
        (dict(workers=0), 'workers must be at least 1, got 0'),
    ],
)
def test_bad_settings_are_refused_before_anything_is_made(
    tmp_path, change, message
):
    with pytest.raises(InputError, match=message):
        make_dataset(tmp_path / 'new', **{**TINY, **change})
    assert not (tmp_path / 'new').exists()


def test_path_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / 'file').write_text('x')
    with pytest.raises(InputError, match='is a file, expected a folder'):
        make_dataset(tmp_path / 'file', **TINY)
    with pytest.raises(InputError, match='cannot be made'):
        make_dataset(tmp_path / 'file' / 'below', **TINY)
