from .box_ap import count_persons, evaluate_boxes
from .box_file import read_boxes, read_images
from .detection_run import describe_run, detect_to_file
from .persons import PersonDetector

__all__ = [
    'PersonDetector',
    'count_persons',
    'describe_run',
    'detect_to_file',
    'evaluate_boxes',
    'read_boxes',
    'read_images',
]
