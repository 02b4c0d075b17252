from .gccpm_head import GCCPMHead

__all__ = ['GCCPMHead']
