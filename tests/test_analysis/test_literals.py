import pytest

from mmpose_ext.analysis.literals import parse_dict
from mmpose_ext.errors import InputError


@pytest.mark.parametrize(
    'text',
    [
        "dict(type='A', size=(1, -2), parts=[dict(type='B', p=0.5)])",
        "{'type': 'A', 'size': (1, -2), 'parts': [{'type': 'B', 'p': 0.5}]}",
        " dict(type='A', size=(1, -2), parts=[{'type': 'B', 'p': 0.5}])",
    ],
)
def test_reads(text):
    assert parse_dict(text) == dict(
        type='A', size=(1, -2), parts=[dict(type='B', p=0.5)]
    )


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ("dict(type='A'", r'expected dict\(type='),
        ("dict(type='A', at=open('x'))", 'of plain values'),
        ("dict(**{'type': 'A'})", 'of plain values'),
        ("{**{}, 'type': 'A'}", 'of plain values'),
        ("dict([('type', 'A')])", 'of plain values'),
        ("list(type='A')", 'of plain values'),
        ('dict(size=1)', "dict with a 'type'"),
        ('dict(type=1)', "dict with a 'type'"),
        ("['type']", "dict with a 'type'"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(InputError, match=message) as error:
        parse_dict(text)
    assert str(error.value).startswith(text)
