"""What the docstrings say of arguments is what the signatures say."""

import importlib
import inspect
import pkgutil
import re
from typing import Dict, Iterator, Tuple

from registered import registered_classes

import mmpose_ext

# 'Defaults to ``None``, no autocast.' or 'Default: False.'
DEFAULT = re.compile(r'Defaults?(?: to|:) (`*)(.+?)\1(?=[.,;]?(\s|$))')


def public_objects() -> Iterator[Tuple[str, object]]:
    """All public classes and functions of the package, and their methods."""
    prefix = f'{mmpose_ext.__name__}.'
    for info in pkgutil.walk_packages(mmpose_ext.__path__, prefix):
        module = importlib.import_module(info.name)
        for name, item in vars(module).items():
            if name.startswith('_') or not callable(item):
                continue
            if getattr(item, '__module__', None) != module.__name__:
                continue
            yield f'{module.__name__}.{name}', item
            for key, member in (
                vars(item).items() if inspect.isclass(item) else ()
            ):
                if not key.startswith('_') and inspect.isfunction(member):
                    yield f'{module.__name__}.{name}.{key}', member


def read_args(item) -> Dict[str, str]:
    """The text of each argument of a docstring."""
    doc = inspect.getdoc(item) or ''
    block = re.search(r'^Args:\n((?: +.*\n?|\n)+)', doc, re.MULTILINE)
    text = inspect.cleandoc(block.group(1)) if block else ''
    parts = re.split(r'^(\w+)(?= ?[:(])', text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def read_signature(item) -> Dict[str, inspect.Parameter]:
    if inspect.isclass(item) and '__init__' not in vars(item):
        return {}
    return {
        p.name: p
        for p in inspect.signature(item).parameters.values()
        if p.name not in ('self', 'cls')
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }


def problems_of(item) -> Iterator[str]:
    """Where an Args block differs from the signature."""
    documented, parameters = read_args(item), read_signature(item)
    if lacking := set(parameters) - set(documented):
        yield f'without {lacking}'
    # Others must be accepted by a base class.
    extra = set(documented) - set(parameters)
    for base in inspect.getmro(item)[1:] if inspect.isclass(item) else ():
        extra -= set(inspect.signature(base.__init__).parameters)
    if extra:
        yield f'with {extra}, which the signature lacks'
    for name, text in documented.items():
        found = DEFAULT.search(' '.join(text.split()))
        if found is None or name not in parameters:
            continue
        try:
            default = eval(found.group(2), {'__builtins__': {'dict': dict}})
        except (NameError, SyntaxError):
            continue  # in words
        actual = parameters[name].default
        if actual != default:
            yield f'{name}: {found.group(0)!r}, but it is {actual!r}'


def test_docstrings_say_what_signatures_say():
    items = dict(public_objects())
    documented = {name: x for name, x in items.items() if read_args(x)}
    assert len(documented) > 150
    problems = [
        f'{name} {problem}'
        for name, item in documented.items()
        for problem in problems_of(item)
    ]
    assert not problems, '\n'.join(problems)


def test_registered_classes_document_all_arguments():
    classes = registered_classes()
    problems = [
        f'{name} {problem}'
        for name, item in classes.items()
        for problem in problems_of(item)
    ]
    problems += [name for name, x in classes.items() if not x.__doc__]
    assert not problems, '\n'.join(problems)


def test_a_wrong_docstring_is_seen():
    def function(a, b, c=3, d=None, *args, **kwargs):
        """Do nothing.

        Args:
            a (int): One. Defaults to 1.
            c (int): Three. Default: 4.
            d (str, optional): In words. Defaults to ``None``, nothing.
            e (int): What there is not.
        """

    assert list(problems_of(function)) == [
        "without {'b'}",
        "with {'e'}, which the signature lacks",
        "a: 'Defaults to 1', but it is <class 'inspect._empty'>",
        "c: 'Default: 4', but it is 3",
    ]
