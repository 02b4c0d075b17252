from .empty_safe_coco_metric import EmptySafeCocoMetric
from .expansion_upper_bound import ExpansionUpperBound
from .lip_pckh import LIPPCKh

__all__ = [
    'EmptySafeCocoMetric',
    'ExpansionUpperBound',
    'LIPPCKh',
]
