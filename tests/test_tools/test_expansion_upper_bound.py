import json
import uuid

import cv2
import pytest
import torch
from mmengine.config import Config
from mmpose.registry import MODELS

TOOL = 'tools/analysis/expansion_upper_bound.py'
# With the tiny network's input of 64 x 96 px, this window is everywhere.
WIDE = 201


@pytest.fixture
def run(run_script):
    def run_(*args, **options):
        # An own name keeps MMEngine's loggers apart.
        options['experiment_name'] = uuid.uuid4().hex
        pairs = [f'{key}={value}' for key, value in options.items()]
        return run_script(TOOL, *args, '--cfg-options', *pairs)

    return run_


def rows_of(stdout):
    return [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in stdout.splitlines()
    ]


@pytest.fixture
def random_weights(tiny_config, tmp_path):
    torch.manual_seed(5)
    model = MODELS.build(Config.fromfile(tiny_config).model)
    path = tmp_path / 'random.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def test_table_picture_and_numbers(run, tiny_config, random_weights, tmp_path):
    out = tmp_path / 'out'
    args = [tiny_config, random_weights, '--out-dir', out]
    status, stdout, stderr = run(*args, '--ksizes', WIDE, 1, 21)
    assert status == 0 and 'the weights are random' not in stderr
    report = json.loads((out / 'expansion_upper_bound.json').read_text())
    bounds = report['upper_bounds']
    assert list(bounds) == ['1', '21', str(WIDE)]
    assert bounds['1'] == report['AP'] <= bounds['21'] <= bounds[str(WIDE)]
    assert bounds['1'] < bounds[str(WIDE)] - 0.2
    assert report['metrics'][f'upper_bound_k{WIDE}/AR'] > 0.2
    assert report['checkpoint'] == str(random_weights)

    header, _, plain, *rows = rows_of(stdout)
    assert header == ['window', 'AP (%)', 'gap']
    assert plain == ['none', f'{100 * report["AP"]:.2f}', '']
    for (window, ap, gap), (k, bound) in zip(rows, bounds.items()):
        assert window == f'{k}x{k}'
        assert ap == f'{100 * bound:.2f}'
        assert gap == f'{100 * (bound - report["AP"]):+.2f}'

    picture = cv2.imread(str(out / 'expansion_upper_bound.png'))
    assert picture.shape == (600, 900, 3) and picture.std() > 5

    # The same again, but only if that is wanted.
    status, _, stderr = run(*args, '--ksizes', 1)
    assert status == 2 and "bound.png' exists already" in stderr
    status, again, _ = run(*args, '--ksizes', 1, '--overwrite')
    assert status == 0 and rows_of(again)[2:] == [plain, rows[0]]


def test_settings_of_the_config_stay(
    run, tiny_config, random_weights, tmp_path
):
    def count(**options):
        prefix = tmp_path / uuid.uuid4().hex
        status, *_ = run(
            tiny_config, random_weights, '--ksizes', 3, '--overwrite',
            '--out-dir', tmp_path,
            **{'test_evaluator.outfile_prefix': prefix, **options},
        )  # fmt: skip
        assert status == 0
        poses = [
            json.loads(prefix.with_suffix(suffix).read_text())
            for suffix in ('.keypoints.json', '.upper_bound_k3.keypoints.json')
        ]
        assert len(poses[0]) == len(poses[1])
        assert poses[0] != poses[1]
        return len(poses[0])

    strict = {'test_evaluator.nms_thr': -1.0}  # leaves one of each image
    everyone = {'test_evaluator.nms_mode': 'none'}
    assert count(**strict) < count(**everyone)


def test_random_weights(run, tiny_config, tmp_path):
    """Nothing pre-trained is looked for, and it is the same each time."""
    options = {
        'model.backbone.init_cfg.type': 'Pretrained',
        'model.backbone.init_cfg.checkpoint': 'http://no.invalid/no.pth',
        'load_from': 'no.pth',
    }
    config = tmp_path / 'several.py'
    config.write_text(
        f"_base_ = '{tiny_config}'\n"
        'test_evaluator = [_base_.val_evaluator, '
        "dict(type='PCKAccuracy')]\n"
    )
    outputs = []
    for name in 'ab':
        args = [config, '--ksizes', WIDE, '--out-dir', tmp_path / name]
        status, stdout, stderr = run(*args, **options)
        assert status == 0
        assert 'no checkpoint, the weights are random' in stderr
        outputs.append(stdout)
    assert outputs[0] == outputs[1]


