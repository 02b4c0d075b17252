from .context_neck import ContextNeck
from .gpr_neck import GPRNeck
from .psm_neck import PSMNeck
from .ram_neck import RAMNeck

__all__ = ['ContextNeck', 'GPRNeck', 'PSMNeck', 'RAMNeck']
