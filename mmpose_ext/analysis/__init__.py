from .complexity import Complexity, count_complexity
from .latency import compare, describe_machine, measure
from .networks import Call, check_network, load_call, load_network

__all__ = [
    'Call',
    'Complexity',
    'check_network',
    'compare',
    'count_complexity',
    'describe_machine',
    'load_call',
    'load_network',
    'measure',
]
