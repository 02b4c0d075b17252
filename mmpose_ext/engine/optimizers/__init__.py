from .pattern_optim_wrapper_constructor import (
    PatternOptimWrapperConstructor,
)

__all__ = ['PatternOptimWrapperConstructor']
