"""The look of a toy person: colours and cut of clothes, hair and body."""

from dataclasses import dataclass

import numpy as np

from .chance import pick

BGR = np.ndarray

# Skin and hair from light to dark, BGR.
SKIN = np.array(
    [
        [188, 206, 240],
        [165, 190, 232],
        [140, 172, 220],
        [112, 146, 200],
        [86, 118, 172],
        [62, 88, 136],
        [46, 64, 102],
    ],
    dtype=np.float32,
)
HAIR = np.array(
    [
        [24, 24, 28],
        [30, 38, 52],
        [38, 58, 88],
        [50, 82, 128],
        [110, 168, 208],
        [40, 70, 150],
        [150, 152, 156],
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Look:
    """Colours and cut of one person's clothes, hair and body."""

    skin: BGR
    hair: BGR
    top: BGR
    top_mark: BGR
    top_pattern: str  # plain, stripes, bars, checks, print
    bottom: BGR
    shoes: BGR
    sleeve: float  # 0: none, 1: to the elbow, 2: to the wrist
    trouser: float  # 0.5: half thigh, 1: to the knee, 2: to the ankle
    skirt: float  # 0: none, else its length in thighs
    hair_style: str  # short, long, bald, cap, bun
    beard: bool
    backpack: bool
    build: float  # thickness of limbs and trunk
    waist: float  # waist over chest
    loose: float  # width of the clothes


def _cloth(rng: np.random.Generator) -> BGR:
    """A colour of a garment: dark, light, or saturated."""
    kind = rng.random()
    if kind < 0.3:
        base = np.full(3, rng.uniform(25, 80)) + rng.uniform(-12, 12, 3)
    elif kind < 0.5:
        base = np.full(3, rng.uniform(165, 235)) + rng.uniform(-15, 15, 3)
    else:
        base = rng.uniform(30, 220, 3)
    return np.clip(base, 10, 245).astype(np.float32)


def sample_look(rng: np.random.Generator) -> Look:
    """Draw the looks of a person."""
    tone = rng.uniform(0, len(SKIN) - 1)
    low = int(min(tone, len(SKIN) - 2))
    skin = SKIN[low] + (tone - low) * (SKIN[low + 1] - SKIN[low])
    hair = HAIR[rng.integers(len(HAIR) if tone < 3.5 else 3)]
    feminine = rng.random() < 0.5
    skirt = rng.uniform(0.5, 1.35) if feminine and rng.random() < 0.3 else 0.0
    styles = ('short', 'long', 'bald', 'cap', 'bun')
    chances = (
        (0.2, 0.5, 0.0, 0.1, 0.2) if feminine else (0.7, 0.06, 0.1, 0.14, 0)
    )
    bottom = _cloth(rng)
    if rng.random() < 0.4:  # jeans
        bottom = np.array([105, 72, 50], np.float32) * rng.uniform(0.6, 1.4)
    patterns = ('plain', 'stripes', 'bars', 'checks', 'print')
    return Look(
        skin=skin * rng.uniform(0.92, 1.06),
        hair=hair * rng.uniform(0.8, 1.2),
        top=_cloth(rng),
        top_mark=_cloth(rng),
        top_pattern=patterns[pick(rng, (0.5, 0.16, 0.08, 0.1, 0.16))],
        bottom=bottom,
        shoes=_cloth(rng),
        sleeve=(0.0, 0.55, 0.8, 1.9)[pick(rng, (0.1, 0.4, 0.15, 0.35))],
        trouser=(0.55, 0.9, 1.95)[pick(rng, (0.15, 0.15, 0.7))],
        skirt=skirt,
        hair_style=styles[pick(rng, chances)],
        beard=not feminine and rng.random() < 0.25,
        backpack=rng.random() < 0.13,
        build=rng.uniform(0.86, 1.22),
        waist=rng.uniform(0.72, 0.86) if feminine else rng.uniform(0.84, 1.1),
        loose=rng.uniform(1.0, 1.15),
    )
