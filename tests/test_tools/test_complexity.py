from functools import partial

import pytest

HRNET = 'td-hm_hrnet-w32_8xb64-210e_coco-256x192'
OURS = 'ram-gpr_hrnet-w32_4xb8-240e_coco-256x192'


@pytest.fixture
def run(run_script):
    return partial(run_script, 'tools/analysis/complexity.py')


def test_table_of_the_paper(run, tmp_path):
    out = tmp_path / 'table.md'
    status, stdout, _ = run(HRNET, OURS, '--out', out)
    assert status == 0
    assert out.read_text() == stdout
    header, line, *rows = stdout.splitlines()
    assert header.count('|') == line.count('|') == 6
    assert rows == [
        f'| {HRNET} | 256x192 | 28.536 | 7.645 | 7.120 |',
        f'| {OURS} | 256x192 | 31.374 | 8.217 | 7.653 |',
    ]


def test_linear_layers(run, tmp_path):
    config = tmp_path / 'linear.py'
    config.write_text(
        "default_scope = 'mmpose'\n"
        "model = dict(type='TopdownPoseEstimator',\n"
        "    backbone=dict(type='ResNet', depth=18, base_channels=64),\n"
        "    neck=dict(type='GlobalAveragePooling'),\n"
        "    head=dict(type='RegressionHead', in_channels=512,\n"
        '              num_joints=10**5))\n'
    )
    tables = [
        run(config, '--shape', 32, 32, *option)[1].splitlines()
        for option in ([], ['--linear'])
    ]
    plain, linear = ([r.split(' | ') for r in t] for t in tables)
    assert [len(row) for row in linear] == [6, 6, 6]
    assert linear[0][-1] == 'with linear layers (1e9) |'
    macs = float(plain[2][3])
    # Two coordinates of 100 000 keypoints, from 512 channels.
    assert linear[2] == [
        *plain[2][:4],
        plain[2][4].rstrip(' |'),
        f'{macs + 0.1024:.3f} |',
    ]


def test_help_tells_the_number_of_rois(run):
    assert '1000 as a rule' in ' '.join(run('--help')[1].split())


def test_shape(run, tiny_config):
    def macs(*shape):
        status, stdout, _ = run(tiny_config, '--shape', *shape)
        assert status == 0 and f'| {shape[0]}x{shape[1]} |' in stdout
        return float(stdout.splitlines()[-1].split('|')[-3])

    assert macs(256, 512) == pytest.approx(2 * macs(256, 256), rel=0.02)


def test_existing_file_stays(run, tiny_config, tmp_path):
    out = tmp_path / 'table.md'
    out.write_text('mine')
    status, stdout, stderr = run(tiny_config, '--out', out)
    assert status == 2 and stdout == ''
    assert f"output file '{out}' exists already" in stderr
    assert out.read_text() == 'mine'
    assert run(tiny_config, '--out', out, '--overwrite')[0] == 0
    assert out.read_text().startswith('| config |')


def test_all_configs_are_checked_first(run, tiny_config, tmp_path):
    typo = tmp_path / 'typo.py'
    typo.write_text(
        f"_base_ = '{tiny_config}'\nmodel = dict(type='TopdownPose')\n"
    )
    for name, message in (
        ('no_such_config.py', "config 'no_such_config.py' does not exist"),
        (typo, "unknown type 'TopdownPose'"),
    ):
        out = tmp_path / 'table.md'
        status, stdout, stderr = run(tiny_config, name, '--out', out)
        assert status == 2 and stdout == ''
        assert stderr.startswith(f'error: {message}')
        assert stderr.count('\n') == 1
        assert not out.exists()
