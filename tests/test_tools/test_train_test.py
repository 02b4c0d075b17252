"""tools/train.py and tools/test.py, from the command line to the result."""

import errno
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.config import Config

from mmpose_ext import checks
from mmpose_ext.errors import run_tool

ROOT = Path(__file__).parents[2]
AP = 'coco/AP'


def load_tool(name):
    path = ROOT / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train_tool, test_tool = load_tool('train'), load_tool('test')


def command(config, *args, **options):
    """The arguments of a tool; an own name keeps MMEngine's loggers apart."""
    options['experiment_name'] = uuid.uuid4().hex
    pairs = [f'{key}={value}' for key, value in options.items()]
    return [str(a) for a in (config, *args, '--cfg-options', *pairs)]


def train(config, *args, **options):
    return train_tool.main(command(config, *args, **options))


def evaluate(config, *args, **options):
    return test_tool.main(command(config, *args, **options))


def error_of(tool, argv, capsys):
    """The message with which a tool ends, and that it ends as it should."""
    with pytest.raises(SystemExit) as e:
        run_tool(lambda: tool.main(argv))
    assert e.value.code == 2
    message = capsys.readouterr().err.rpartition('error: ')[2]
    assert 'Traceback' not in message
    return message


def read(path):
    return torch.load(path, weights_only=False)


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """The folder of a run of two epochs."""
    work_dir = tmp_path_factory.mktemp('run')
    train(tiny_config, '--work-dir', work_dir)
    return work_dir


# ------------------------------------------------------------------- working


def test_training_writes_checkpoints_and_the_config(trained):
    assert sorted(p.name for p in trained.glob('*.pth')) == [
        'epoch_1.pth',
        'epoch_2.pth',
    ]
    assert read(trained / 'epoch_2.pth')['meta']['epoch'] == 2
    assert Config.fromfile(trained / 'tiny.py').custom_hooks


def test_evaluation_writes_what_it_returns(tiny_config, trained, tmp_path):
    out, dump = tmp_path / 'out' / 'metrics.json', tmp_path / 'all.pkl'
    args = [trained / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
            '--dump', dump]  # fmt: skip
    metrics = evaluate(tiny_config, *args, '--overwrite')
    assert 0 <= metrics[AP] <= 1
    assert json.loads(out.read_text()) == pytest.approx(metrics)
    predictions = mmengine.load(dump)
    annotations = Config.fromfile(tiny_config).test_evaluator.ann_file
    persons = json.loads(Path(annotations).read_text())['annotations']
    assert len(predictions) == sum(
        p['num_keypoints'] > 0 and not p['iscrowd'] for p in persons
    )
    assert list(tmp_path.glob('*part*')) == []


def test_the_fast_test_finds_what_the_plain_one_does(
    tiny_config, trained, tmp_path
):
    def run(name, *args):
        dump, work_dir = tmp_path / f'{name}.pkl', tmp_path / name
        metrics = evaluate(
            tiny_config, trained / 'epoch_2.pth', '--work-dir', work_dir,
            '--dump', dump, *args, **{'model.test_cfg.flip_test': True},
        )  # fmt: skip
        # What tools/analysis/test_speed.py reads.
        speed = load_tool('analysis/test_speed')
        assert 0 < speed.seconds_per_batch(work_dir) < 60
        return metrics, mmengine.load(dump)

    metrics, samples = run('fast')
    plain_metrics, plain_samples = run('plain', '--plain')
    assert metrics == pytest.approx(plain_metrics, abs=5e-4)
    for a, b in zip(samples, plain_samples):
        for key in ('keypoints', 'keypoint_scores'):
            a_, b_ = (s['pred_instances'][key] for s in (a, b))
            assert abs(a_ - b_).max() < 1e-3


def test_augmentation_over_scales_and_flip(tiny_config, trained, tmp_path):
    def dump(name, *args, **options):
        path = tmp_path / f'{name}.pkl'
        argv = [trained / 'epoch_2.pth', '--work-dir', tmp_path]
        argv += ['--dump', path, *args]
        metrics = evaluate(tiny_config, *argv, **options)
        assert 0 <= metrics[AP] <= 1
        samples = mmengine.load(path)
        return [s['pred_instances']['keypoints'] for s in samples]

    plain = dump('plain')
    # The same network at one scale is the plain one.
    flip = {'model.test_cfg.flip_test': True}
    for a, b in zip(dump('flip', **flip), dump('one', '--tta', 1)):
        assert abs(a - b).max() < 1e-4
    scales = dump('scales', '--tta')
    same = dump('same', '--tta', 0.75, 1, 1.25)
    assert len(scales) == len(plain)
    assert all((a == b).all() for a, b in zip(scales, same))
    assert max(abs(a - b).max() for a, b in zip(scales, plain)) > 0.1


