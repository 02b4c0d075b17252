from .affine import PaddedTopdownAffine
from .bottomup import BottomupShortSideAffine, BottomupShortSideResize
from .color import ChannelPermutation
from .occlusion import BodyMasking, Cutout, KeypointMasking

__all__ = [
    'BodyMasking',
    'BottomupShortSideAffine',
    'BottomupShortSideResize',
    'ChannelPermutation',
    'Cutout',
    'KeypointMasking',
    'PaddedTopdownAffine',
]
