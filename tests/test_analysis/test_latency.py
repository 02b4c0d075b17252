import math
from importlib.metadata import version

import pytest
import torch
from torch import nn

from mmpose_ext.analysis import Call, compare, describe_machine, latency
from mmpose_ext.analysis.latency import measure, ratio_of, spread


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the calls move on."""

    class Clock:
        now = 0.0

        def call(self, *durations):
            """A call that takes each duration in turn, then the last."""
            left = list(durations)

            def call():
                self.now += left.pop(0) if len(left) > 1 else left[0]

            return call

    clock = Clock()
    monkeypatch.setattr(latency.time, 'perf_counter', lambda: clock.now)
    return clock


def test_ratio_of_medians(clock):
    # One call to warm up, then three rounds; the second is disturbed.
    a = clock.call(9, 2, 80, 2)
    b = clock.call(9, 1, 10, 1)
    result = compare(a, b, rounds=3, warmup=1)
    assert result['a'] == dict(median=2, repeats=1, seconds=[2, 80, 2])
    assert result['b'] == dict(median=1, repeats=1, seconds=[1, 10, 1])
    assert result['ratio'] == 2
    spread = dict(min=2, q1=2, median=2, q3=5, max=8)
    assert result['round_ratios'] == pytest.approx(spread)


def test_short_calls_are_repeated(clock):
    result = compare(
        clock.call(1 / 64), clock.call(1 / 4), rounds=2, min_seconds=0.5
    )
    assert result['a'] == dict(median=1 / 64, repeats=32, seconds=[1 / 64] * 2)
    assert result['b']['repeats'] == 2
    assert result['ratio'] == 1 / 16


def test_calls_take_turns(clock):
    order = []

    def record(name, second):
        def call():
            order.append(name)
            second()

        return call

    a, b = (record(name, clock.call(1)) for name in 'ab')
    compare(a, b, rounds=3, warmup=2)
    assert ''.join(order) == 'aabb' + 'ab' * 3


def test_several_calls_take_turns(clock):
    calls = [clock.call(9, 3, 5), clock.call(2), clock.call(1)]
    sides = measure(calls, rounds=2, warmup=1)
    assert [side['seconds'] for side in sides] == [[3, 5], [2, 2], [1, 1]]
    assert [side['median'] for side in sides] == [4, 2, 1]
    ratios = ratio_of(sides[0], sides[1])
    assert ratios['ratio'] == 2
    assert ratios['round_ratios'] == spread([1.5, 2.5])


def test_only_calls_that_need_gradients_have_them():
    seen = []

    def look():
        seen.append(
            (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        )

    calls = [look, Call('a', look), Call('b', look, grad=True)]
    measure(calls, rounds=1, warmup=1, min_seconds=1e-9)
    assert seen == 2 * [(False, True), (False, True), (True, False)]


def test_module_against_itself():
    module, maps = nn.Conv2d(2, 2, 3), torch.rand(1, 2, 8, 8)

    def call():
        assert not torch.is_grad_enabled()
        return module(maps)

    result = compare(call, call, rounds=3, min_seconds=1e-4)
    assert math.isfinite(result['ratio']) and result['ratio'] > 0
    assert all(t > 0 for side in 'ab' for t in result[side]['seconds'])


def test_autocast_reaches_the_calls():
    module, maps = nn.Conv2d(2, 2, 1), torch.rand(1, 2, 4, 4)
    dtypes = set()

    def call():
        dtypes.add(module(maps).dtype)

    compare(call, call, rounds=1, min_seconds=1e-6, amp=torch.bfloat16)
    assert dtypes == {torch.bfloat16}
    compare(call, call, rounds=1, min_seconds=1e-6)
    assert dtypes == {torch.bfloat16, torch.float32}


def test_machine():
    machine = describe_machine()
    assert machine['cpu'] and 'gpu' not in machine
    assert machine['torch'] == torch.__version__
    assert machine['threads'] == torch.get_num_threads()
    assert machine['cores'] >= 1 and machine['memory_gib'] > 0.1
    assert machine['mmpose'] == version('mmpose')


def test_packages_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(latency, 'PACKAGES', ('mmpose', 'no-such-package'))
    machine = describe_machine()
    assert 'mmpose' in machine and 'no-such-package' not in machine


def test_cpu_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(latency, 'CPU_INFO', tmp_path / 'cpuinfo')
    monkeypatch.setattr(latency.platform, 'processor', lambda: 'arm')
    assert describe_machine()['cpu'] == 'arm'
    latency.CPU_INFO.write_text('cores : 2\nmodel name\t: EPYC 7\n')
    assert describe_machine()['cpu'] == 'EPYC 7'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_time_is_the_gpus_own():
    matrix = torch.rand(4096, 4096, device='cuda')

    def few():
        matrix @ matrix

    def many():
        for _ in range(20):
            few()

    result = compare(many, few, rounds=3, device='cuda')
    assert result['a']['median'] > result['b']['median'] > 0
    assert describe_machine('cuda')['gpu']