def test_own_augmentation_comes_first(tiny_config, trained, tmp_path, capsys):
    config = tmp_path / 'own.py'
    config.write_text(
        f"_base_ = '{tiny_config}'\n"
        "tta_model = dict(type='MultiScaleHeatmapTTA', flip_test=False)\n"
        "tta_pipeline = [dict(type='LoadImage'), "
        "dict(type='GetBBoxCenterScale'), dict(type='TestTimeAug', "
        "transforms=[[dict(type='TopdownAffine', input_size=(64, 96))], "
        "[dict(type='PackPoseInputs')]])]\n"
    )
    args = [trained / 'epoch_2.pth', '--work-dir', tmp_path / 'work']
    own = evaluate(config, *args, '--tta')
    assert own == pytest.approx(evaluate(tiny_config, *args))
    message = error_of(test_tool, command(config, *args, '--tta', 2), capsys)
    assert message.startswith('scales 2: the config has a tta_pipeline')


def test_wrong_scales_end_the_evaluation(
    tiny_config, trained, tmp_path, capsys
):
    work_dir = tmp_path / 'work'
    args = [trained / 'epoch_2.pth', '--work-dir', work_dir]
    argv = command(tiny_config, *args, '--tta', 1, 0.1)
    message = error_of(test_tool, argv, capsys)
    assert 'scale 0.1 leaves nothing of the input of 64x96' in message
    assert not work_dir.exists()


def test_augmentation_of_weights_that_do_not_fit(
    tiny_config, trained, tmp_path, capsys
):
    checkpoint = read(trained / 'epoch_2.pth')
    checkpoint['state_dict'].pop('head.final_layer.bias')
    torch.save(checkpoint, tmp_path / 'part.pth')
    argv = command(tiny_config, tmp_path / 'part.pth', '--work-dir', tmp_path,
                   '--tta')  # fmt: skip
    message = error_of(test_tool, argv, capsys)
    assert 'missing from the checkpoint: head.final_layer.bias' in message


def test_show_dir_gets_pictures(tiny_config, trained, tmp_path):
    evaluate(tiny_config, trained / 'epoch_2.pth', '--work-dir', tmp_path,
             '--show-dir', 'pictures', '--interval', 5)  # fmt: skip
    assert list(tmp_path.glob('*/pictures/*.jpg'))


def test_resume_goes_on_from_the_last_whole_checkpoint(
    tiny_config, trained, tmp_path
):
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    broken = tmp_path / 'epoch_2.pth'
    broken.write_bytes(broken.read_bytes()[:9999])
    (tmp_path / 'last_checkpoint').write_text(str(broken))

    train(tiny_config, '--work-dir', tmp_path, '--resume', '--no-validate')
    again, before = read(broken), read(trained / 'epoch_2.pth')
    assert again['meta']['epoch'] == 2
    assert again['meta']['iter'] == before['meta']['iter']
    assert_same_state(again, before)


def test_resume_from_a_named_checkpoint(tiny_config, trained, tmp_path):
    train(tiny_config, '--work-dir', tmp_path, '--no-validate',
          '--resume', trained / 'epoch_1.pth')  # fmt: skip
    assert_same_state(
        read(tmp_path / 'epoch_2.pth'), read(trained / 'epoch_2.pth')
    )
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_resume_without_a_checkpoint_starts_anew(tiny_config, tmp_path):
    for args, options in ((['--resume'], {}), ([], dict(resume=True))):
        argv = command(tiny_config, '--work-dir', tmp_path, *args,
                       load_from='pretrained.pth' if args else None,
                       **options)  # fmt: skip
        args = train_tool.parse_args(train_tool.make_parser(), argv)
        cfg = train_tool.configure(args)
        assert cfg.resume is False
        assert cfg.load_from == ('pretrained.pth' if args.resume else None)