DEKR = """
_base_ = '{base}'
codec = dict(type='SPR', input_size=(128, 128), heatmap_size=(4, 4),
             sigma=(4, 2), generate_keypoint_heatmaps=True,
             decode_max_instances=10, decode_thr=-1)
model = dict(
    _delete_=True,
    type='BottomupPoseEstimator',
    data_preprocessor=dict(type='PoseDataPreprocessor', mean=[128] * 3,
                           std=[64] * 3),
    backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
    head=dict(type='DEKRHead', in_channels=64, num_keypoints=17,
              num_heatmap_filters=8, decoder=codec),
    test_cfg=dict(flip_test=False, nms_dist_thr=0.05))
pipeline = [
    dict(type='LoadImage'),
    dict(type='BottomupResize', input_size=(128, 128), resize_mode='expand'),
    dict(type='PackPoseInputs', meta_keys=(
        'id', 'img_id', 'img_path', 'ori_shape', 'img_shape', 'input_size',
        'input_center', 'input_scale', 'flip_indices'))]
test_dataloader = dict(
    batch_size=1, dataset=dict(data_mode='bottomup', pipeline=pipeline))
test_evaluator = dict(nms_mode='none', score_mode='keypoint')
"""


def test_bottom_up_model(run, tiny_config, tmp_path):
    pytest.importorskip('mmcv._ext')  # DEKR's convolutions
    config = tmp_path / 'dekr.py'
    config.write_text(DEKR.format(base=tiny_config))
    args = ['--ksizes', 11, '--out-dir', tmp_path / 'out']
    prefix = {'test_evaluator.outfile_prefix': tmp_path / 'result'}
    status, stdout, _ = run(config, *args, **prefix)
    assert status == 0
    *_, plain, bound = rows_of(stdout)
    assert 0 <= float(plain[1]) <= float(bound[1])
    before, after = (
        json.loads((tmp_path / f'result{middle}.keypoints.json').read_text())
        for middle in ('', '.upper_bound_k11')
    )
    # Several poses of each of the six images.
    assert len({pose['image_id'] for pose in before}) == 6 < len(before)
    assert len(before) == len(after) and before != after


def test_mistakes_end_before_the_work(run, tiny_config, tmp_path):
    out = tmp_path / 'out'

    def error(*args, config=tiny_config, **options):
        status, stdout, stderr = run(
            config, *args, '--out-dir', out, **options
        )
        assert status == 2 and stdout == '' and not out.exists()
        message = stderr.rpartition('error: ')[2]
        assert message.count('\n') == 1
        return message

    assert "config 'no.py' does not exist" in error(config='no.py')
    assert "checkpoint 'no.pth' does not exist" in error('no.pth')
    assert 'odd and positive, got 4' in error('--ksizes', 3, 4)
    assert 'odd and positive, got -1' in error('--ksizes', -1)
    missing = {'test_dataloader.dataset.ann_file': 'no.json'}
    assert "no.json' does not exist" in error(**missing)
    missing = {'test_evaluator.ann_file': 'no.json'}
    assert "annotation file (test_evaluator.ann_file) 'no.json'" in error(
        **missing
    )
    message = error(**{'test_evaluator.type': 'PCKAccuracy'})
    assert 'one CocoMetric as test_evaluator, got 0 among PCKAcc' in message
    message = error(**{'test_evaluator.format_only': True})
    assert 'format_only=True' in message
    assert '--cfg-options' in error(**{'test_dataloader.batch_size.x': 1})
    config = tmp_path / 'no_test.py'
    config.write_text(f"_base_ = '{tiny_config}'\ntest_evaluator = None\n")
    assert "expected a 'test_evaluator'" in error(config=config)
