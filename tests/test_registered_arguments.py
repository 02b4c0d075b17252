"""No registered class of ours takes a number that makes no sense."""

import copy
import inspect
import math
import re
from numbers import Real
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from registered import registered_classes

CONFIGS = sorted(Path(__file__).parents[1].glob('configs/[!_]*/*.py'))
# Arguments of classes that no config names, or names without these.
GOOD = {
    'ASPPContext': dict(in_channels=4),
    'AttentiveNorm2d': dict(num_features=4),
    'ContextNeck': dict(
        in_channels=[4, 6], context=dict(type='UShapedContext')
    ),
    'KeypointExpansion': dict(sigmas=[0.1, 0.2]),
    'PyramidPoolingContext': dict(in_channels=4),
    'RAMNeck': dict(in_channels=[4, 6]),
    'UShapedContext': dict(in_channels=4),
}
NONSENSE = (math.nan, math.inf, -math.inf, 'many', None, [], -2, 0)
# Where zero makes sense: probabilities, weights, areas, thresholds, colours,
# layers that may be left out, and stages, which are counted from 0.
GOOD_ZEROS = {
    *('prob', 'scale_prob', 'shift_prob', 'rotate_prob', 'momentum'),
    *('shift_factor', 'rotate_factor', 'fill', 'pad_val', 'border_value'),
    *('background_weight', 'pos_weight', 'loss_weight', 'oks_loss_weight'),
    *('window_loss_weight', 'min_area', 'decode_thr', 'match_thr', 'kpt_thr'),
    *('num_convs', 'out_indices', 'frozen_stages'),
}
# A threshold that all scores reach, and a colour that OpenCV clips.
GOOD_NEGATIVES = {'kpt_thr', 'pad_val'}


def is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def is_numeric(value):
    """A number, or a list or tuple of such, or of these."""
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(map(is_numeric, value))
    return is_number(value)


def is_ours(cls):
    owner = next(c for c in cls.__mro__ if '__init__' in vars(c))
    return owner.__module__.startswith('mmpose_ext.')


def find_arguments(cfg):
    """Name and arguments of all types in a config."""
    if isinstance(cfg, dict):
        kind = cfg.get('type')
        if kind is not None:
            name = kind if isinstance(kind, str) else kind.__name__
            yield (
                name,
                {k: v for k, v in cfg.items() if k not in ('type', '_scope_')},
            )
    if isinstance(cfg, (dict, list, tuple)):
        for value in cfg.values() if isinstance(cfg, dict) else cfg:
            yield from find_arguments(value)


# Those whose constructor is ours.
CLASSES = {
    name: item for name, item in registered_classes().items() if is_ours(item)
}


@pytest.fixture(scope='module')
def in_configs():
    """The arguments that the first config gives to each class.

    Of all configs those of toys are read, and others that name a class which
    is in none of these.
    """
    words = {
        path: set(re.findall(r'\w+', path.read_text())) for path in CONFIGS
    }
    found = {}
    for path in sorted(CONFIGS, key=lambda path: 'toy' not in path.name):
        if 'toy' in path.name or (words[path] & set(CLASSES)) - set(found):
            cfg = Config.fromfile(path).to_dict()
            for name, arguments in find_arguments(cfg):
                found.setdefault(name.rpartition('.')[2], arguments)
    return found


def find_numbers(name, in_configs):
    """The good arguments of a class, and those that are numbers."""
    given = GOOD.get(name, in_configs.get(name, {}))
    values = {
        argument: given.get(argument, parameter.default)
        for argument, parameter in inspect.signature(
            CLASSES[name]
        ).parameters.items()
    }
    return given, {k: v for k, v in values.items() if is_numeric(v)}


def spoil(value):
    """Nonsense in place of a number, or of the first or last of several."""
    for bad in NONSENSE:
        yield bad, bad
        if not is_number(value):
            yield [bad, *value[1:]], bad
            yield [*value[:-1], bad], bad


def is_good(argument, bad):
    if isinstance(bad, int):
        return argument in (GOOD_NEGATIVES if bad < 0 else GOOD_ZEROS)
    return False


def try_out(cls, given, argument, bad):
    """What is wrong with how a class takes a value; empty if nothing is."""
    scope = 'mmdet' if 'multitask' in cls.__module__ else 'mmpose'
    try:
        with DefaultScope.overwrite_default_scope(scope):
            cls(**copy.deepcopy(given))
    except ValueError as e:
        named = argument in str(e) and repr(bad) in str(e)
        return '' if named else str(e)
    except Exception as e:
        return repr(e)
    return 'accepted'


def test_numbers_are_found(in_configs):
    numbers = {name: find_numbers(name, in_configs)[1] for name in CLASSES}
    assert {'num_stages', 'out_channels'} <= set(numbers['GCCPMHead'])
    assert set(numbers['Cutout']) == {'num_holes', 'size', 'fill', 'prob'}
    assert set(numbers['KeypointExpansion']) == {'sigmas', 'ksize'}
    assert set(numbers['LIPPCKh']) == {'thr'}
    assert sum(map(len, numbers.values())) > 90


def problems_of(name, in_configs):
    """What a class takes and should not, or refuses in other words."""
    given, numbers = find_numbers(name, in_configs)
    parameters = inspect.signature(CLASSES[name]).parameters
    for argument, value in numbers.items():
        for wrong, bad in spoil(value):
            if wrong is None and parameters[argument].default is None:
                continue
            good = is_good(argument, bad)
            if good and not is_number(value):
                continue  # some take one number for several, some do not
            given_ = {**given, argument: wrong}
            found = try_out(CLASSES[name], given_, argument, bad)
            if found != ('accepted' if good else ''):
                yield f'{name}: {argument}={wrong!r}: {found or "refused"}'


def test_nonsense_is_refused_by_name(in_configs):
    problems = [x for name in CLASSES for x in problems_of(name, in_configs)]
    hint = 'what makes sense belongs into GOOD_ZEROS or GOOD_NEGATIVES'
    assert not problems, '\n'.join([*problems, hint])
