"""A run that is stopped and resumed, beside one that goes through."""

import random
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmpose_ext.engine.hooks import RandomStateHook
from mmpose_ext.errors import InputError


class Stopped(Exception):
    """What stands for the signal that ends the process."""


class StopInEpoch(Hook):
    """Stop in the middle of an epoch, counted from one."""

    def __init__(self, epoch):
        self.epoch = epoch

    def after_train_iter(self, runner, batch_idx, **kwargs):
        if runner.epoch + 1 == self.epoch and batch_idx == 1:
            raise Stopped


class NoteStart(Hook):
    def before_train(self, runner):
        self.epoch, self.iter = runner.epoch, runner.iter


class NoisySamples(Dataset):
    """Samples that draw from all three generators, as augmentations do."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        return torch.tensor([index / 8, noise]), torch.tensor([index / 4])


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1)
        )

    def forward(self, x, y, mode):
        error = (self.layers(x) - y).square().mean()
        return dict(loss=error) if mode == 'loss' else [error.item()]


class Error(BaseMetric):
    default_prefix = 'val'

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(error=float(np.mean(results)))


def make_runner(
    folder,
    *hooks,
    num_workers=0,
    max_epochs=4,
    accumulative_counts=1,
    **kwargs,
):
    def loader(shuffle):
        return dict(
            dataset=NoisySamples(),
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
            collate_fn=dict(type='default_collate'),
            batch_size=2,
            num_workers=num_workers,
        )

    torch.manual_seed(0)  # for the weights; the runner seeds the rest
    return Runner(
        Model(),
        work_dir=str(folder),
        experiment_name=uuid.uuid4().hex,  # else runs share their logs
        train_dataloader=loader(True),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs, val_interval=1),
        # The validation draws random numbers between two epochs.
        val_dataloader=loader(False),
        val_cfg=dict(),
        val_evaluator=Evaluator(Error()),
        optim_wrapper=dict(
            optimizer=dict(type='Adam', lr=0.1),
            accumulative_counts=accumulative_counts,
        ),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, end=6, by_epoch=False),
            dict(type='MultiStepLR', milestones=[2, 3], by_epoch=True),
        ],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                interval=1,
                save_best='val/error',
                rule='less',
                backend_args=dict(backend='atomic'),
            )
        ),
        custom_hooks=list(hooks),
        randomness=dict(seed=3),
        **kwargs,
    )


def final_state(runner):
    weights = torch.cat([p.flatten() for p in runner.model.parameters()])
    return weights.detach(), runner.optim_wrapper.get_lr()['lr']


def stopped_and_resumed(folder, make_hooks=lambda: (), epoch=3, **kwargs):
    with pytest.raises(Stopped):
        make_runner(
            folder, *make_hooks(), StopInEpoch(epoch), **kwargs
        ).train()
    # What a new process has, and nothing that the old one drew.
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    start = NoteStart()
    runner = make_runner(folder, *make_hooks(), start, resume=True, **kwargs)
    runner.train()
    # From the checkpoint before: whole epochs of four iterations.
    assert (start.epoch, start.iter) == (epoch - 1, 4 * (epoch - 1))
    return runner


def hook():
    return (dict(type='RandomStateHook'),)


@pytest.mark.parametrize('epoch', [2, 3])
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path, epoch):
    whole = make_runner(tmp_path / 'whole', *hook())
    whole.train()
    resumed = stopped_and_resumed(tmp_path / 'resumed', hook, epoch)
    weights, lr = final_state(whole)
    assert torch.equal(final_state(resumed)[0], weights)
    assert final_state(resumed)[1] == lr
    assert resumed.iter == whole.iter == 16
    # Every value that was logged, those before the stop too.
    for key in ('train/loss', 'train/lr'):
        losses = [
            run.message_hub.get_scalar(key).data[0] for run in (whole, resumed)
        ]
        np.testing.assert_array_equal(*losses)
    assert len(losses[0]) == 16


@pytest.mark.parametrize('counts', [2, 3])
def test_accumulated_gradients_survive(counts, tmp_path):
    """Of 4 batches per epoch, 3 at a time: 1 or 2 wait at its end."""
    kwargs = dict(accumulative_counts=counts)
    whole = make_runner(tmp_path / 'whole', *hook(), **kwargs)
    whole.train()
    for epoch in (2, 3):
        folder = tmp_path / f'resumed_{epoch}'
        resumed = stopped_and_resumed(folder, hook, epoch, **kwargs)
        assert torch.equal(final_state(resumed)[0], final_state(whole)[0])
        path = folder / f'epoch_{epoch - 1}.pth'
        (state,) = torch.load(path, weights_only=False)['random_states']
        assert len(state['gradients']) == (0 if counts == 2 else 4)


class DrawInHooks(Hook):
    """Another hook, which draws wherever it can around an epoch."""

    priority = 'NORMAL'

    def before_train_epoch(self, runner):
        torch.rand(1)

    after_train_epoch = before_train_epoch


@pytest.mark.parametrize(
    ('hooks', 'num_workers', 'same'),
    [
        (tuple, 0, False),  # without the hook
        (hook, 1, True),  # a worker for each epoch
        (lambda: (*hook(), DrawInHooks()), 0, True),
    ],
)
def test_what_else_may_draw(hooks, num_workers, same, tmp_path):
    kwargs = dict(num_workers=num_workers)
    whole = make_runner(tmp_path / 'whole', *hooks(), **kwargs)
    whole.train()
    resumed = stopped_and_resumed(tmp_path / 'resumed', hooks, **kwargs)
    weights = final_state(whole)[0], final_state(resumed)[0]
    assert torch.equal(*weights) == same


def test_weights_that_are_loaded_bring_no_state(tmp_path):
    make_runner(tmp_path / 'first', *hook(), max_epochs=1).train()
    path = str(tmp_path / 'first' / 'epoch_1.pth')
    assert 'random_states' in torch.load(path, weights_only=False)
    runs = []
    for name, hooks in dict(plain=(), hook=hook()).items():
        run = make_runner(
            tmp_path / name, *hooks, load_from=path, max_epochs=1
        )
        run.train()
        runs.append(final_state(run)[0])
    assert torch.equal(*runs)


def test_a_checkpoint_without_states_is_warned_of(tmp_path):
    make_runner(tmp_path, max_epochs=1).train()
    runner = make_runner(tmp_path, *hook(), resume=True, max_epochs=2)
    messages = []
    runner.logger.warning = messages.append
    runner.train()
    assert any('no random states of 1 process' in str(m) for m in messages)


def test_nothing_is_kept_when_training_goes_by_iteration(tmp_path):
    Runner(
        Model(),
        work_dir=str(tmp_path),
        experiment_name=uuid.uuid4().hex,
        train_dataloader=dict(
            dataset=NoisySamples(),
            sampler=dict(type='InfiniteSampler'),
            collate_fn=dict(type='default_collate'),
            batch_size=2,
        ),
        train_cfg=dict(by_epoch=False, max_iters=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)
        ),
        custom_hooks=list(hook()),
    ).train()
    for name in ('iter_1.pth', 'iter_2.pth'):
        checkpoint = torch.load(tmp_path / name, weights_only=False)
        assert 'random_states' not in checkpoint


def test_the_states_of_another_number_of_processes_are_not_used():
    states, messages = RandomStateHook(), []
    states.after_load_checkpoint(None, dict(random_states=[{}, {}]))
    logger = SimpleNamespace(warning=messages.append)
    states.before_train(SimpleNamespace(iter=8, logger=logger))
    before = random.getstate()
    states.before_train_epoch(None)
    assert len(messages) == 1
    assert random.getstate() == before


@pytest.mark.parametrize(
    'change',
    [
        dict(python=None),
        dict(numpy=5),
        dict(torch=torch.zeros(3)),
        dict(gradients=dict(weight=torch.zeros(3))),
        dict(gradients=5),
    ],
)
def test_states_of_another_shape_are_refused(change):
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1), iter=8)
    states, checkpoint = RandomStateHook(), {}
    states.after_train_epoch(runner)
    states.before_save_checkpoint(None, checkpoint)
    state = dict(checkpoint['random_states'][0], **change)
    states.after_load_checkpoint(None, dict(random_states=[state]))
    with pytest.raises(InputError, match='the random_states of the checkp'):
        states.before_train(runner)


def test_the_state_of_the_gpu_goes_with_it(monkeypatch):
    gpu = [torch.arange(16, dtype=torch.uint8)]
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_rng_state', lambda: gpu[-1])
    monkeypatch.setattr(torch.cuda, 'set_rng_state', gpu.append)
    states, checkpoint = RandomStateHook(), {}
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1))
    states.after_train_epoch(runner)
    states.before_save_checkpoint(None, checkpoint)
    drawn = random.random(), np.random.rand(), torch.rand(1)
    states.before_train_epoch(None)
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn
    assert len(gpu) == 2 and gpu[1].equal(gpu[0])
    assert checkpoint['random_states'][0]['cuda'] is gpu[0]
