import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, MODELS

QUICK = ['--window', 24, '--stride', 24]


@pytest.fixture
def run(run_script):
    return partial(run_script, 'tools/analysis/receptive_field.py')


def rows_of(stdout):
    return [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in stdout.splitlines()
    ]


def test_sample_of_the_test_dataset(run, tiny_config, tmp_path):
    names = ['right_hip', 'left_elbow']
    args = [tiny_config, '--index', 1, '--keypoints', *names, *QUICK]
    status, stdout, stderr = run(*args, '--out-dir', tmp_path)
    assert status == 0
    assert 'no checkpoint, the weights are random' in stderr
    header, _, *rows, mean = rows_of(stdout)
    assert header == ['keypoint', 'area (% of the input)',
                      'largest difference']  # fmt: skip
    assert [row[0] for row in rows] == names and mean[0] == 'mean'

    report = json.loads((tmp_path / 'receptive_field.json').read_text())
    assert list(report['area']) == names
    assert report['index'] == 1 and report['input_size'] == [64, 96]
    for name, area, _ in rows:
        assert float(area) == pytest.approx(report['area'][name], abs=0.01)
    assert report['mean_area'] == pytest.approx(
        np.mean(list(report['area'].values()))
    )
    for name in names:
        picture = cv2.imread(str(tmp_path / f'{name}.jpg'))
        assert picture.shape == (96 * 5, 64 * 5, 3)

    # The same again, to the last bit.
    status, again, _ = run(*args, '--out-dir', tmp_path, '--overwrite')
    assert status == 0 and again == stdout


def test_ground_truth_is_where_the_affine_puts_it(run, tiny_config, tmp_path):
    args = [tiny_config, '--index', 0, *QUICK]
    assert run(*args, '--out-dir', tmp_path)[0] == 0
    report = json.loads((tmp_path / 'receptive_field.json').read_text())
    init_default_scope('mmpose')
    dataset = Config.fromfile(tiny_config).test_dataloader.dataset
    dataset.pipeline[-1].pack_transformed = True
    truth = DATASETS.build(dataset)[0]['data_samples'].gt_instances
    visible = truth.keypoints_visible[0] > 0
    found = list(report['ground_truth'].values())
    assert len(found) == 17 and visible.any()
    assert [point is not None for point in found] == visible.tolist()
    np.testing.assert_allclose(
        [point for point in found if point],
        truth.transformed_keypoints[0, visible],
        atol=1e-3,
    )


def test_image_with_a_box_and_weights(run, tiny_config, toy_persons, tmp_path):
    init_default_scope('mmpose')
    torch.manual_seed(5)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'random.pth')
    image = next((toy_persons / 'val').iterdir())
    status, stdout, stderr = run(
        tiny_config, tmp_path / 'random.pth', '--image', image, '--bbox', 5, 5,
        40, 60, '--keypoints', 'nose', *QUICK, '--out-dir', tmp_path / 'out'
    )  # fmt: skip
    assert status == 0 and 'random' not in stderr.replace('random.pth', '')
    assert rows_of(stdout)[2][0] == 'nose'
    report = json.loads((tmp_path / 'out/receptive_field.json').read_text())
    assert report['ground_truth'] == {'nose': None}
    assert np.isfinite(report['predicted']['nose']).all()


def test_mistakes_end_before_the_work(
    run, tiny_config, tiny_detector, toy_persons, tmp_path
):
    out = tmp_path / 'out'
    image = next((toy_persons / 'val').iterdir())

    def error(*args, config=tiny_config, source=('--image', image)):
        status, stdout, stderr = run(config, *source, *args, '--out-dir', out)
        assert status == 2 and stdout == '' and not out.exists()
        assert 'Traceback' not in stderr
        return stderr.rpartition('error: ')[2]

    assert "config 'no.py' does not exist" in error(config='no.py')
    assert "checkpoint 'no.pth' does not exist" in error(
        source=('no.pth', '--image', image)
    )
    message = error(source=('--image', tmp_path / 'no.jpg'))
    assert "no.jpg' does not exist" in message
    message = error('--keypoints', 'rigth_hip')
    assert "no keypoint 'rigth_hip'; did you mean 'right_hip'" in message
    assert 'got 65' in error('--window', 65)
    assert 'stride of 1 to 11 px' in error('--stride', 12)
    assert 'got 1.0' in error('--threshold', 1)
    assert 'W and H > 0' in error('--bbox', 1, 2, 0, 4)
    message = error(source=('--index', 10_000))
    assert 'an --index from 0 to' in message
    message = error('--bbox', 1, 2, 3, 4, source=('--index', 0))
    assert '--bbox is for --image' in message

    simcc = tmp_path / 'simcc.py'
    simcc.write_text(
        f"_base_ = '{tiny_config}'\n"
        "model = dict(head=dict(_delete_=True, type='RTMCCHead', in_channels="
        '64, out_channels=17, input_size=(64, 96), in_featuremap_size=(2, 3),'
        'gau_cfg=dict(hidden_dims=16, s=8, expansion_factor=2, dropout_rate=0,'
        "drop_path=0, act_fn='SiLU', use_rel_bias=False, pos_enc=False),"
        "decoder=dict(type='SimCCLabel', input_size=(64, 96))))\n"
    )
    assert 'RTMCCHead returns no heatmaps' in error(config=simcc)
    assert 'got one of MMDetection' in error(config=tiny_detector[0])


def test_existing_results_stay(run, tiny_config, tmp_path):
    (tmp_path / 'nose.jpg').write_text('mine')
    args = [tiny_config, '--index', 0, '--keypoints', 'nose', *QUICK]
    status, _, stderr = run(*args, '--out-dir', tmp_path)
    assert status == 2 and "nose.jpg' exists already" in stderr
    assert (tmp_path / 'nose.jpg').read_text() == 'mine'
