from . import atomic_backend, hooks

__all__ = ['atomic_backend', 'hooks']
