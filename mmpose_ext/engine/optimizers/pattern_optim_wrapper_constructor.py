"""Learning rates and weight decays by patterns of parameter names."""

import re
from typing import List, Optional, Union

from mmengine.optim import DefaultOptimWrapperConstructor
from mmpose.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ...arguments import non_negative

_MULTIPLIERS = dict(lr_mult='lr', decay_mult='weight_decay')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PatternOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    r"""MMEngine's constructor, with multipliers for patterns of names.

    Each pattern is a regular expression, looked for in the full name of every
    parameter. The multipliers of all patterns that are found multiply, also
    with those of MMEngine's own options. (Of MMEngine's ``custom_keys``,
    plain parts of names, only the longest that is found counts.)

    Args:
        optim_wrapper_cfg (dict): The optimizer's wrapper and in
            ``optimizer`` the optimizer, as for MMEngine's constructor.
        paramwise_cfg (dict, optional): MMEngine's options, and ``patterns``,
            a list of dicts of ``regex`` (str), ``lr_mult`` (float, 1 if left
            out) and ``decay_mult`` (float, 1 if left out). Defaults to
            ``None``.

    Raises:
        ValueError: If a pattern is not such a dict or not a regular
            expression, has a multiplier that is not a finite number of at
            least 0, matches no trained parameter, or multiplies an option
            that the optimizer is not given.

    Example:
        Biases learn twice as fast as weights, and those of the head, whose
        weights learn 4 times as fast, 8 times; no bias and no norm decays::

            optim_wrapper = dict(
                constructor='PatternOptimWrapperConstructor',
                optimizer=dict(type='Adam', lr=4e-5, weight_decay=5e-4),
                paramwise_cfg=dict(
                    norm_decay_mult=0,
                    patterns=[
                        dict(regex=r'\.bias$', lr_mult=2, decay_mult=0),
                        dict(regex=r'^head\.', lr_mult=4)]))
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: Optional[dict] = None
    ):
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self.patterns = self.paramwise_cfg.get('patterns', [])
        if not isinstance(self.patterns, (list, tuple)):
            raise ValueError(
                f'patterns must be a list of dicts, got {self.patterns!r}'
            )
        self._base = dict(lr=self.base_lr, weight_decay=self.base_wd)
        for pattern in self.patterns:
            _check_pattern(pattern)
            for key, option in _MULTIPLIERS.items():
                if key in pattern and self._base[option] is None:
                    raise ValueError(
                        f'pattern {dict(pattern)} multiplies {option}, which '
                        'the optimizer must be given'
                    )

    def add_params(
        self,
        params: List[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: Optional[Union[int, float]] = None,
    ) -> None:
        """Add a group for each trained parameter of a model.

        Args:
            params (list[dict]): The groups, added to in place.
            module (nn.Module): The model, or a part of it.
            prefix (str): The part's name. Defaults to ``''``.
            is_dcn_module (int | float, optional): Whether the part lies in a
                deformable convolution. Defaults to ``None``.
        """
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:  # MMEngine calls this for the parts as well
            self._multiply(params, module)

    def _multiply(self, params: List[dict], model: nn.Module) -> None:
        names = {id(p): name for name, p in model.named_parameters()}
        groups = [(names[id(g['params'][0])], g) for g in params]
        for pattern in self.patterns:
            found = [g for n, g in groups if re.search(pattern['regex'], n)]
            if not found:
                raise ValueError(
                    f'pattern {pattern["regex"]!r} is found in the name of '
                    'no trained parameter'
                )
            for group in found:
                for key, option in _MULTIPLIERS.items():
                    if key in pattern:
                        value = group.get(option, self._base[option])
                        group[option] = value * pattern[key]


def _check_pattern(pattern: dict) -> None:
    if not isinstance(pattern, dict) or not (
        {'regex'} <= set(pattern) <= {'regex', *_MULTIPLIERS}
    ):
        raise ValueError(
            "expected a pattern of 'regex', 'lr_mult' and 'decay_mult', got "
            f'{pattern}'
        )
    for key in _MULTIPLIERS:
        non_negative(key, pattern.get(key, 1))
    try:
        re.compile(pattern['regex'])
    except (re.error, TypeError) as e:
        raise ValueError(
            f'pattern {pattern["regex"]!r} is not a regular expression: {e}'
        ) from e
