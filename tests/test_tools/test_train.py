"""tools/train.py, from the command line to the result."""

import errno
import json
import os
import re
import shutil
from functools import partial

import pytest
import torch
from mmengine.config import Config
from run_tools import (
    assert_same_state,
    command,
    configure,
    read,
    test_tool,
    train,
    train_tool,
)

# ------------------------------------------------------------------- working


def test_training_writes_checkpoints_and_the_config(trained):
    names = sorted(p.name for p in trained.glob('*.pth'))
    assert names == ['epoch_1.pth', 'epoch_2.pth']
    assert read(trained / 'epoch_2.pth')['meta']['epoch'] == 2
    assert Config.fromfile(trained / 'tiny.py').custom_hooks


def test_resume_from_the_last_whole_checkpoint(tiny_config, trained, tmp_path):
    whole = (trained / 'epoch_1.pth').read_bytes()
    (tmp_path / 'epoch_1.pth').write_bytes(whole)
    (tmp_path / 'epoch_2.pth').write_bytes(whole[:9999])
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    train(tiny_config, '--work-dir', tmp_path, '--resume', '--no-validate')
    assert_same_state(tmp_path / 'epoch_2.pth', trained / 'epoch_2.pth')


def test_resume_from_a_named_checkpoint(tiny_config, trained, tmp_path):
    train(tiny_config, '--work-dir', tmp_path, '--no-validate',
          '--resume', trained / 'epoch_1.pth')  # fmt: skip
    assert_same_state(tmp_path / 'epoch_2.pth', trained / 'epoch_2.pth')
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_resume_without_a_checkpoint_starts_anew(tiny_config, tmp_path):
    for args, options in (
        (['--resume'], dict(load_from='pretrained.pth')),
        ([], dict(resume=True)),
    ):
        cfg = configure(train_tool, tiny_config, '--work-dir', tmp_path, *args,
                        **options)  # fmt: skip
        assert cfg.resume is False
        assert cfg.load_from == options.get('load_from')


def test_options(tiny_config, monkeypatch):
    def options(*args, **given):
        return configure(train_tool, tiny_config, *args, **given)

    cfg = options()
    assert cfg.work_dir == 'work_dirs/tiny' and cfg.launcher == 'none'
    assert not cfg.default_hooks.visualization.enable
    assert cfg.val_cfg is not None
    cfg = options('--no-validate', '--show', '--wait-time', 2)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.default_hooks.visualization.wait_time == 2

    last = {'work_dir': 'c', 'default_hooks.visualization.interval': 3}
    cfg = options('--show-dir', 'a', '--work-dir', 'b', **last)
    assert cfg.work_dir == 'c'
    assert cfg.default_hooks.visualization.interval == 3
    assert cfg.default_hooks.visualization.out_dir == 'a'

    monkeypatch.setattr(train_tool, 'get_device', lambda: 'cuda')
    for given, dtype in (
        ([], 'float16'),
        (['float16'], 'float16'),
        (['bfloat16'], 'bfloat16'),
    ):
        wrapper = options('--amp', *given).optim_wrapper
        assert wrapper.type == 'AmpOptimWrapper'
        assert wrapper.loss_scale == 'dynamic'
        assert wrapper.dtype == dtype
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=64)))
    train_tool.scale_lr(cfg)
    assert cfg.auto_scale_lr.enable


