from .empty_safe_coco_metric import EmptySafeCocoMetric
from .lip_metric import LIPPCKh

__all__ = ['EmptySafeCocoMetric', 'LIPPCKh']
