"""Tools in separate processes: killed, and two at once."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import mmengine
import pytest
import torch
from run_tools import (
    ROOT,
    assert_same_state,
    command,
    evaluate,
    load_tool,
    read,
    train,
)

from mmpose_ext.checks import find_whole_checkpoint

MULTITASK = """
_base_ = '{base}'
custom_imports = dict(imports=['mmpose_ext.multitask'])
model = dict(
    roi_head=dict(
        type='MultiTaskRoIHead',
        keypoint_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=8, featmap_strides=[4, 8, 16, 32]),
        keypoint_head=dict(
            type='OffsetKeypointHead', in_channels=8, conv_channels=8,
            num_convs=1, conv_cfg=dict(type='DCN', deform_groups=1))))
train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        type='CocoPersonDataset', ann_file='{ann_file}',
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadMultiTaskAnnotations', with_bbox=True,
                 with_mask=True),
            dict(type='Resize', scale=(96, 72), keep_ratio=True),
            dict(type='WarpKeypoints'),
            dict(type='FilterMultiTask'),
            dict(type='PackMultiTaskInputs')]))
train_cfg = dict(max_iters=4)
default_hooks = dict(logger=dict(interval=1))
"""

# Several tools in one process, since its imports take longer than they do.
DRIVER = """
import json, runpy, sys

for tool, *args in json.loads(sys.argv[1]):
    sys.argv = [tool, *args, '--launcher', 'pytorch']
    runpy.run_path(tool, run_name='__main__')
"""


def start(*args):
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    env.pop('LOCAL_RANK', None)
    return subprocess.Popen(
        [sys.executable, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


@pytest.fixture(autouse=True)
def one_thread():
    """As many threads as the processes have, for the same sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_a_tool_ends_with_one_line_and_status_2(tool, run_script):
    args = dict(train=['no.py'], test=[__file__, 'no.pth'])[tool]
    status, out, error = run_script(f'tools/{tool}.py', *args)
    assert (status, out) == (2, '')
    assert re.fullmatch(r"error: .*'no\.(py|pth)' does not exist.*\n", error)


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(tiny_config, tmp_path):
    options = {'train_cfg.max_epochs': 3, 'train_dataloader.batch_size': 2}

    def args(name):
        return '--work-dir', tmp_path / name, '--no-validate'

    killed = start(
        ROOT / 'tools/train.py',
        *command(tiny_config, *args('killed'), **options),
    )
    checkpoint = tmp_path / 'killed' / 'last_checkpoint'
    while not checkpoint.exists() and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    epoch = read(find_whole_checkpoint(tmp_path / 'killed'))['meta']['epoch']
    assert epoch in (1, 2)

    train(tiny_config, *args('killed'), '--resume', 'auto', **options)
    train(tiny_config, *args('whole'), **options)
    assert_same_state(
        *(tmp_path / name / 'epoch_3.pth' for name in ('whole', 'killed'))
    )


def few_persons(detector_config, toy_persons, folder):
    """A multi-task config; only the first of two processes sees somebody."""
    source = toy_persons / 'annotations/person_keypoints_train.json'
    content = json.loads(source.read_text())
    # The first process gets the first, third, ... image.
    content['images'].sort(key=lambda image: image['id'])
    with_persons = {image['id'] for image in content['images'][2::4]}
    content['annotations'] = [
        a for a in content['annotations'] if a['image_id'] in with_persons
    ]
    ann_file, config = folder / 'few.json', folder / 'multitask.py'
    ann_file.write_text(json.dumps(content))
    config.write_text(
        MULTITASK.replace('{base}', str(detector_config)).replace(
            '{ann_file}', str(ann_file)
        )
    )
    return config


def run_in_two_processes(folder, *commands):
    driver = folder / 'driver.py'
    driver.write_text(DRIVER)
    commands = [[str(ROOT / tool), *args] for tool, *args in commands]
    process = start(
        *('-m', 'torch.distributed.run', '--nproc_per_node', '2'),
        *('--standalone', driver, json.dumps(commands)),
    )
    try:
        _, error = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, error[-3000:]


@pytest.mark.slow
def test_two_processes(
    tiny_config, tiny_detector, detector_config, toy_persons, tmp_path
):
    """They train, evaluate and detect together what one does alone."""
    work = ['--work-dir', tmp_path / 'work']
    checkpoint, multitask = tmp_path / 'work/epoch_2.pth', tmp_path / 'multi'
    dump, out = tmp_path / 'two.pkl', tmp_path / 'two.json'
    boxes, alone = tmp_path / 'boxes.json', tmp_path / 'alone.json'
    detect = [
        *map(str, (*tiny_detector, '--img-dir', toy_persons / 'val')),
        *(
            '--ann-file',
            f'{toy_persons}/annotations/person_keypoints_val.json',
        ),
        *('--batch-size', '2', '--num-workers', '0', '--device', 'cpu'),
    ]
    few = few_persons(detector_config, toy_persons, tmp_path)
    run_in_two_processes(
        tmp_path,
        ('tools/train.py', *command(tiny_config, *work)),
        ('tools/test.py', *command(tiny_config, checkpoint, *work, '--dump',
                                   dump, '--out', out)),
        ('tools/train.py', *command(few, '--no-validate', '--work-dir',
                                    multitask)),
        ('tools/detect_persons.py', *detect, '--out', str(boxes)),
    )  # fmt: skip

    log = '\n'.join(path.read_text() for path in tmp_path.glob('work/*/*.log'))
    losses = [float(x) for x in re.findall(r'\bloss: (\S+)', log)]
    assert losses and all(0 < x < 1 for x in losses)
    assert re.search(r'Epoch\(val\).*coco/AP: ', log)

    one = tmp_path / 'one.pkl'
    metrics = evaluate(tiny_config, checkpoint, '--dump', one, *work)
    ids = [[x['id'] for x in mmengine.load(path)] for path in (one, dump)]
    assert ids[0] == ids[1]
    assert mmengine.load(out) == pytest.approx(metrics, abs=1e-6)

    load_tool('detect_persons').main([*detect, '--out', str(alone)])
    assert boxes.read_bytes() == alone.read_bytes()
    assert not list(tmp_path.glob('*.partial.*'))

    # Every process waits for the gradients of all heads of the others. This
    # is a running mean of the first one, which meets somebody in its second
    # image; the other one never does.
    (log,) = multitask.glob('*/*.log')
    losses = re.findall(r'loss_keypoint: (\S+)', log.read_text())
    assert [float(loss) > 0 for loss in losses] == [False, True, True, True]
    assert (multitask / 'iter_4.pth').exists()
