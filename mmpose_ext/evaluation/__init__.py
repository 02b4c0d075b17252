from .empty_safe_coco_metric import EmptySafeCocoMetric
from .expansion_upper_bound import ExpansionUpperBound
from .keypoint_pck import KeypointPCK
from .lip_pckh import LIPPCKh

__all__ = [
    'EmptySafeCocoMetric',
    'ExpansionUpperBound',
    'KeypointPCK',
    'LIPPCKh',
]
