import pytest
import torch

from benchmarks import kinds
from benchmarks import measure as module
from benchmarks.measure import Call, measure, ratio_of
from mmpose_ext.errors import InputError

ORDER = []


def load_clock(spec, step=1):
    """A call that says how long it took: the number of calls so far."""

    def call():
        ORDER.append(spec)
        return step * len(ORDER)

    return Call(call, images=3, own_clock=True)


def load_sum(spec, **options):
    """Memory that the spec says, in MiB; notes its threads and modes."""

    def call():
        modes = torch.is_inference_mode_enabled(), torch.get_num_threads()
        ORDER.append(modes)
        return torch.ones(int(spec), 2**18).sum()

    return Call(call, grad=options.get('grad', False))


def load_nothing(spec):
    raise InputError(f'{spec} is wrong')


def test_calls_take_turns():
    ORDER.clear()
    sides = measure(load_clock, ['a', 'b', 'c'], False, rounds=2, step=10)
    assert ORDER == ['a', 'b', 'c'] * 2
    assert sides == [
        dict(spec='a', images=3, seconds=[10, 40]),
        dict(spec='b', images=3, seconds=[20, 50]),
        dict(spec='c', images=3, seconds=[30, 60]),
    ]


def test_ratios_are_those_within_the_rounds():
    a, b = dict(seconds=[2, 9, 4]), dict(seconds=[4, 3, 4])
    assert ratio_of(a, b) == (1.0, 0.5, 3.0)  # of 1/2, 3 and 1


def test_threads_and_gradients():
    threads = torch.get_num_threads()
    try:
        for grad in (True, False):
            ORDER.clear()
            (side,) = measure(
                load_sum, ['1'], False, 2, 1e-4, threads=1, grad=grad
            )
            assert set(ORDER) == {(not grad, 1)}
            assert len(side['seconds']) == 2 and min(side['seconds']) > 0
    finally:
        torch.set_num_threads(threads)


def test_memory_is_that_of_a_separate_process(tmp_path):
    specs = []
    for number in (1, 10**7):  # of a list that takes eight bytes each
        path = tmp_path / f'{number}.json'
        path.write_text(f'[{"0," * number}0]')
        specs.append(f'json:{path}')
    small, large = measure(kinds.load, specs, True, 1, 1e-4, memory=True)
    assert small['peak_mib'] > 50
    assert 80 < large['peak_mib'] - small['peak_mib'] < 250


def test_what_is_wrong_is_said():
    with pytest.raises(InputError, match='b is wrong'):
        measure(load_nothing, ['b'], False)


@pytest.mark.parametrize(
    'operators, expected', [(True, 'aten::'), (False, 'call')]
)
def test_hot_spots(operators, expected, monkeypatch, capsys):
    monkeypatch.setattr(module._here, 'call', load_sum('1'), raising=False)
    module._hot_spots(operators)
    assert expected in capsys.readouterr().out
