from .empty_safe_coco_metric import EmptySafeCocoMetric
from .expansion_upper_bound import ExpansionUpperBound
from .lip_metric import LIPPCKh
from .pose_nms import nearby_pose_nms

__all__ = [
    'EmptySafeCocoMetric',
    'ExpansionUpperBound',
    'LIPPCKh',
    'nearby_pose_nms',
]
