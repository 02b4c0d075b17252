from .attentive_norm import AttentiveNorm2d
from .context import ASPPContext, PyramidPoolingContext, UShapedContext
from .pixel_shuffle_fusion import PixelShuffleFusion, PixelShuffleUpsample
from .pose_nms import nearby_pose_nms
from .resolution_attention import ResolutionAttention

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