def test_local_rank_of_the_old_launcher(tiny_config, monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    parser = train_tool.make_parser()
    train_tool.parse_args(parser, [str(tiny_config), '--local-rank=3'])
    assert os.environ.pop('LOCAL_RANK') == '3'


@pytest.mark.parametrize('tool', [train_tool, test_tool])
def test_help_lets_mim_alone(tool):
    """mim adds --gpus or --device where the help speaks of --gpus."""
    assert '--gpus' not in tool.make_parser().format_help()


# ----------------------------------------------------------------- bad input


@pytest.fixture
def error(tiny_config, error_of):
    """The error of a training with some options."""
    return partial(error_of, train_tool, tiny_config)


def test_wrong_data_ends_training_before_it_starts(
    error, toy_persons, tmp_path
):
    wrong = tmp_path / 'wrong.json'
    options = {'train_dataloader.dataset.ann_file': wrong}
    assert f"'{wrong}' does not exist" in error(**options)
    wrong.write_text('[1, 2')
    assert f"'{wrong}' is not JSON" in error(**options)
    source = toy_persons / 'annotations/person_keypoints_train.json'
    content = json.loads(source.read_text())
    for annotation in content['annotations']:
        annotation.update(keypoints=[1, 1, 2] * 14, num_keypoints=14)
    wrong.write_text(json.dumps(content))
    place = 'train_dataloader.dataset (CocoDataset metainfo)'
    assert f'14 keypoints, but {place} has 17' in error(**options)
    options = {'val_dataloader.dataset.data_prefix.img': 'no/such'}
    assert "no/such' (val_dataloader.dataset" in error(**options)
    message = error(**{'model.backbone.type': 'ResNett'})
    assert "'ResNett' at model.backbone.type" in message
    assert "did you mean 'ResNet'" in message
    assert not (tmp_path / 'work').exists()

    # This one only shows when it is built.
    place, name = 'optim_wrapper.constructor', 'DefaultOptimWrapperConstruct'
    message = error(**{place: name})
    assert f"unknown type '{name}' at {place}" in message
    assert f"did you mean '{name}or'" in message


@pytest.mark.parametrize('num_workers', [0, 1])
def test_unreadable_image_ends_the_run(
    num_workers, error, toy_persons, tmp_path
):
    images = tmp_path / 'images'
    shutil.copytree(toy_persons / 'train', images)
    wrong = images / '000000000012.jpg'
    wrong.write_bytes(b'not a picture')
    options = {'train_dataloader.dataset.data_prefix.img': images}
    message = error(**options, **{'train_dataloader.num_workers': num_workers})
    assert message == f"image '{wrong}' cannot be decoded (13 bytes)\n"
    assert not list((tmp_path / 'work').glob('*.pth'))


@pytest.mark.parametrize('tool', [train_tool, test_tool])
def test_checkpoint_of_another_architecture(
    tool, tiny_config, trained, tmp_path, error_of
):
    checkpoint = trained / 'epoch_1.pth'
    args = ['--resume'] if tool is train_tool else []
    options = {f'model.head.deconv_{key}': value for key, value in
               (('out_channels', '[8]'), ('kernel_sizes', '[4]'))}  # fmt: skip
    message = error_of(tool, tiny_config, *args, checkpoint, **options)
    assert f"'{checkpoint}' is of another architecture" in message
    assert 'unknown to the model: head.deconv_layers.3.weight' in message
    shapes = 'head.deconv_layers.0.weight [64, 16, 4, 4] for [64, 8, 4, 4]'
    assert f'of another shape: {shapes}' in message
    assert not list(tmp_path.glob('work/*.pth'))


def test_weights_alone_cannot_be_resumed_from(
    tiny_config, trained, tmp_path, error
):
    weights = tmp_path / 'weights.pth'
    torch.save(read(trained / 'epoch_1.pth')['state_dict'], weights)
    message = error('--resume', weights)
    assert 'cannot be resumed from, it lacks meta, message_hub' in message
    # but they can be started from
    train(tiny_config, '--work-dir', tmp_path, '--no-validate',
          **{'load_from': weights, 'train_cfg.max_epochs': 1})  # fmt: skip
    assert (tmp_path / 'epoch_1.pth').exists()


def test_a_training_state_of_another_shape(trained, tmp_path, error):
    checkpoint, odd = read(trained / 'epoch_1.pth'), tmp_path / 'odd.pth'
    for key, value, message in [
        ('message_hub', 5, "dict for 'message_hub', got int"),
        ('optimizer', [], "dict for 'optimizer', got list"),
        ('meta', dict(iter=3), "int for 'meta.epoch', got NoneType"),
        ('meta', dict(epoch=1, iter='3'), "int for 'meta.iter', got str"),
    ]:
        torch.save({**checkpoint, key: value}, odd)
        assert f'expected {message}' in error('--resume', odd)


def pretrained(checkpoint) -> dict:
    """The options for a backbone that begins with a checkpoint."""
    init_cfg = 'model.backbone.init_cfg'
    return {f'{init_cfg}.type': 'Pretrained',
            f'{init_cfg}.checkpoint': checkpoint}  # fmt: skip


def test_a_checkpoint_of_another_shape(tiny_config, tmp_path, error, error_of):
    path = tmp_path / 'odd.pth'
    torch.save(dict(state_dict=5, meta={}, message_hub={}, optimizer={}), path)
    for message in (
        error_of(test_tool, tiny_config, path),
        error('--resume', path),
        error(load_from=path),
        error(**pretrained(path)),
    ):
        assert message == (
            f"checkpoint '{path}': expected weights by name under "
            "'state_dict', got int\n"
        )


def test_weights_of_nothing_in_the_model(trained, error):
    # Its names begin with 'backbone.', which the user left out.
    checkpoint = trained / 'epoch_1.pth'
    message = error(**pretrained(checkpoint))
    assert f"'{checkpoint}' has none of the 100 tensors of ResNet" in message
    assert 'it has backbone.conv1.weight' in message
    assert 'expected conv1.weight' in message


@pytest.mark.parametrize('tool', [train_tool, test_tool])
def test_a_work_dir_that_cannot_be_written(
    tool, tiny_config, trained, tmp_path, error_of, monkeypatch
):
    args = tool, tiny_config
    args += () if tool is train_tool else (trained / 'epoch_2.pth',)
    # No folder can be in /proc, which says that it does not exist.
    assert error_of(*args, work_dir='/proc/x').startswith(
        "folder '/proc/x' cannot be made or written to: "
    )

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Config, 'dump', full)
    assert error_of(*args) == (
        f"cannot write '{tmp_path / 'work'}': No space left on device\n"
    )


