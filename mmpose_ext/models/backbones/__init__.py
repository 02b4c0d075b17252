from .ram_hrnet import RAMHRNet

__all__ = ['RAMHRNet']
