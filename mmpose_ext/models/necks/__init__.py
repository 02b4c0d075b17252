from .context_neck import ContextNeck
from .gpr_neck import GPRNeck
from .psm_neck import PSMNeck
from .ram_neck import RAMNeck
from .sequential_neck import SequentialNeck

__all__ = ['ContextNeck', 'GPRNeck', 'PSMNeck', 'RAMNeck', 'SequentialNeck']
