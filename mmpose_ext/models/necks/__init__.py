from .gpr_neck import GPRNeck
from .ram_neck import RAMNeck

__all__ = ['GPRNeck', 'RAMNeck']
