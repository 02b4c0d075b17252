"""tools/train.py and tools/test.py, run in the process of the tests."""

import collections
import contextlib
import importlib.util
import uuid
from pathlib import Path
from unittest import mock

import pytest
import torch
from mmengine.registry import DefaultScope

from mmpose_ext.errors import run_tool

ROOT = Path(__file__).parents[1]


def load_tool(name):
    path = ROOT / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


train_tool, test_tool = load_tool('train'), load_tool('test')


def command(config, *args, **options):
    """The arguments of a tool, with new names for MMEngine's singletons."""
    for key in ('experiment_name', 'visualizer.name'):
        options[key] = uuid.uuid4().hex
    pairs = [f'{key}={value}' for key, value in options.items()]
    return [str(a) for a in (config, *args, '--cfg-options', *pairs)]


@contextlib.contextmanager
def _as_a_process():
    """No scope is left of what ran before."""
    with mock.patch.object(
        DefaultScope, '_instance_dict', collections.OrderedDict()
    ):
        yield


@_as_a_process()
def train(config, *args, **options):
    return train_tool.main(command(config, *args, **options))


@_as_a_process()
def evaluate(config, *args, **options):
    return test_tool.main(command(config, *args, **options))


def configure(tool, config, *args, **options):
    """The config that a tool makes of a command line."""
    argv = command(config, *args, **options)
    return tool.configure(tool.parse_args(tool.make_parser(), argv))


def read(path):
    return torch.load(path, weights_only=False)


def assert_same_state(path, other):
    """Two checkpoints have the same weights, optimizer and schedule."""
    a, b = read(path), read(other)
    for key in ('state_dict', 'optimizer'):
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=0)
    schedules = [
        [
            {k: v for k, v in s.items() if isinstance(v, (int, float, list))}
            for s in checkpoint['param_schedulers']
        ]
        for checkpoint in (a, b)
    ]
    assert schedules[0] == schedules[1]
    for key in ('epoch', 'iter'):
        assert a['meta'][key] == b['meta'][key]


@pytest.fixture
def error_of(capsys, tmp_path):
    """The one line with which a tool ends when its input is wrong."""

    def run(tool, config, *args, work_dir=tmp_path / 'work', **options):
        argv = command(config, *args, '--work-dir', work_dir, **options)
        with pytest.raises(SystemExit) as e:
            run_tool(lambda: tool.main(argv))
        assert e.value.code == 2
        message = capsys.readouterr().err.rpartition('error: ')[2]
        assert 'Traceback' not in message
        return message

    return run
