"""What the converters of other projects' weights have in common."""

from .weights import (
    convert_weights,
    halve_weights,
    make_parser,
    read_weights,
    write_weights,
)

__all__ = [
    'convert_weights',
    'halve_weights',
    'make_parser',
    'read_weights',
    'write_weights',
]