def test_wrong_command_lines(tiny_config, tmp_path, error_of):
    error = partial(error_of, train_tool)
    assert "config 'no.py' does not exist" in error('no.py')
    broken = tmp_path / 'broken.py'
    for text in ('_base_ = "no.py"', 'model = ('):
        broken.write_text(text)
        assert f'cannot read config {broken}' in error(broken)
    for args in (
        (train_tool, tiny_config, '--resume'),
        (test_tool, tiny_config),
    ):
        message = error_of(*args, 'no.pth')
        assert "checkpoint 'no.pth' does not exist" in message
    wrong = {'param_scheduler.7.gamma': 1}
    assert '--cfg-options' in error(tiny_config, **wrong)
    assert '--auto-scale-lr needs' in error(tiny_config, '--auto-scale-lr')
    cfg = Config.fromfile(tiny_config)
    cfg.default_hooks.pop('visualization')
    cfg.dump(broken)
    assert 'no default_hooks.visualization' in error(broken, '--show-dir', 'a')
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    cfg.dump(broken)
    assert 'cannot replace the optim_wrapper Apex' in error(broken, '--amp')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_amp_without_a_gpu(tiny_config, tmp_path, capsys, error, error_of):
    message = '--amp float16 needs a GPU'
    assert message in error('--amp', 'float16')
    half = tmp_path / 'half.py'
    half.write_text(
        f"_base_ = '{tiny_config}'\n"
        "optim_wrapper = dict(type='AmpOptimWrapper', dtype='float16')\n"
    )
    assert message in error_of(train_tool, half, '--amp')
    with pytest.raises(SystemExit):
        train_tool.main(command(tiny_config, '--amp', 'float8'))
    assert "invalid choice: 'float8'" in capsys.readouterr().err

    train(
        tiny_config, '--amp', '--work-dir', tmp_path,
        **{'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1}
    )  # fmt: skip
    (log,) = tmp_path.glob('*/*.log')
    losses = re.findall(r' loss: (\d\.\d+)', log.read_text())
    assert len(losses) > 1
    assert all(0 < float(loss) < 0.1 for loss in losses)
    assert 'coco/AP: ' in log.read_text()
    weights = read(tmp_path / 'epoch_1.pth')['state_dict'].values()
    assert not any(w.dtype == torch.bfloat16 for w in weights)


# --------------------------------------------------- detectors of MMDetection


def test_detector_is_trained_and_resumed(detector, tmp_path):
    (tmp_path / 'iter_1.pth').write_bytes(
        detector.with_name('iter_1.pth').read_bytes()
    )
    train(detector, '--work-dir', tmp_path, '--resume', '--no-validate')
    again, before = (
        read(folder / 'iter_2.pth') for folder in (tmp_path, detector.parent)
    )
    assert again['meta']['iter'] == before['meta']['iter'] == 2
    # But for the RoIs that are drawn at random, which move little.
    torch.testing.assert_close(again['state_dict'], before['state_dict'],
                               rtol=0, atol=1e-2)  # fmt: skip


def test_wrong_data_of_a_detector(
    detector_config, toy_persons, tmp_path, error_of
):
    error, wrong = (
        partial(error_of, train_tool, detector_config),
        tmp_path / 'a',
    )
    options = {'train_dataloader.dataset.ann_file': wrong}
    assert f"'{wrong}' does not exist" in error(**options)
    source = toy_persons / 'annotations/person_keypoints_train.json'
    content = json.loads(source.read_text())
    content['categories'][0]['name'] = 'dog'
    wrong.write_text(json.dumps(content))
    place = 'train_dataloader.dataset (CocoDataset metainfo)'
    assert f'has the categories dog, but {place} has' in error(**options)
    options = {'val_dataloader.dataset.data_prefix.img': 'no/such'}
    assert "no/such' (val_dataloader.dataset" in error(**options)
    options = {'model.roi_head.type': 'StandardRoIHed'}
    assert "did you mean 'StandardRoIHead'" in error(**options)
    assert not (tmp_path / 'work').exists()

    for path in (toy_persons / 'train').iterdir():
        (tmp_path / path.name).write_bytes(b'not a picture')
    message = error(**{'train_dataloader.dataset.data_prefix.img': tmp_path})
    assert message.endswith(".jpg' cannot be decoded (13 bytes)\n")


def test_what_a_detector_cannot_draw(detector_config, error_of):
    message = error_of(train_tool, detector_config, '--show-dir', 'pictures')
    assert '--show-dir pictures: MMDetection draws validations into' in message
    error = partial(error_of, test_tool, detector_config, __file__)
    message = error('--show', '--interval', 2)
    assert '--interval 2: MMDetection draws every image' in message
    message = error('--badcase')
    assert '--badcase is for the pose models of MMPose' in message
    cfg = configure(train_tool, detector_config, '--show', '--interval', 2)
    hook = cfg.default_hooks.visualization
    assert hook.draw and hook.show and hook.interval == 2
