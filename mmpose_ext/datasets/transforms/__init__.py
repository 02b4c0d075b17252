from .affine import PaddedTopdownAffine
from .bottomup import BottomupShortSideAffine, BottomupShortSideResize
from .bottomup_mask import BottomupGridMask
from .clipped_bbox_transform import ClippedBBoxTransform
from .color import ChannelPermutation
from .occlusion import BodyMasking, Cutout, KeypointMasking

__all__ = [
    'BodyMasking',
    'BottomupGridMask',
    'BottomupShortSideAffine',
    'BottomupShortSideResize',
    'ChannelPermutation',
    'ClippedBBoxTransform',
    'Cutout',
    'KeypointMasking',
    'PaddedTopdownAffine',
]
