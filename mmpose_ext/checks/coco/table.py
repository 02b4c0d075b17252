"""The lists of a COCO file, and what the rules learn about them."""

from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import numpy as np

from ...errors import InputError
from .columns import WHOLE_LIMIT, column, whole
from .problems import MISSING, Problems, show, some

_KINDS = dict(images='image', annotations='annotation', categories='category')


class Objects:
    """One of the lists of a COCO file, while the rules go over it.

    Args:
        key (str): Its key in the file.
        items (list[dict]): The objects, of which rules repair in place what
            they accept.
        problems (Problems): Where the rules say what is wrong.
    """

    def __init__(self, key: str, items: List[dict], problems: Problems):
        self.key = key
        self.items = items
        self.problems = problems

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        return self.items[index]

    def name(self, index: int) -> str:
        """Name an object in a message."""
        id_ = self.items[index].get('id', MISSING)
        if whole([id_])[1][0]:
            return f'{_KINDS[self.key]} {show(id_)}'
        return f'{_KINDS[self.key]} at index {index}'

    def column(self, key: str) -> List[Any]:
        """The value that each object has under a key, or ``MISSING``."""
        return column(self.items, key)

    def whole(
        self,
        key: str,
        expected: str = 'a whole number from -2^53 to 2^53',
        low: float = -WHOLE_LIMIT,
        high: float = WHOLE_LIMIT,
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Check whole numbers under a key, and write 3 in place of 3.0.

        Args:
            key (str): The key.
            expected (str): What should be there, for messages. Defaults to
                the numbers that float64 holds.
            low (float): The least that is good.
            high (float): The largest that is good.

        Returns:
            tuple: The numbers, int64 (N,), and which of them are good, (N,).
        """
        values = self.column(key)
        found, good = whole(values)
        good &= (found >= low) & (found <= high)
        self.refuse(~good, key, expected)
        if float in set(map(type, values)) and good.all():
            for item, value in zip(self.items, found.tolist()):
                item[key] = value
        return found, good

    def refuse(
        self,
        wrong: np.ndarray,
        key: str,
        expected: str,
        got: Optional[Callable[[int], str]] = None,
    ) -> None:
        """Say that values under a key are wrong.

        Args:
            wrong (np.ndarray): Of which objects, bool (N,).
            key (str): The key.
            expected (str): What should be there.
            got (Callable, optional): From the index of an object to what is
                there. Defaults to ``None``, the key and its value.
        """
        self.problems.add_where(
            wrong,
            self.name,
            got or (lambda i: f'{key} {show(self[i].get(key, MISSING))}'),
            expected,
        )


class CocoTable:
    """The content of a COCO file, while the rules go over it.

    Args:
        content (dict): The content, whose structure is good.
        problems (Problems): Where the rules say what is wrong.
    """

    def __init__(self, content: Dict[str, Any], problems: Problems):
        self.images, self.annotations, self.categories = (
            Objects(key, content[key], problems) for key in _KINDS
        )
        self.problems = problems
        # All keys that any of the annotations has.
        self.keys: Set[str] = set().union(*self.annotations.items)
        self.notes: List[str] = []
        # Per image: width and height in px, NaN where one is wrong, (M, 2).
        self.sizes: np.ndarray = np.zeros((len(self.images), 2))
        # Per annotation: the index of its image, -1 where there is none.
        self.image_of: np.ndarray = np.zeros(len(self.annotations), int)
        # Per annotation: x, y, width and height, NaN where wrong, (N, 4).
        self.boxes: np.ndarray = np.zeros((len(self.annotations), 4))
        # Those whose coordinates are fractions, not px, (N,).
        self.fractions: np.ndarray = np.zeros(len(self.annotations), bool)

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
            first = example or self.annotations.name(int(chosen.argmax()))
            self.notes.append(
                f'{int(chosen.sum())} of {len(chosen)} annotations {text} '
                f'(the first: {first})'
            )


def check_structure(content: Any, problems: Problems) -> None:
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
    if content.setdefault('annotations', []) == []:
        content.setdefault('categories', [])
    for key in _KINDS:
        objects = content.get(key, MISSING)
        if type(objects) is not list:
            problems.add(
                f"'{key}'", f'got {_kind(objects)}', 'a list of objects'
            )
            continue
        problems.add_where(
            np.array([type(o) is not dict for o in objects], bool),
            lambda i, key=key: f"'{key}' at index {i}",
            lambda i, objects=objects: f'got {show(objects[i])}',
            'an object',
        )
        if key == 'images' and not objects:
            problems.add("'images'", 'got an empty list', 'images')
    problems.raise_any()


def _kind(value: Any) -> str:
    if value is MISSING or value is None:
        return show(value)
    return 'an object' if type(value) is dict else f'a {type(value).__name__}'
