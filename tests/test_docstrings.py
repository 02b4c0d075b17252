"""What the docstrings say of arguments is what the signatures say."""

import importlib
import inspect
import pkgutil
import re
from typing import Dict

import pytest

import mmpose_ext

# 'Defaults to ``None``, no autocast.' or 'Default: False.'
DEFAULT = re.compile(r'Defaults?(?: to|:) (`*)(.+?)\1(?=[.,;]?(\s|$))')


def import_all():
    prefix = f'{mmpose_ext.__name__}.'
    for module in pkgutil.walk_packages(mmpose_ext.__path__, prefix):
        yield importlib.import_module(module.name)


def documented_objects():
    """All public classes and functions whose docstring has an Args block."""
    for module in import_all():
        for name, item in vars(module).items():
            if name.startswith('_') or not callable(item):
                continue
            if getattr(item, '__module__', None) != module.__name__:
                continue
            members = vars(item).items() if inspect.isclass(item) else ()
            yield f'{module.__name__}.{name}', item
            for key, member in members:
                if not key.startswith('_') and inspect.isfunction(member):
                    yield f'{module.__name__}.{name}.{key}', member


def args_block(item) -> str:
    doc = inspect.getdoc(item) or ''
    block = re.search(r'^Args:\n((?: +.*\n?|\n)+)', doc, re.MULTILINE)
    return inspect.cleandoc(block.group(1)) if block else ''


def read_args(item) -> Dict[str, str]:
    """The text of each argument of a docstring."""
    parts = re.split(r'^(\w+)(?= ?[:(])', args_block(item), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def read_signature(item) -> Dict[str, inspect.Parameter]:
    if inspect.isclass(item) and '__init__' not in vars(item):
        return {}
    parameters = inspect.signature(item).parameters.values()
    return {
        p.name: p
        for p in parameters
        if p.name not in ('self', 'cls')
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


OBJECTS = dict(documented_objects())
WITH_ARGS = {name: item for name, item in OBJECTS.items() if read_args(item)}


def registered_classes():
    """Those that a config can name."""
    for module in import_all():
        for item in vars(module).values():
            if inspect.isclass(item) and item.__module__ == module.__name__:
                source = inspect.getsource(item)
                if re.match(r'(@.*\n)*@\w+\.register_module', source):
                    yield item


REGISTERED = sorted(set(registered_classes()), key=lambda c: c.__name__)


def test_registered_classes_are_found():
    names = {c.__name__ for c in REGISTERED}
    assert names >= {'RAMHRNet', 'RAMNeck', 'GPRNeck', 'Cutout'}
    assert names >= {'PSMHRNet', 'PSMNeck', 'MobileNetV1', 'ContextNeck'}
    assert names >= {'GCCPMHead', 'BackgroundHeatmap', 'LIPDataset', 'LIPPCKh'}
    assert names >= {'UShapedContext', 'ASPPContext', 'PyramidPoolingContext'}
    assert names >= {'BodyMasking', 'KeypointMasking', 'ChannelPermutation'}
    assert names >= {'MultiScaleHeatmapTTA', 'PatternOptimWrapperConstructor'}
    assert names >= {'LOGOCAPHead', 'AttentiveNorm2d', 'ExpansionUpperBound'}
    assert names >= {'CenterOffset', 'KeypointExpansion'}
    assert names >= {'BottomupShortSideAffine', 'BottomupShortSideResize'}
    assert names >= {'BottomupGridMask', 'MultiTaskRoIHead', 'WarpKeypoints'}
    assert names >= {'OffsetKeypointHead', 'SampledDeformConv2dPack'}
    assert names >= {'CocoPersonDataset', 'LoadMultiTaskAnnotations'}
    assert names >= {'FilterMultiTask', 'PackMultiTaskInputs'}
    assert names >= {'CocoKeypointMetric', 'MultiTaskVisualizer'}
    assert names >= {'FusedFlipTopdownPoseEstimator'}
    assert names >= {'FusedFlipBottomupPoseEstimator'}


@pytest.mark.parametrize('item', REGISTERED, ids=lambda c: c.__name__)
def test_registered_class_documents_its_arguments(item):
    own = read_signature(item)
    assert inspect.getdoc(item)
    assert set(own) <= set(read_args(item))


@pytest.mark.parametrize('name', WITH_ARGS)
def test_documented_arguments_are_those_of_the_signature(name):
    item = WITH_ARGS[name]
    documented, own = set(read_args(item)), set(read_signature(item))
    assert own <= documented
    # Others must be accepted by a base class.
    extra = documented - own
    for base in inspect.getmro(item)[1:] if inspect.isclass(item) else ():
        extra -= set(inspect.signature(base.__init__).parameters)
    assert not extra


@pytest.mark.parametrize('name', WITH_ARGS)
def test_documented_defaults_are_those_of_the_signature(name):
    item = WITH_ARGS[name]
    parameters = read_signature(item)
    for argument, text in read_args(item).items():
        text = ' '.join(text.split())
        found = re.search(
            r'Defaults?(?: to|:) (`*)(.+?)\1(?=[.,;]?(\s|$))', text
        )
        if found is None or argument not in parameters:
            continue
        try:
            default = eval(found.group(2), {'__builtins__': {'dict': dict}})
        except (NameError, SyntaxError):
            continue  # told in words
        actual = parameters[argument].default
        assert actual == default, f'{argument}: {found.group(0)!r}'
