import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmpose_ext.datasets import LSPDataset
from mmpose_ext.datasets.lsp_dataset import LSP_KEYPOINTS

SCRIPT = 'tools/converters/lsp2coco.py'
# Photographs for development, which are no part of the repository.
LSPET = Path(__file__).resolve().parents[3] / 'shared/data/lspet'


@pytest.fixture
def lspet(tmp_path):
    """The published folder with 4 images; the third has no joints."""
    (tmp_path / 'images').mkdir()
    for i in range(1, 5):
        path = tmp_path / 'images' / f'im{i:05}.jpg'
        Image.new('RGB', (60 + i, 50)).save(path)
    joints = np.random.default_rng(0).uniform(1, 49, (14, 3, 4))
    joints[:, 2] = 1
    joints[:, :, 2] = joints[5, :, 0] = (0, -3, 0)
    savemat(tmp_path / 'joints.mat', dict(joints=joints))
    return tmp_path, joints.transpose(2, 0, 1)


def test_content(run_script, lspet):
    folder, joints = lspet
    files, out = (
        (folder / 'joints.mat', folder / 'images'),
        folder / 'a/b.json',
    )
    status, said, _ = run_script(SCRIPT, *files, out)
    assert (status, said) == (0, f'4 images, 3 persons: {out}\n')
    content = json.loads(out.read_text())
    assert list(content) == ['images', 'annotations', 'categories']
    assert [i['width'] for i in content['images']] == [61, 62, 63, 64]
    assert content['categories'][0]['keypoints'] == list(LSP_KEYPOINTS)
    for annotation in content['annotations']:
        expected = joints[annotation['id'] - 1]
        labelled = expected[:, 2] == 1
        found = np.reshape(annotation['keypoints'], (14, 3))
        assert (found[labelled, :2] == expected[labelled, :2]).all()
        assert found[:, 2].tolist() == (2 * labelled).tolist()
    part = ('--images', 2, 3, '--overwrite')
    status, said, _ = run_script(SCRIPT, *files, out, *part)
    assert (status, said) == (0, f'2 images, 1 persons: {out}\n')
    (files[1] / 'im00002.jpg').unlink()
    status, _, said = run_script(SCRIPT, *files, out, *part)
    assert status == 2 and "im00002.jpg' does not exist (1 of 2" in said
    assert len(json.loads(out.read_text())['images']) == 2
    status, said, _ = run_script(
        SCRIPT, *files, out, '--skip-missing', '--overwrite'
    )
    assert (status, said) == (0, f'3 images, 2 persons: {out}\n')
    prefix = dict(img=str(files[1]))
    data = LSPDataset(ann_file=str(out), data_prefix=prefix)
    assert [sample['id'] for sample in data] == [1, 4]


def test_wrong_input(run_script, lspet, tmp_path):
    folder, _ = lspet
    files = (folder / 'joints.mat', folder / 'images')
    out = tmp_path / 'lsp.json'

    def fails(message, *args):
        status, _, said = run_script(SCRIPT, *args)
        assert status == 2 and said.startswith('error: ')
        assert message in said and 'Traceback' not in said

    fails("'no.mat' does not exist", 'no.mat', files[1], out)
    fails("'no/such' does not exist", files[0], 'no/such', out)
    fails('images are missing', files[0], folder, out)
    fails('which has 1 to 4', *files, out, '--images', 0, 4)
    fails('which has 1 to 4', *files, out, '--images', -3, 5)
    skipped = ('--images', 2, 3, '--skip-missing')
    fails("none of the images 'im00002.jpg'", files[0], folder, out, *skipped)
    broken = tmp_path / 'broken.mat'
    broken.write_text('right ankle, right knee')
    fails('is no file of MATLAB', broken, files[1], out)
    assert not out.exists()
    fails('is a folder', *files, folder)
    fails('cannot write', *files, broken / 'lsp.json')

    out.write_text('precious')
    fails('exists already', *files, out)
    assert out.read_text() == 'precious'
    for wrong in (('--images', 1), ('--images', 1, 2.5)):
        status, _, said = run_script(SCRIPT, *files, out, *wrong)
        assert status == 2 and '--images' in said


@pytest.mark.skipif(not LSPET.is_dir(), reason='needs photographs of LSPET')
def test_joints_of_the_photographs(run_script, tmp_path):
    """Those that are kept for development were cropped and scaled."""
    out = tmp_path / 'lspet.json'
    files = (LSPET / 'joints.mat', LSPET / 'original')
    assert run_script(SCRIPT, *files, out, '--skip-missing')[0] == 0
    content = json.loads(out.read_text())
    names = [path.name for path in sorted(files[1].glob('*.jpg'))]
    assert [image['file_name'] for image in content['images']] == names
    kept = {
        annotation['id']: annotation
        for split in ('train', 'val')
        for annotation in json.loads((LSPET / f'{split}.json').read_text())[
            'annotations'
        ]
    }
    assert len(content['annotations']) == len(names) == 4
    for found in content['annotations']:
        expected = kept[found['id']]
        a, b = (
            np.reshape(item['keypoints'], (14, 3))
            for item in (found, expected)
        )
        labelled = a[:, 2] > 0
        assert (a[:, 2] == b[:, 2]).all()
        a, b = a[labelled, :2], b[labelled, :2]
        # Least squares for the scale, then the corner of the crop.
        a_, b_ = a - a.mean(0), b - b.mean(0)
        scale = (a_ * b_).sum() / (a_**2).sum()
        corner = a.mean(0) - b.mean(0) / scale
        assert 0.5 < scale < 1.001 and corner.min() > -0.01
        np.testing.assert_allclose((a - corner) * scale, b, atol=0.02)
        box = np.array(found['bbox'])
        box[:2] -= corner
        np.testing.assert_allclose(box * scale, expected['bbox'], atol=0.02)
