"""mmcv's operators over what stands in for its compiled part."""

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
    """Names of cases."""
    return [
        pytest.param(name, marks=needs_compiled) if TIES in name else name
        for name in CASES
        if name.startswith(f'{operator} of')
    ]


def assert_as_mmcvs(name: str, atol: float = 1e-5) -> None:
    """Compare with what is stored, and with a compiled mmcv if there is."""
    result = outcome(name, operators)
    expected = []
    if TIES not in name:
        with np.load(STORED) as stored:
            expected.append(stored[name])
    if compiled is not operators:
        expected.append(outcome(name, compiled))
    for values in expected:
        assert result.dtype == values.dtype, name
        np.testing.assert_allclose(
            result, values, rtol=1e-5, atol=atol, err_msg=name
        )
