from .affine import PaddedTopdownAffine
from .color import ChannelPermutation
from .occlusion import BodyMasking, Cutout, KeypointMasking

__all__ = [
    'BodyMasking',
    'ChannelPermutation',
    'Cutout',
    'KeypointMasking',
    'PaddedTopdownAffine',
]
