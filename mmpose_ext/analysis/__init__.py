from .complexity import Complexity, count_complexity
from .networks import check_network, load_network

__all__ = ['Complexity', 'check_network', 'count_complexity', 'load_network']
