from .gccpm_head import GCCPMHead
from .logocap_head import LOGOCAPHead

__all__ = ['GCCPMHead', 'LOGOCAPHead']
