import pytest
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS

from mmpose_ext.errors import InputError


def test_wrong_kind(exported):
    wrong = dict(type='ExportedBottomupEstimator', file=str(exported['onnx']))
    with (
        DefaultScope.overwrite_default_scope('mmpose'),
        pytest.raises(
            InputError, match='a topdown model, expected a bottomup'
        ),
    ):
        MODELS.build(wrong)