def assert_same_state(a, b):
    """Two checkpoints have the same weights, optimizer and schedule."""
    torch.testing.assert_close(a['state_dict'], b['state_dict'],
                               rtol=0, atol=0)  # fmt: skip
    torch.testing.assert_close(a['optimizer'], b['optimizer'], rtol=0, atol=0)
    schedules = [
        [
            {k: v for k, v in s.items() if isinstance(v, (int, float, list))}
            for s in c['param_schedulers']
        ]
        for c in (a, b)
    ]
    assert schedules[0] == schedules[1]


@pytest.mark.parametrize(
    ('boxes', 'options'),
    [
        ([], {}),
        (
            [dict(image_id=1, category_id=1, bbox=[0, 0, 9, 9], score=0.1)],
            {'test_dataloader.dataset.filter_cfg.bbox_score_thr': 0.5},
        ),
    ],
    ids=['empty', 'below the threshold'],
)
def test_no_detection_evaluates_to_zero(
    boxes, options, tiny_config, trained, tmp_path
):
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(boxes))
    options['test_dataloader.dataset.bbox_file'] = path
    options['test_dataloader.sampler.round_up'] = True
    metrics = evaluate(
        tiny_config, trained / 'epoch_2.pth', '--work-dir', tmp_path,
        '--dump', tmp_path / 'all.pkl', **options
    )  # fmt: skip
    assert metrics[AP] == metrics['coco/AR'] == 0.0
    assert len(metrics) == 10
    assert mmengine.load(tmp_path / 'all.pkl') == []


def test_cfg_options_come_last(tiny_config, tmp_path):
    argv = command(tiny_config, '--show-dir', 'a', '--work-dir', 'b',
                   **{'work_dir': 'c', 'train_cfg.max_epochs': 7,
                      'default_hooks.visualization.interval': 3})  # fmt: skip
    args = train_tool.parse_args(train_tool.make_parser(), argv)
    cfg = train_tool.configure(args)
    assert cfg.work_dir == 'c' and cfg.train_cfg.max_epochs == 7
    assert cfg.default_hooks.visualization.interval == 3
    assert cfg.default_hooks.visualization.out_dir == 'a'


def test_options_of_training(tiny_config, monkeypatch):
    def configure(*args, **options):
        argv = command(tiny_config, *args, **options)
        args = train_tool.parse_args(train_tool.make_parser(), argv)
        return train_tool.configure(args)

    cfg = configure()
    assert cfg.work_dir == 'work_dirs/tiny' and cfg.launcher == 'none'
    assert not cfg.default_hooks.visualization.enable
    assert cfg.val_cfg is not None
    cfg = configure('--no-validate', '--show', '--wait-time', 2)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert cfg.default_hooks.visualization.wait_time == 2

    monkeypatch.setattr(train_tool, 'get_device', lambda: 'cuda')
    for given, dtype in (
        ([], 'float16'),
        (['float16'], 'float16'),
        (['bfloat16'], 'bfloat16'),
    ):
        wrapper = configure('--amp', *given).optim_wrapper
        assert wrapper.type == 'AmpOptimWrapper'
        assert wrapper.loss_scale == 'dynamic'
        assert wrapper.dtype == dtype
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=64)))
    train_tool.scale_lr(cfg)
    assert cfg.auto_scale_lr.enable


def test_bad_cases_can_be_analysed(tiny_config):
    def configure(**options):
        argv = command(tiny_config, 'x.pth', '--badcase', '--show', **options)
        args = test_tool.parse_args(test_tool.make_parser(), argv)
        return test_tool.configure(args)

    cfg = configure()
    hook = cfg.default_hooks.badcase
    assert hook.enable and hook.show and hook.metric.type == 'KeypointMSELoss'


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


def test_wrong_data_ends_training_before_it_starts(
    tiny_config, toy_persons, tmp_path, capsys
):
    def error(**options):
        argv = command(tiny_config, '--work-dir', work_dir, **options)
        return error_of(train_tool, argv, capsys)

    work_dir, wrong = tmp_path / 'work', tmp_path / 'wrong.json'
    options = {'train_dataloader.dataset.ann_file': wrong}
    assert f"'{wrong}' does not exist" in error(**options)
    wrong.touch()
    assert f"'{wrong}' is empty" in error(**options)
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
    options = {'model.backbone.type': 'ResNett'}
    assert "'ResNett' at model.backbone.type" in error(**options)
    assert "did you mean 'ResNet'" in error(**options)
    assert not work_dir.exists()


