from .aspp_context import ASPPContext
from .attentive_norm2d import AttentiveNorm2d
from .pixel_shuffle_fusion import PixelShuffleFusion, PixelShuffleUpsample
from .pose_nms import nearby_pose_nms
from .pyramid_pooling_context import PyramidPoolingContext
from .resolution_attention import ResolutionAttention
from .ushaped_context import UShapedContext

__all__ = [
    'ASPPContext',
    'AttentiveNorm2d',
    'PixelShuffleFusion',
    'PixelShuffleUpsample',
    'PyramidPoolingContext',
    'ResolutionAttention',
    'UShapedContext',
    'nearby_pose_nms',
]
