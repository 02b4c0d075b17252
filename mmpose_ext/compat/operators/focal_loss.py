"""Focal loss of sigmoids, with its gradient."""

import torch
from torch import Tensor


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the loss of each sample and class.

    Args:
        input (Tensor): (N, C) logits.
        target (Tensor): (N,) classes; C is the background.
        weight (Tensor): (C,) weights of the samples of each class, or empty.
        output (Tensor): (N, C), where the losses are written.
        gamma (float): Exponent by which easy samples count less.
        alpha (float): Weight of the classes that are there; that of the
            others is ``1 - alpha``.
    """
    p, log_p, log_not_p = _probabilities(input)
    there = -alpha * (1 - p) ** gamma * log_p
    absent = (alpha - 1) * p**gamma * log_not_p
    output.copy_(_select(there, absent, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative of each loss by its logit.

    Args:
        input (Tensor): (N, C) logits.
        target (Tensor): (N,) classes; C is the background.
        weight (Tensor): (C,) weights of the samples of each class, or empty.
        grad_input (Tensor): (N, C), where the derivatives are written.
        gamma (float): Exponent by which easy samples count less.
        alpha (float): Weight of the classes that are there; that of the
            others is ``1 - alpha``.
    """
    p, log_p, log_not_p = _probabilities(input)
    there = -alpha * (1 - p) ** gamma * (1 - p - gamma * p * log_p)
    absent = (alpha - 1) * p**gamma * (gamma * (1 - p) * log_not_p - p)
    grad_input.copy_(_select(there, absent, target, weight))


def _probabilities(logits: Tensor) -> tuple:
    """p, log(p) and log(1 - p), in single precision at least.

    As mmcv's kernels have them: the logarithms end at that of the smallest
    normal number of single precision.
    """
    p = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
    smallest = torch.finfo(torch.float32).tiny
    return p, p.clamp(min=smallest).log(), (1 - p).clamp(min=smallest).log()


def _select(
    there: Tensor, absent: Tensor, target: Tensor, weight: Tensor
) -> Tensor:
    classes = torch.arange(there.shape[1], device=target.device)
    values = torch.where(target[:, None] == classes, there, absent)
    return values * weight[target][:, None] if weight.numel() else values
