"""Batch norms folded into the convolutions before them."""

from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, Tuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

Pair = Tuple[nn.Module, nn.Module]


def fold_batch_norms(network: nn.Module, run: Callable[[], Any]) -> int:
    """Fold batch norms into the convolutions before them, in place.

    A norm is folded if the network's run shows that it gets what a
    convolution has just made, that nothing else gets that, and that neither
    of them works twice. In the order in which modules are defined, by which
    MMCV's ``fuse_conv_bn`` goes, a norm may follow another convolution. A
    norm that is folded becomes an ``nn.Identity``.

    Args:
        network (nn.Module): In evaluation mode, or nothing is folded.
        run (Callable): Runs the network on some input.

    Returns:
        int: How many norms have been folded.
    """
    pairs = _find_pairs(network, run)
    for conv, norm in pairs:
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
            transpose=_is_transposed(conv),
        )
    folded = {norm for _, norm in pairs}
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child in folded:
                setattr(parent, name, nn.Identity())
    return len(pairs)


def tensors_in(data: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts, in order.

    Args:
        data (Any): What they are in; all else is passed over.

    Yields:
        Tensor: One after another.
    """
    if isinstance(data, Tensor):
        yield data
    elif isinstance(data, (list, tuple)):
        for part in data:
            yield from tensors_in(part)
    elif isinstance(data, dict):
        yield from tensors_in(list(data.values()))


class _Uses(TorchFunctionMode):
    """Who makes the tensors that norms get, and how often they are used.

    Args:
        owners (dict[int, nn.Module]): Convolutions by the id of their
            weight, and norms by the id of their running mean.
    """

    def __init__(self, owners: Dict[int, nn.Module]):
        super().__init__()
        self.owners = owners
        # By the id of a convolution's output, which is kept, so that no other
        # tensor gets its id.
        self.made: Dict[int, Tuple[nn.Module, Tensor]] = {}
        self.pairs: List[Pair] = []
        self.inputs: List[int] = []
        self.uses: Counter = Counter()
        self.calls: Counter = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # Questions such as that for the shape are no use.
        if any(True for _ in tensors_in(result)):
            self.note(list(tensors_in((args, kwargs))), result)
        return result

    def note(self, tensors: List[Tensor], result: Any) -> None:
        """Note a call on some tensors, the first of which is the input."""
        self.uses.update(id(t) for t in tensors)
        for owner in (self.owners.get(id(t)) for t in tensors):
            if owner is None:
                continue
            self.calls[owner] += 1
            if _is_convolution(owner):
                self.made[id(result)] = (owner, result)
                self.uses[id(result)] = 0  # those of one that had its id
            elif id(tensors[0]) in self.made:
                self.inputs.append(id(tensors[0]))
                self.pairs.append((self.made[self.inputs[-1]][0], owner))


def _find_pairs(network: nn.Module, run: Callable[[], Any]) -> List[Pair]:
    """Convolutions and norms that can be made one."""
    owners = {}
    for module in network.modules():
        if _is_convolution(module):
            owners[id(module.weight)] = module
        elif _is_norm(module):
            owners[id(module.running_mean)] = module
    with torch.no_grad(), _Uses(owners) as seen:
        outputs = run()
    seen.uses.update(id(t) for t in tensors_in(outputs))
    return [
        (conv, norm)
        for (conv, norm), key in zip(seen.pairs, seen.inputs)
        if seen.uses[key] == seen.calls[conv] == seen.calls[norm] == 1
    ]


def _is_transposed(module: nn.Module) -> bool:
    return isinstance(module, nn.ConvTranspose2d)


def _is_convolution(module: nn.Module) -> bool:
    # The channels of a grouped transposed convolution are in another order.
    return isinstance(module, nn.Conv2d) or (
        _is_transposed(module) and module.groups == 1
    )


def _is_norm(module: nn.Module) -> bool:
    # A class made of these may do more.
    return (
        type(module) in (nn.BatchNorm2d, nn.SyncBatchNorm)
        and not module.training
        and module.running_mean is not None
    )
