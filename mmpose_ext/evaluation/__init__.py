from .empty_safe_coco_metric import EmptySafeCocoMetric

__all__ = ['EmptySafeCocoMetric']
