"""Configs of one module, as a user writes them on a command line."""

import ast

from ..errors import InputError


def parse_dict(text: str) -> dict:
    """Read ``dict(type='...', ...)`` without running it as a program.

    Args:
        text (str): That, or a dict in braces, of plain values, in which
            other such dicts may be.

    Returns:
        dict: The config of a module, a transform or a codec.

    Raises:
        InputError: It is something else, or it has no type.
    """
    try:
        cfg = _value(ast.parse(text.strip(), mode='eval').body)
    except (SyntaxError, ValueError, TypeError) as e:
        raise InputError(
            f"{text}: expected dict(type='...', ...) of plain values"
        ) from e
    if not isinstance(cfg, dict) or not isinstance(cfg.get('type'), str):
        raise InputError(f"{text}: expected a dict with a 'type'")
    return cfg


def _value(node: ast.AST):
    """The value of a literal, in which dicts may be written as calls."""
    if isinstance(node, ast.Call):
        if getattr(node.func, 'id', '') != 'dict' or node.args:
            raise ValueError('only dict(key=value) may be called')
        if any(item.arg is None for item in node.keywords):
            raise ValueError('** is not a plain value')
        return {item.arg: _value(item.value) for item in node.keywords}
    if isinstance(node, (ast.List, ast.Tuple)):
        items = map(_value, node.elts)
        return list(items) if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {
            ast.literal_eval(key): _value(value)
            for key, value in zip(node.keys, node.values)
        }
    return ast.literal_eval(node)
