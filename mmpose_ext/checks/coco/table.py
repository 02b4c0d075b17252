"""The lists of a COCO file, and what the rules learn about them."""

from typing import Any, List, Optional, Set

import numpy as np

from ...errors import InputError
from .columns import whole
from .problems import MISSING, Problems, show, some


class CocoTable:
    """The content of a COCO file, while the rules go over it.

    A rule adds to ``problems``, and repairs what it accepts in place.

    Args:
        content (dict): The content, whose structure is good.
        problems (Problems): Where the rules say what is wrong.
    """

    def __init__(self, content: dict, problems: Problems):
        self.images: List[dict] = content['images']
        self.annotations: List[dict] = content['annotations']
        self.categories: List[dict] = content['categories']
        self.problems = problems
        # All keys that any of the annotations has.
        self.keys: Set[str] = set().union(*self.annotations)
        self.notes: List[str] = []
        # Per image: width and height in px, NaN where one is wrong, (M, 2).
        self.sizes: np.ndarray = np.zeros((len(self.images), 2))
        # Per annotation: the index of its image, -1 where there is none.
        self.image_of: np.ndarray = np.zeros(len(self.annotations), int)
        # Per annotation: x, y, width and height, NaN where wrong, (N, 4).
        self.boxes: np.ndarray = np.zeros((len(self.annotations), 4))
        # Those whose coordinates are fractions, not px, (N,).
        self.fractions: np.ndarray = np.zeros(len(self.annotations), bool)

    def image(self, index: int) -> str:
        """Name an image in a message."""
        return _name('image', self.images, index)

    def annotation(self, index: int) -> str:
        """Name an annotation in a message."""
        return _name('annotation', self.annotations, index)

    def category(self, index: int) -> str:
        """Name a category in a message."""
        return _name('category', self.categories, index)

    def annotation_sizes(self) -> np.ndarray:
        """Width and height of each annotation's image, (N, 2), or NaN."""
        sizes = np.concatenate([self.sizes, [[np.nan, np.nan]]])
        return sizes[self.image_of]

    def note(
        self, chosen: np.ndarray, text: str, example: Optional[str] = None
    ) -> None:
        """Note for a warning what some of the annotations have.

        Args:
            chosen (np.ndarray): Which of them, bool (N,).
            text (str): What they have, and what becomes of it.
            example (str, optional): What the first of them has. Defaults to
                ``None``, its name.
        """
        if chosen.any():
            first = example or self.annotation(int(chosen.argmax()))
            self.notes.append(
                f'{int(chosen.sum())} of {len(chosen)} annotations {text} '
                f'(the first: {first})'
            )


def _name(kind: str, objects: List[dict], index: int) -> str:
    id_ = objects[index].get('id', MISSING)
    if whole([id_])[1][0]:
        return f'{kind} {show(id_)}'
    return f'{kind} at index {index}'


def check_structure(content, problems: Problems) -> None:
    """Check that a file has lists of objects, and complete what it may lack.

    Args:
        content (Any): The parsed file; empty lists are added in place of
            missing annotations, and of the categories of no annotations.
        problems (Problems): Where to say what is wrong.

    Raises:
        InputError: Something is wrong, so that nothing else can be checked.
    """
    if not isinstance(content, dict) or 'images' not in content:
        got = f'a {type(content).__name__}'
        if isinstance(content, dict):
            got = f'an object with {some(map(show, content), 5)}'
        raise InputError(
            f'{problems.what} is not in COCO format: expected an object with '
            f"'images', 'annotations' and 'categories', got {got}"
        )
    content.setdefault('annotations', [])
    if not content['annotations'] and type(content['annotations']) is list:
        content.setdefault('categories', [])
    for key in ('images', 'annotations', 'categories'):
        objects = content.get(key, MISSING)
        if type(objects) is not list:
            problems.add(
                f"'{key}'",
                f'got {_kind(objects)}',
                'a list of objects',
            )
        elif not set(map(type, objects)) <= {dict}:
            wrong = np.array([type(o) is not dict for o in objects])
            problems.add_where(
                wrong,
                lambda i, key=key: f"'{key}' at index {i}",
                lambda i, objects=objects: f'got {show(objects[i])}',
                'an object',
            )
        elif key == 'images' and not objects:
            problems.add("'images'", 'got an empty list', 'images')
    problems.raise_any()


def _kind(value) -> str:
    if value is MISSING or value is None:
        return show(value)
    return 'an object' if type(value) is dict else f'a {type(value).__name__}'


def as_numbers(objects: List[dict], key: str, found: np.ndarray) -> None:
    """Write whole numbers in place of values such as 3.0."""
    for item, value in zip(objects, found.tolist()):
        item[key] = value


def has_floats(values: List[Any]) -> bool:
    """Whether one of the values is a float, such as 3.0."""
    return float in set(map(type, values))
