"""mmcv's operators by what stands in for them, against mmcv's."""

import importlib
from typing import List

import numpy as np
import pytest
from references.make_operators import CASES, STORED, TIES, outcome

from mmpose_ext.compat import operators

compiled = importlib.import_module('mmcv._ext')
needs_compiled = pytest.mark.skipif(
    compiled is operators, reason='needs a compiled mmcv to compare with'
)


def cases(operator: str) -> List:
    """Names of cases, and where mmcv's values are from."""
    names = [name for name in CASES if name.startswith(f'{operator} of')]
    return [
        *((name, 'stored') for name in names if TIES not in name),
        *(
            pytest.param(name, 'compiled', marks=needs_compiled)
            for name in names
        ),
    ]


def assert_as_mmcvs(name: str, source: str, atol: float = 1e-5) -> None:
    if source == 'compiled':
        expected = outcome(name, compiled)
    else:
        with np.load(STORED) as stored:
            expected = stored[name]
    result = outcome(name, operators)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=atol)
    assert result.dtype == expected.dtype
