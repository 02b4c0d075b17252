from .pattern_constructor import PatternOptimWrapperConstructor

__all__ = ['PatternOptimWrapperConstructor']