def test_type_that_only_shows_when_it_is_built(tiny_config, tmp_path, capsys):
    place = 'optim_wrapper.constructor'
    argv = command(tiny_config, '--work-dir', tmp_path,
                   **{place: 'DefaultOptimWrapperConstruct'})  # fmt: skip
    message = error_of(train_tool, argv, capsys)
    assert f"unknown type 'DefaultOptimWrapperConstruct' at {place}" in message
    assert "did you mean 'DefaultOptimWrapperConstructor'" in message


@pytest.mark.parametrize('num_workers', [0, 1])
def test_unreadable_image_ends_the_run(
    num_workers, tiny_config, toy_persons, tmp_path, capsys
):
    images = tmp_path / 'images'
    images.mkdir()
    for path in (toy_persons / 'train').iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    wrong = images / '000000000012.jpg'
    wrong.write_bytes(b'not a picture')
    options = {
        'train_dataloader.dataset.data_prefix.img': images,
        'train_dataloader.num_workers': num_workers,
    }
    argv = command(tiny_config, '--work-dir', tmp_path / 'work', **options)
    message = error_of(train_tool, argv, capsys)
    assert message == f"image '{wrong}' cannot be decoded (13 bytes)\n"
    assert not list((tmp_path / 'work').glob('*.pth'))


def test_wrong_detections_end_the_evaluation(
    tiny_config, trained, tmp_path, capsys
):
    def error(content):
        boxes.write_text(content)
        return error_of(test_tool, argv, capsys)

    boxes = tmp_path / 'boxes.json'
    argv = command(
        tiny_config, trained / 'epoch_1.pth', '--work-dir', tmp_path / 'work',
        **{'test_dataloader.dataset.bbox_file': boxes}
    )  # fmt: skip
    assert f"'{boxes}' does not exist" in error_of(test_tool, argv, capsys)
    box = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)
    other = dict(box, image_id=397133)
    assert '(397133): it is probably one of another' in error(
        json.dumps([box, other])
    )
    flat = dict(box, bbox=[1, 2, 0, 4])
    assert 'entry 1: bbox [1, 2, 0, 4], expected' in error(
        json.dumps([box, flat])
    )
    assert 'must be a list' in error('{}')
    assert not (tmp_path / 'work').exists()


def test_nothing_detected_with_a_metric_that_cannot_say_so(
    tiny_config, trained, tmp_path, capsys
):
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('[]')
    argv = command(tiny_config, trained / 'epoch_1.pth',
                   **{'test_dataloader.dataset.bbox_file': boxes,
                      'test_evaluator.type': 'PCKAccuracy'})  # fmt: skip
    message = error_of(test_tool, argv, capsys)
    assert 'leaves no box to evaluate, which PCKAccuracy cannot' in message


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_checkpoint_of_another_architecture(
    tool, tiny_config, trained, tmp_path, capsys
):
    checkpoint = trained / 'epoch_1.pth'
    args = ['--work-dir', tmp_path]
    args += ['--resume', checkpoint] if tool == 'train' else []
    first = [checkpoint] if tool == 'test' else []
    argv = command(tiny_config, *first, *args,
                   **{'model.head.deconv_out_channels': '[8]',
                      'model.head.deconv_kernel_sizes': '[4]'})  # fmt: skip
    module = dict(train=train_tool, test=test_tool)[tool]
    message = error_of(module, argv, capsys)
    assert f"'{checkpoint}' is of another architecture" in message
    assert 'unknown to the model: head.deconv_layers.3.weight' in message
    shapes = 'head.deconv_layers.0.weight [64, 16, 4, 4] for [64, 8, 4, 4]'
    assert f'of another shape: {shapes}' in message
    assert not list(tmp_path.glob('*.pth'))


def test_weights_alone_cannot_be_resumed_from(
    tiny_config, trained, tmp_path, capsys
):
    weights = tmp_path / 'weights.pth'
    torch.save(read(trained / 'epoch_1.pth')['state_dict'], weights)
    argv = command(tiny_config, '--work-dir', tmp_path, '--resume', weights)
    message = error_of(train_tool, argv, capsys)
    assert 'cannot be resumed from, it lacks meta, message_hub' in message
    # but they can be started from
    train(tiny_config, '--work-dir', tmp_path, '--no-validate',
          **{'load_from': weights, 'train_cfg.max_epochs': 1})  # fmt: skip
    assert (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('message_hub', 5, "expected dict for 'message_hub', got int"),
        ('optimizer', [], "expected dict for 'optimizer', got list"),
        ('meta', dict(iter=3), "expected int for 'meta.epoch', got NoneType"),
        (
            'meta',
            dict(epoch=1, iter='3'),
            "expected int for 'meta.iter', got str",
        ),
    ],
)
def test_a_training_state_of_another_shape(
    key, value, message, tiny_config, trained, tmp_path, capsys
):
    checkpoint = read(trained / 'epoch_1.pth')
    checkpoint[key] = value
    torch.save(checkpoint, tmp_path / 'odd.pth')
    argv = command(tiny_config, '--work-dir', tmp_path, '--resume',
                   tmp_path / 'odd.pth')  # fmt: skip
    assert message in error_of(train_tool, argv, capsys)


