"""Rules about segmentations: polygons, and run lengths of two kinds."""

from itertools import chain
from typing import Any, Sequence

import numpy as np

from .columns import LIMIT, joined_numbers, whole
from .problems import MISSING, show
from .table import CocoTable

_KEYS = ('size', 'counts')
_FORMS = (
    'polygons [[x1, y1, x2, y2, ...], ...] of finite px, or run lengths '
    '{size, counts}'
)
# COCO's library keeps some 100 bytes for each px of an outline.
_LONGEST = 1e6


def check_segmentations(table: CocoTable) -> None:
    """Check segmentations, and complete what a file lacks of them.

    Polygons of fewer than three points are left out, as MMDet does it. An
    annotation without a segmentation gets the run lengths of an empty mask:
    that is the one form that all of MMPose, MMDet and COCO's library take.
    """
    values = table.annotations.column('segmentation')
    is_list = np.array([type(v) is list for v in values], bool)
    is_code = np.array([type(v) is dict for v in values], bool)
    without = np.array(
        [v is None or v is MISSING or v == [] for v in values], bool
    )
    wrong = ~(is_list | is_code | without)
    _check_polygons(table, values, np.flatnonzero(is_list), wrong, without)
    table.annotations.refuse(wrong, 'segmentation', _FORMS)
    _check_codes(table, values, np.flatnonzero(is_code))
    if table.problems.count:
        return
    for i in np.flatnonzero(without).tolist():
        size = table.sizes[table.image_of[i]].astype(int).tolist()
        table.annotations[i]['segmentation'] = empty_mask(*size)


def empty_mask(width: int, height: int) -> dict:
    """The run lengths of a mask in which there is nothing."""
    return dict(size=[height, width], counts=[width * height])


def is_empty(segmentation: Any) -> bool:
    """Whether a checked segmentation is that of a mask without anything."""
    if isinstance(segmentation, list):
        return not segmentation
    counts = segmentation['counts']
    return isinstance(counts, list) and len(counts) == 1


