"""What MMPose takes from xtcocotools, over two packages that are maintained.

xtcocotools has wheels for numpy 1 only, and built against numpy 2 it cannot
decode masks. pycocotools, from which it was made, reads annotations and
masks alike; faster-coco-eval evaluates in C++.
"""

try:
    import faster_coco_eval  # noqa: F401
    from pycocotools import mask
except ImportError as e:
    raise ImportError(
        f'MMPose evaluates with pycocotools and faster-coco-eval: {e}. '
        "Type: pip install pycocotools 'faster-coco-eval>=1.6.5'"
    ) from e

__all__ = ['mask']