@pytest.mark.parametrize('flag', ['test', 'resume', 'load_from', 'init_cfg'])
def test_a_checkpoint_of_another_shape(flag, tiny_config, tmp_path, capsys):
    path = tmp_path / 'odd.pth'
    torch.save(dict(state_dict=5, meta={}, message_hub={}, optimizer={}), path)
    args, options = {
        'test': ([path], {}),
        'resume': (['--resume', path], {}),
        'load_from': ([], dict(load_from=path)),
        'init_cfg': (
            [],
            {
                'model.backbone.init_cfg.type': 'Pretrained',
                'model.backbone.init_cfg.checkpoint': path,
            },
        ),
    }[flag]
    argv = command(tiny_config, *args, '--work-dir', tmp_path, **options)
    tool = test_tool if flag == 'test' else train_tool
    assert error_of(tool, argv, capsys) == (
        f"checkpoint '{path}': expected weights by name under 'state_dict', "
        'got int\n'
    )


def test_weights_of_nothing_in_the_model(
    tiny_config, trained, tmp_path, capsys
):
    # Its names begin with 'backbone.', which the user left out.
    checkpoint = trained / 'epoch_1.pth'
    options = {
        'model.backbone.init_cfg.type': 'Pretrained',
        'model.backbone.init_cfg.checkpoint': checkpoint,
    }
    argv = command(tiny_config, '--work-dir', tmp_path, **options)
    message = error_of(train_tool, argv, capsys)
    assert f"'{checkpoint}' has none of the 100 tensors of ResNet" in message
    assert 'it has backbone.conv1.weight' in message
    assert 'expected conv1.weight' in message


def test_existing_results_are_kept(tiny_config, trained, tmp_path, capsys):
    for flag, name in (('--out', 'a.json'), ('--dump', 'a.pkl')):
        path = tmp_path / name
        path.write_text('old')
        argv = command(tiny_config, trained / 'epoch_1.pth', flag, path)
        message = error_of(test_tool, argv, capsys)
        assert f"output file '{path}' exists already" in message
        assert path.read_text() == 'old'
        argv[argv.index(str(path))] = 'a.txt'
        message = error_of(test_tool, argv, capsys)
        assert f"{flag} 'a.txt' must end in ." in message


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_a_work_dir_that_cannot_be_written(
    tool, tiny_config, trained, tmp_path, capsys, monkeypatch
):
    tool, args = {
        'train': (train_tool, []),
        'test': (test_tool, [trained / 'epoch_2.pth']),
    }[tool]
    # No folder can be in /proc, which says that it does not exist.
    argv = command(tiny_config, *args, '--work-dir', '/proc/x')
    assert error_of(tool, argv, capsys).startswith(
        "folder '/proc/x' cannot be made or written to: "
    )

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Config, 'dump', full)
    argv = command(tiny_config, *args, '--work-dir', tmp_path)
    assert error_of(tool, argv, capsys) == (
        f"cannot write '{tmp_path}': No space left on device\n"
    )


def test_wrong_command_lines(tiny_config, tmp_path, capsys):
    def error(*args, tool=train_tool, **options):
        return error_of(tool, command(*args, **options), capsys)

    assert "config 'no.py' does not exist" in error('no.py')
    broken = tmp_path / 'broken.py'
    broken.write_text('_base_ = "no.py"')
    assert f'cannot read config {broken}' in error(broken)
    broken.write_text('model = (')
    assert f'cannot read config {broken}' in error(broken)
    assert "checkpoint 'no.pth' does not exist" in error(
        tiny_config, '--resume', 'no.pth'
    )
    assert "checkpoint 'no.pth' does not exist" in error(
        tiny_config, 'no.pth', tool=test_tool
    )
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
def test_amp_without_a_gpu(tiny_config, tmp_path, capsys):
    argv = command(tiny_config, '--amp', 'float16')
    assert '--amp float16 needs a GPU' in error_of(train_tool, argv, capsys)
    half = tmp_path / 'half.py'
    half.write_text(
        f"_base_ = '{tiny_config}'\n"
        "optim_wrapper = dict(type='AmpOptimWrapper', dtype='float16')\n"
    )
    error = error_of(train_tool, command(half, '--amp'), capsys)
    assert '--amp float16 needs a GPU' in error
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