def _check_polygons(
    table: CocoTable,
    values: Sequence[Any],
    index: np.ndarray,
    wrong: np.ndarray,
    without: np.ndarray,
) -> None:
    """Check the segmentations that are lists; mark them in two masks (N,).

    ``wrong`` are those that are no polygons, ``without`` those of which no
    polygon is left.
    """
    lists = [values[i] for i in index.tolist()]
    owner = np.repeat(index, list(map(len, lists)))
    polygons = list(chain.from_iterable(lists))
    if not set(map(type, polygons)) <= {list}:
        is_list = np.array([type(p) is list for p in polygons], bool)
        wrong[owner[~is_list]] = True
        owner = owner[is_list]
        polygons = [p for p in polygons if type(p) is list]
    lengths = np.array(list(map(len, polygons)), int)
    flat = joined_numbers(polygons)
    bad = ~(np.abs(flat) <= LIMIT)
    if bad.any():
        wrong[np.repeat(owner, lengths)[bad]] = True
    wrong[owner[lengths % 2 == 1]] = True
    if not wrong.any():
        long = lengths >= 6
        points = flat[np.repeat(long, lengths)].reshape(-1, 2)
        _check_outlines(table, owner[long], lengths[long] // 2, points)

    short = np.zeros(len(values), bool)
    short[owner[lengths < 6]] = True
    short &= ~wrong
    table.note(
        short,
        'have polygons of fewer than three points, which are left out',
    )
    for i in np.flatnonzero(short).tolist():
        kept = [p for p in values[i] if len(p) >= 6]
        table.annotations[i]['segmentation'] = kept
        without[i] = not kept


def _check_outlines(
    table: CocoTable, owner: np.ndarray, lengths: np.ndarray, xy: np.ndarray
) -> None:
    """Check that polygons are near their images, and can be filled.

    COCO's library walks along the outline, also where it is outside the
    image, and keeps each step. Each of M polygons has an annotation as its
    ``owner`` and a number of points; ``xy`` are the points of all, (P, 2).
    """
    if not len(owner):
        return
    number = len(table.annotations)
    starts = np.cumsum(lengths) - lengths
    sizes = table.annotation_sizes()[owner]
    margin = sizes.max(axis=1, keepdims=True)
    outside = np.minimum.reduceat(xy, starts) < -margin
    outside |= np.maximum.reduceat(xy, starts) > sizes + margin
    far = np.zeros(number, bool)
    far[owner[outside.any(axis=1)]] = True
    table.annotations.refuse(
        far,
        'segmentation',
        'polygons that leave their image by its longer side at most',
    )

    steps = np.empty_like(xy)
    steps[:-1] = xy[1:] - xy[:-1]
    ends = starts + lengths - 1
    steps[ends] = xy[starts] - xy[ends]
    np.abs(steps, out=steps)
    each = np.add.reduceat(steps, starts).sum(axis=1)
    outlines = np.bincount(owner, each, number)
    table.annotations.refuse(
        (outlines > _LONGEST) & ~far,
        'segmentation',
        f'at most {_LONGEST:.0f} px',
        lambda i: f'segmentation with an outline of {outlines[i]:.0f} px',
    )


def _check_codes(
    table: CocoTable, values: Sequence[Any], index: np.ndarray
) -> None:
    """Check segmentations that are run lengths."""
    codes = [values[i] for i in index.tolist()]
    expected = table.sizes[table.image_of[index]]
    expected[table.image_of[index] < 0] = np.nan

    def refuse(wrong: np.ndarray, key: str, expected: str) -> None:
        table.problems.add_where(
            wrong,
            lambda i: table.annotations.name(int(index[i])),
            lambda i: (
                f'segmentation with the {key} '
                + show(codes[i].get(key, MISSING))
            ),
            expected,
        )

    sizes = [code.get('size') for code in codes]
    differs = np.array(
        [
            not (
                type(s) is list
                and len(s) == 2
                and whole(s)[1].all()
                and (s[::-1] == e or e[0] != e[0])
            )
            for s, e in zip(sizes, expected.tolist())
        ],
        bool,
    )
    refuse(differs, 'size', 'the [height, width] of its image')
    others = np.zeros(len(values), bool)
    others[index] = [
        any(type(v) in (list, dict) for k, v in code.items() if k not in _KEYS)
        for code in codes
    ]
    table.annotations.refuse(others, 'segmentation', _FORMS)
    counts = [code.get('counts') for code in codes]
    texts = [i for i, c in enumerate(counts) if type(c) is str]
    totals = np.full(len(index), -1)
    totals[texts] = sum_texts([counts[i] for i in texts])
    for i, c in enumerate(counts):
        if type(c) is list:
            runs, good = whole(c)
            if good.all() and (runs >= 0).all() and (runs <= LIMIT**2).all():
                totals[i] = runs.sum()
    areas = expected.prod(axis=1)
    refuse(
        (totals != areas) & ~np.isnan(areas) & ~differs,
        'counts',
        'run lengths from 0 whose sum is the height x width of its image',
    )


def sum_texts(texts: Sequence[str]) -> np.ndarray:
    """The sums of run lengths that are written as texts.

    COCO's library writes each in groups of five bits, from the lowest on, as
    the characters from '0'; 32 says that another group follows, 16 in the
    last one that the value is negative. From the fourth on, a value is what
    is added to the run length two before. The library itself does not look
    where such a text leads it.

    Args:
        texts (Sequence[str]): N texts.

    Returns:
        np.ndarray: Int (N,); -1 for a text that is no run lengths.
    """
    good = np.array([t.isascii() and bool(t) for t in texts], bool)
    data = ''.join(t for t, g in zip(texts, good) if g).encode()
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    lengths = np.array([len(t) for t, g in zip(texts, good) if g], int)
    totals = np.full(len(texts), -1)
    if not len(codes):
        return totals
    ends = np.cumsum(lengths)
    text_of = np.repeat(np.arange(len(lengths)), lengths)
    last = (codes & 32) == 0
    bad = np.zeros(len(lengths), bool)
    bad[text_of[(codes < 0) | (codes > 63)]] = True
    bad |= ~last[ends - 1]
    # What is wrong does not reach into the next text.
    last[ends - 1] = True

    first = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    groups = np.diff(np.append(first, len(codes)))
    bad[text_of[first[groups > 10]]] = True  # more than 50 bits
    place = np.arange(len(codes)) - np.repeat(first, groups)
    place = place.clip(max=10)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    negative = (codes[np.flatnonzero(last)] & 16) > 0
    values -= negative * (1 << (5 * groups.clip(max=10)))

    text_of = text_of[first]
    runs = _add_up(values, text_of)
    bad[text_of[(runs < 0) | (runs > LIMIT**2)]] = True
    sums = np.bincount(text_of, runs.astype(float), len(lengths))
    totals[good] = np.where(bad, -1, sums)
    return totals


def _add_up(values: np.ndarray, text_of: np.ndarray) -> np.ndarray:
    """Run lengths from differences to those two before, text by text."""
    start = np.searchsorted(text_of, text_of)
    number = np.arange(len(values)) - start
    # The first stands alone; the others make two chains.
    chain_of = 3 * text_of + np.where(number == 0, 0, 1 + number % 2)
    order = np.argsort(chain_of, kind='stable')
    added = np.cumsum(values[order])
    begin = np.searchsorted(chain_of[order], chain_of[order])
    added -= added[begin] - values[order][begin]
    runs = np.empty_like(added)
    runs[order] = added
    return runs
