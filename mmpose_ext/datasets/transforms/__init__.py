from .occlusion import Cutout

__all__ = ['Cutout']