DETECTOR = """
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py',
          'mmdet::_base_/default_runtime.py']
model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, stem_channels=8,
                  base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=8),
        mask_roi_extractor=dict(out_channels=8),
        bbox_head=dict(in_channels=8, fc_out_channels=8, num_classes=1),
        mask_head=dict(in_channels=8, conv_out_channels=8, num_classes=1)),
    train_cfg=dict(rpn_proposal=dict(max_per_img=20),
                   rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(max_per_img=20),
                  rcnn=dict(score_thr=0.0, max_per_img=4)))
load = dict(type='LoadImageFromFile')
boxes = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
resize = dict(type='Resize', scale=(96, 72), keep_ratio=True)
data = dict(
    type='CocoDataset', data_root='{data_root}',
    metainfo=dict(classes=('person',)))
train_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=[load, boxes, resize, dict(type='PackDetInputs')], **data))
val_dataloader = dict(
    batch_size=2, num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'), test_mode=True,
        pipeline=[load, resize, dict(
            type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape',
                'scale_factor'))], **data))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', metric=['bbox', 'segm'],
    ann_file='{data_root}/annotations/person_keypoints_val.json')
test_evaluator = val_evaluator
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
val_cfg, test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
optim_wrapper = dict(optimizer=dict(type='SGD', lr=1e-3))
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=1))
randomness = dict(seed=0)
"""


@pytest.fixture(scope='module')
def detector(toy_persons, tmp_path_factory):
    """The config of a small Mask R-CNN, and the folder of its run."""
    folder = tmp_path_factory.mktemp('detector')
    config = folder / 'detector.py'
    config.write_text(DETECTOR.replace('{data_root}', str(toy_persons)))
    train(config, '--work-dir', folder)
    return config


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


def test_detector_is_evaluated(detector, tmp_path):
    out, dump = tmp_path / 'metrics.json', tmp_path / 'all.pkl'
    metrics = evaluate(
        detector, detector.with_name('iter_2.pth'), '--work-dir', tmp_path,
        '--out', out, '--dump', dump, '--show-dir', 'pictures',
    )  # fmt: skip
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    assert 0 <= metrics['coco/segm_mAP'] <= 1
    assert json.loads(out.read_text()) == metrics
    samples = mmengine.load(dump)
    assert [len(s['pred_instances']['bboxes']) for s in samples] == [4] * 6
    assert len(list(tmp_path.glob('*/pictures/*.jpg'))) == 6


def test_what_a_detector_cannot_draw(detector, capsys):
    def error(tool, *args):
        return error_of(tool, command(detector, *args), capsys)

    checkpoint = detector.with_name('iter_2.pth')
    message = error(train_tool, '--show-dir', 'pictures')
    assert '--show-dir pictures: MMDetection draws validations into' in message
    message = error(test_tool, checkpoint, '--show', '--interval', 2)
    assert '--interval 2: MMDetection draws every image' in message
    message = error(test_tool, checkpoint, '--badcase')
    assert '--badcase is for the pose models of MMPose' in message
    argv = command(detector, '--show', '--interval', 2)
    args = train_tool.parse_args(train_tool.make_parser(), argv)
    hook = train_tool.configure(args).default_hooks.visualization
    assert hook.draw and hook.show and hook.interval == 2


def test_wrong_data_of_a_detector(detector, toy_persons, tmp_path, capsys):
    def error(**options):
        argv = command(detector, '--work-dir', work_dir, **options)
        return error_of(train_tool, argv, capsys)

    work_dir, wrong = tmp_path / 'work', tmp_path / 'wrong.json'
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
    assert not work_dir.exists()

    images = tmp_path / 'images'
    images.mkdir()
    for path in (toy_persons / 'train').iterdir():
        (images / path.name).write_bytes(b'not a picture')
    options = {'train_dataloader.dataset.data_prefix.img': images}
    message = error(**options)
    assert message.endswith(".jpg' cannot be decoded (13 bytes)\n")


