import importlib
from unittest import mock

import pytest
import torch
from mmcv.ops import deform_conv, modulated_deform_conv
from torch.testing import assert_close

from mmpose_ext.compat import operators
from mmpose_ext.compat.operators.deform_conv import deform_conv2d

compiled = importlib.import_module('mmcv._ext')
needs_compiled = pytest.mark.skipif(compiled is operators, reason='x')
