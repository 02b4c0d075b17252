"""What MMPose takes from xtcocotools, over faster-coco-eval.

xtcocotools has wheels for numpy 1 only, and built against numpy 2 it cannot
decode masks. faster-coco-eval is maintained, and evaluates in C++.
"""

try:
    import faster_coco_eval  # noqa: F401
except ImportError as e:
    raise ImportError(
        'MMPose evaluates with xtcocotools, which does not work here, or '
        'with faster-coco-eval, which is not installed: '
        "pip install 'faster-coco-eval>=1.6'"
    ) from e
