"""Person boxes, masks and keypoints from one Mask R-CNN, in MMDet.

Importing this package registers its classes into MMDet's registries, so
``custom_imports = dict(imports=['mmpose_ext.multitask'])`` is all a config
needs. It is the only part of the project that needs MMDet.
"""

try:
    import mmdet  # noqa: F401
except ImportError as e:
    raise ImportError(
        f'mmpose_ext.multitask needs MMDetection ({e}); install it with: '
        "pip install 'mmdet>=3.0'"
    ) from e

from .. import compat
from .coco_keypoint_metric import CocoKeypointMetric
from .coco_person_dataset import CocoPersonDataset
from .filter_multi_task import FilterMultiTask
from .load_multi_task_annotations import LoadMultiTaskAnnotations
from .multitask_roi_head import MultiTaskRoIHead
from .multitask_visualizer import MultiTaskVisualizer
from .offset_keypoint_head import OffsetKeypointHead
from .pack_multi_task_inputs import PackMultiTaskInputs
from .sampled_deform_conv2d_pack import SampledDeformConv2dPack
from .warp_keypoints import WarpKeypoints

compat.keep_boxes_in_float32()

__all__ = [
    'CocoKeypointMetric',
    'CocoPersonDataset',
    'FilterMultiTask',
    'LoadMultiTaskAnnotations',
    'MultiTaskRoIHead',
    'MultiTaskVisualizer',
    'OffsetKeypointHead',
    'PackMultiTaskInputs',
    'SampledDeformConv2dPack',
    'WarpKeypoints',
]
