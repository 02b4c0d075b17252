from . import atomic_backend, hooks, optimizers

__all__ = ['atomic_backend', 'hooks', 'optimizers']