def test_weights_of_another_detector(detector, tmp_path, capsys):
    argv = command(
        detector, detector.with_name('iter_2.pth'), '--work-dir', tmp_path,
        **{'model.roi_head.bbox_head.fc_out_channels': 4}
    )  # fmt: skip
    message = error_of(test_tool, argv, capsys)
    assert "another architecture than the config's MaskRCNN" in message
    assert 'roi_head.bbox_head.fc_cls.weight [2, 8] for [2, 4]' in message


# ---------------------------------------------------------------- processes


def start(*args, cwd=None):
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    env.pop('LOCAL_RANK', None)
    return subprocess.Popen(
        [sys.executable, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=cwd,
    )


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_the_process_ends_with_one_line_and_status_2(tool):
    args = dict(train=['no.py'], test=[__file__, 'no.pth'])[tool]
    process = start(ROOT / f'tools/{tool}.py', *args)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert out == ''
    assert re.fullmatch(r"error: .*'no\.(py|pth)' does not exist.*\n", err)


@pytest.fixture
def one_thread():
    """As many threads as the processes that the tests start."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(
    tiny_config, tmp_path, one_thread
):
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
    epoch = read(checks.find_whole_checkpoint(tmp_path / 'killed'))['meta']
    assert epoch['epoch'] in (1, 2)

    train(tiny_config, *args('killed'), '--resume', 'auto', **options)
    train(tiny_config, *args('whole'), **options)
    a, b = (read(tmp_path / n / 'epoch_3.pth') for n in ('whole', 'killed'))
    assert_same_state(a, b)


@pytest.fixture
def in_two_processes(tmp_path):
    """Run a tool in two processes, and return what it printed."""

    def finish(tool, config, *args, **options):
        process = start(
            *['-m', 'torch.distributed.run', '--nproc_per_node', '2'],
            *('--master_port', 20000 + os.getpid() % 20000),
            ROOT / f'tools/{tool}.py',
            *('--launcher', 'pytorch', '--work-dir', tmp_path),
            *command(config, *args, **options),
            cwd=tmp_path,
        )
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
        assert process.returncode == 0, err[-3000:]
        return out

    return finish


@pytest.mark.slow
def test_two_processes_train_and_evaluate(
    tiny_config, tmp_path, in_two_processes
):
    out = in_two_processes('train', tiny_config)
    losses = [float(x) for x in re.findall(r'\bloss: (\S+)', out)]
    assert losses and all(0 < x < 1 for x in losses)
    assert re.search(r'Epoch\(val\).*coco/AP: ', out)

    checkpoint, dump = tmp_path / 'epoch_2.pth', tmp_path / 'two.pkl'
    out = tmp_path / 'two.json'
    in_two_processes(
        'test', tiny_config, checkpoint, '--dump', dump, '--out', out
    )
    one = tmp_path / 'one.pkl'
    metrics = evaluate(
        tiny_config, checkpoint, '--dump', one, '--work-dir', tmp_path
    )
    ids = [[x['id'] for x in mmengine.load(path)] for path in (one, dump)]
    assert ids[0] == ids[1]
    assert mmengine.load(out) == pytest.approx(metrics, abs=1e-6)


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


@pytest.mark.slow
def test_one_of_two_processes_sees_no_person(
    detector, toy_persons, tmp_path, in_two_processes
):
    """Every process waits for the gradients of all heads of the others."""
    source = toy_persons / 'annotations/person_keypoints_train.json'
    content = json.loads(source.read_text())
    # The first process gets the first, third, ... image.
    content['images'].sort(key=lambda image: image['id'])
    with_persons = {image['id'] for image in content['images'][2::4]}
    content['annotations'] = [
        a for a in content['annotations'] if a['image_id'] in with_persons
    ]
    ann_file = tmp_path / 'few.json'
    ann_file.write_text(json.dumps(content))
    config = tmp_path / 'multitask.py'
    config.write_text(
        MULTITASK.replace('{base}', str(detector)).replace(
            '{ann_file}', str(ann_file)
        )
    )
    out = in_two_processes('train', config, '--no-validate')
    # A running mean of the first process, which meets somebody in its
    # second image; the other one never does.
    losses = re.findall(r'loss_keypoint: (\S+)', out)
    assert [float(loss) > 0 for loss in losses] == [False, True, True, True]
    assert (tmp_path / 'iter_4.pth').exists()
