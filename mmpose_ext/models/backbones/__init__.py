from .mobilenet_v1 import MobileNetV1
from .psm_hrnet import PSMHRNet
from .ram_hrnet import RAMHRNet
from .stem_hrnet import StemHRNet

__all__ = ['MobileNetV1', 'PSMHRNet', 'RAMHRNet', 'StemHRNet']
