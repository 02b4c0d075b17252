"""The figure of accuracy against speed."""

import io
import statistics
import textwrap
from dataclasses import dataclass
from typing import Dict, List, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

FORMATS = ('.png', '.svg', '.pdf')

# Of Okabe and Ito, who chose them for the colour-blind; all of them differ in
# grey too.
_COLOURS = (
    '#0072B2',
    '#D55E00',
    '#009E73',
    '#CC79A7',
    '#E69F00',
    '#56B4E9',
    '#000000',
)
_MARKERS = 'osD^vP*X'
_LOG_FROM = 5  # ratio of the fastest model to the slowest
_LABEL_WIDTH = 24  # characters of a line
# Where a label may be, around its point: beside it first.
_DIRECTIONS = np.array(
    [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)]
)
_GAPS = np.array([8, 16, 28, 44, 64, 90])  # px


@dataclass(frozen=True)
class ModelPoint:
    """A model in the figure.

    Args:
        label (str): What it is called.
        family (str): Models of the same family look alike, and are joined.
        fps (Sequence[float]): Images per second in each round.
        score (float): Its accuracy.
    """

    label: str
    family: str
    fps: Sequence[float]
    score: float

    @property
    def speed(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.fps)


def plot_speed_accuracy(
    points: Sequence[ModelPoint],
    title: str,
    subtitle: str,
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Plot accuracy against speed.

    A horizontal line through a point goes from its slowest to its fastest
    round. The axis of speed is logarithmic where the fastest model is more
    than five times as fast as the slowest.

    Args:
        points (Sequence[ModelPoint]): The models, at least one.
        title (str): The first line above.
        subtitle (str): The smaller lines below it.
        xlabel (str): Of the axis of speed.
        ylabel (str): Of the axis of accuracy.

    Returns:
        Figure: For :func:`render`.
    """
    # Not by pyplot, which would look for a display.
    figure = Figure(figsize=(8, 5.2), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(
        rect=(0.015, 0.015, 0.97, 0.985), h_pad=0.06
    )
    axes = figure.subplots()
    axes.margins(0.14)
    axes.grid(alpha=0.3, which='both')
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    _set_scale(axes, [p.speed for p in points])
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    figure.suptitle(title, fontsize='large', fontweight='bold')
    axes.set_title(subtitle, fontsize='small', color='0.35')

    families: Dict[str, List[ModelPoint]] = {}
    for point in points:
        families.setdefault(point.family, []).append(point)
    for i, (family, members) in enumerate(families.items()):
        _draw_family(axes, family, members, i)
    if len(families) > 1:
        figure.legend(
            loc='outside lower center', ncols=len(families), frameon=False
        )
    # Labels come into a layout that is settled.
    figure.draw_without_rendering()
    figure.set_layout_engine('none')
    _draw_labels(axes, families)
    return figure


def render(figure: Figure, suffix: str = '.png') -> bytes:
    """The file of a figure.

    Args:
        figure (Figure): From :func:`plot_speed_accuracy`.
        suffix (str): One of ``FORMATS``. Defaults to ``'.png'``.

    Returns:
        bytes: The content, the same each time for the same figure.
    """
    stream = io.BytesIO()
    date = {'.svg': 'Date', '.pdf': 'CreationDate'}.get(suffix)
    # Identifiers in an SVG are random otherwise.
    with rc_context({'svg.hashsalt': 'speed_accuracy'}):
        figure.savefig(
            stream, format=suffix[1:], metadata={date: None} if date else None
        )
    return stream.getvalue()


def place_labels(
    points: np.ndarray,
    sizes: np.ndarray,
    bounds: Sequence[float],
    obstacles: np.ndarray,
) -> np.ndarray:
    """Find places for labels beside their points.

    One after the other, each label takes of the places around its point the
    one where it covers the least of the labels before it, of the obstacles,
    and of what lies beyond the bounds; of those as good, the nearest one.

    Args:
        points (np.ndarray): (x, y) of the points, (N, 2), px.
        sizes (np.ndarray): Width and height of the labels, (N, 2), px.
        bounds (Sequence[float]): Least x and y, largest x and y of all
            labels, px.
        obstacles (np.ndarray): Boxes (x1, y1, x2, y2) not to be covered,
            (M, 4), px.

    Returns:
        np.ndarray: The boxes of the labels, (N, 4), px.
    """
    steps = np.repeat(_GAPS, len(_DIRECTIONS))
    directions = np.tile(_DIRECTIONS, (len(_GAPS), 1))
    taken = np.reshape(obstacles, (-1, 4)).astype(float)
    placed = np.empty((0, 4))
    for point, size in zip(points, sizes):
        centres = point + directions * (steps[:, None] + size / 2)
        boxes = np.concatenate([centres - size / 2, centres + size / 2], 1)
        covered = _overlaps(boxes, taken).sum(axis=1)
        inside = _overlaps(boxes, np.array([bounds]))[:, 0]
        # What is beyond the bounds cannot be read, which is worse.
        cost = covered + 4 * (size.prod() - inside)
        best = boxes[np.argmin(cost.round(3))]
        placed = np.concatenate([placed, best[None]])
        taken = np.concatenate([taken, best[None]])
    return placed


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Areas common to each box of a, (N, 4), and of b, (M, 4): (N, M)."""
    start = np.maximum(a[:, None, :2], b[None, :, :2])
    end = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return (end - start).clip(min=0).prod(axis=2)


def _set_scale(axes: Axes, speeds: Sequence[float]) -> None:
    if max(speeds) <= _LOG_FROM * min(speeds):
        return
    axes.set_xscale('log')
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_family(
    axes: Axes, family: str, members: Sequence[ModelPoint], number: int
) -> None:
    members = sorted(members, key=lambda p: p.speed)
    speeds = [p.speed for p in members]
    ranges = [
        [p.speed - min(p.fps) for p in members],
        [max(p.fps) - p.speed for p in members],
    ]
    scores = [p.score for p in members]
    colour = _COLOURS[number % len(_COLOURS)]
    axes.errorbar(
        speeds, scores, xerr=ranges, fmt='none', ecolor=colour, capsize=2
    )
    axes.plot(
        speeds,
        scores,
        label=family,
        color=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=8,
        markeredgecolor='white',
    )


def _draw_labels(axes: Axes, families: Dict[str, List[ModelPoint]]) -> None:
    to_px = axes.transData.transform
    points, texts, obstacles = [], [], []
    for i, members in enumerate(families.values()):
        where = to_px([(p.speed, p.score) for p in members])
        points.extend(where)
        line = where[np.argsort(where[:, 0], kind='stable')]
        obstacles += [_squares(where, 9), _squares(_along(line), 2)]
        for point in members:
            ends = [(f(point.fps), point.score) for f in (min, max)]
            obstacles.append(_squares(_along(to_px(ends)), 4))
            text = textwrap.fill(
                point.label, _LABEL_WIDTH, break_on_hyphens=False
            )
            texts.append(
                axes.annotate(
                    text,
                    (point.speed, point.score),
                    (0, 0),
                    textcoords='offset points',
                    fontsize='small',
                    color=_COLOURS[i % len(_COLOURS)],
                    ha='center',
                    va='center',
                    multialignment='center',
                )
            )
    points = np.array(points)
    sizes = np.array([t.get_window_extent().size for t in texts])
    boxes = place_labels(
        points, sizes, axes.bbox.extents, np.concatenate(obstacles)
    )
    offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - points
    scale = 72 / axes.figure.dpi
    for text, offset in zip(texts, offsets * scale):
        text.set_position(offset)


def _squares(centres: np.ndarray, half: float) -> np.ndarray:
    """Boxes (N, 4) around points (N, 2)."""
    return np.concatenate([centres - half, centres + half], axis=1)


def _along(line: np.ndarray, spacing: float = 4) -> np.ndarray:
    """Points along a line through points (N, 2)."""
    lengths = np.hypot(*np.diff(line, axis=0).T)
    at = np.concatenate([[0], lengths.cumsum()])
    places = np.arange(0, at[-1] + spacing, spacing)
    return np.stack([np.interp(places, at, x) for x in line.T], axis=1)
