import numpy as np
import pytest

from mmpose_ext.checks.coco.problems import (
    MISSING,
    Problems,
    show,
    some,
)
from mmpose_ext.errors import InputError


def add(problems, number):
    problems.add_where(
        np.arange(number + 1) > 0,
        lambda i: f'annotation {i}',
        lambda i: f'area {-i}',
        'a number',
    )


def lines_of(problems):
    with pytest.raises(InputError) as e:
        problems.raise_any()
    return str(e.value).split('\n')


def test_the_first_ten_are_named_and_the_others_counted():
    problems = Problems("file 'a'")
    problems.raise_any()
    add(problems, 1)
    assert lines_of(problems) == [
        "file 'a', annotation 1: area -1, expected a number"
    ]
    add(problems, 9)
    lines = lines_of(problems)
    assert lines[0] == "file 'a' has 10 problems:"
    assert lines[10:] == ['  annotation 9: area -9, expected a number']
    add(problems, 3)
    problems.add('image 5', 'width 0', 'a width')
    lines = lines_of(problems)
    assert lines[0] == "file 'a' has 14 problems:"
    assert lines[11:] == ['  and 4 more']


def test_a_warning_is_said_once(monkeypatch):
    from mmpose_ext.checks.coco import problems

    said = []
    monkeypatch.setattr(problems, 'print_log', lambda *a: said.append(a[0]))
    monkeypatch.setattr(Problems, '_warned', set())
    for what, path in ('of training', 'a'), ('of a metric', 'a'), ('it', 'b'):
        Problems(what, path).warn('x')
    Problems('it', 'a').warn('y')
    assert said == ['of training: x', 'it: x', 'it: y']


def test_values_are_shown_short():
    for value, text in (
        (MISSING, 'nothing'),
        (None, 'None'),
        ('\ud800', r"'\ud800'"),
        ([1.5, None, True], '[1.5, None, True]'),
        (list(range(9)), '[0, 1, 2, 3, 4, 5, ...]'),
    ):
        assert show(value) == text
    for value in ('x' * 999, 10**400, [['y' * 99] * 99] * 99):
        assert len(show(value)) < 160


def test_names_in_messages_are_short_and_printable():
    assert some([]) == 'none'
    assert some('abc') == 'a, b, c'
    assert some('abc', 2) == 'a, b, ...'
    assert some(['cat', 'Größe']) == 'cat, Größe'
    assert some(['a\nerror: b', '\x1b[2J']) == r"'a\nerror: b', '\x1b[2J'"
    assert len(some(['x' * 1000])) == 60
