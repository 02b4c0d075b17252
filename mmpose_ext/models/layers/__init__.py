from .resolution_attention import ResolutionAttention

__all__ = ['ResolutionAttention']
