"""Whether the parts of an exported model's description fit together.

Each part may be valid alone, and the poses still be nonsense, or the first
image raise an error in NumPy.
"""

from typing import Any, List, Optional, Sequence

_SIZES = ('input_size', 'heatmap_size', 'in_featuremap_size')
_Shape = Sequence[Optional[int]]


def expect(good: Any, where: str, value: Any, expected: str) -> None:
    """Check a value of a description.

    Args:
        good (Any): Whether it is as expected.
        where (str): Its place.
        value (Any): The value.
        expected (str): What was expected.

    Raises:
        ValueError: If it is not ``good``.
    """
    if not good:
        text = repr(value)
        text = text if len(text) <= 80 else f'{text[:80]}...'
        raise ValueError(f'{where} is {text}, expected {expected}')


def check_consistency(metadata: dict) -> None:
    """Check a description whose names and values have been checked.

    Args:
        metadata (dict): As of :func:`~mmpose_ext.deploy.metadata.unpack`.

    Raises:
        ValueError: Names the first place that does not fit.
    """
    _check_steps(metadata['pipeline'], metadata['kind'])
    _check_numbers(metadata['pipeline'], 'pipeline')
    _check_numbers(metadata['model']['head'], 'model.head')
    preprocessor = metadata['model'].get('data_preprocessor') or {}
    for key in ('mean', 'std'):
        values = preprocessor.get(key)
        place = f'model.data_preprocessor.{key}'
        good = values is None or (_numbers(values) and key == 'mean')
        good = good or (_numbers(values) and min(values) > 0)
        expect(good, place, values, 'a list of numbers, of a std above 0')


def check_fit(metadata: dict, inputs: _Shape, outputs: List[_Shape]) -> None:
    """Check that a description is that of a network.

    Args:
        metadata (dict): As for :func:`check_consistency`.
        inputs (Sequence[int | None]): The shape of its input, None where it
            is free.
        outputs (list[Sequence[int | None]]): Those of its outputs.

    Raises:
        ValueError: Names the first place that does not fit.
    """
    _, channels, *size = inputs
    preprocessor = metadata['model'].get('data_preprocessor') or {}
    for key in ('mean', 'std'):
        values = preprocessor.get(key)
        good = None in (values, channels) or len(values) == channels
        place = f'model.data_preprocessor.{key}'
        expect(good, place, values, f'{channels} numbers, one per channel')
    decoder = metadata['model']['head'].get('decoder')
    if metadata['kind'] == 'bottomup' or not isinstance(decoder, dict):
        return
    maps = [shape[2:] for shape in outputs if len(shape) == 4]
    for key, found in (('input_size', [size]), ('heatmap_size', maps)):
        sizes = [tuple(s[::-1]) for s in found if None not in s]
        value = decoder.get(key)
        good = value is None or not sizes or tuple(value) in sizes
        place = f'model.head.decoder.{key}'
        expect(good, place, value, f"the network's {sizes} (w, h)")


def _check_steps(pipeline: list, kind: str) -> None:
    names = [step['type'] for step in pipeline]
    good = (
        names[:1] == ['LoadImage']
        and names[-1] == 'PackPoseInputs'
        and names.count('PackPoseInputs') == 1
    )
    expect(good, 'pipeline', names, 'LoadImage first, PackPoseInputs last')
    crops = any(
        name == 'GetBBoxCenterScale' or name.endswith('TopdownAffine')
        for name in names
    )
    expected = f"a pipeline of a '{kind}' model"
    expect(crops == (kind == 'topdown'), 'pipeline', names, expected)


def _check_numbers(node: Any, where: str) -> None:
    """Check sizes, and the sigma of codecs, at any depth."""
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            _check_numbers(item, f'{where}[{i}]')
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        place = f'{where}.{key}'
        if key in _SIZES and value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            good = _numbers(values) and min(values) > 0
            expect(good, place, value, 'sizes above 0')
        elif key == 'sigma' and value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            expect(_numbers(values), place, value, 'numbers')
        else:
            _check_numbers(value, place)


def _numbers(values: Any) -> bool:
    return (
        isinstance(values, (list, tuple))
        and len(values) > 0
        and all(type(value) in (int, float) for value in values)
    )
