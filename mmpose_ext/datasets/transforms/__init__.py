from .body_masking import BodyMasking
from .bottomup_grid_mask import BottomupGridMask
from .bottomup_short_side_affine import BottomupShortSideAffine
from .bottomup_short_side_resize import BottomupShortSideResize
from .channel_permutation import ChannelPermutation
from .clipped_bbox_transform import ClippedBBoxTransform
from .cutout import Cutout
from .keypoint_masking import KeypointMasking
from .padded_topdown_affine import PaddedTopdownAffine

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
