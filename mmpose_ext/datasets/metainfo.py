"""Meta information of data sets from the names of their keypoints."""

from typing import Any, Dict, List, Sequence, Tuple

_LOWER = {'ankle', 'knee', 'hip', 'pelvis'}
# COCO's, by the last part of a name.
_WEIGHTS = dict(ankle=1.5, knee=1.2, wrist=1.5, elbow=1.2)
_SIGMAS = dict(
    ankle=0.089, knee=0.087, hip=0.107, wrist=0.062, elbow=0.072,
    shoulder=0.079,
)  # fmt: skip


def make_metainfo(
    dataset_name: str,
    keypoints: Sequence[str],
    links: Sequence[Tuple[str, str]],
    **paper: str,
) -> Dict[str, Any]:
    """Describe a data set as MMPose does.

    Colours, flip pairs, weights and sigmas follow from the names: of
    ``left_ankle``, the side is ``left`` and the part ``ankle``. The sigmas
    are not measured on the data set: they are COCO's of the same part or,
    where COCO has none, 0.026, which is what MMPose has for MPII there.

    Args:
        dataset_name (str): The name of the data set.
        keypoints (Sequence[str]): The names of the keypoints, in order.
        links (Sequence[tuple[str, str]]): The lines of the skeleton.
        **paper (str): MMPose's ``paper_info``.

    Returns:
        dict: What a data set has as ``METAINFO``.
    """
    parts = [name.split('_')[-1] for name in keypoints]
    return dict(
        dataset_name=dataset_name,
        paper_info=paper,
        keypoint_info={
            i: dict(
                name=name,
                id=i,
                color=_colour(name),
                type='lower' if part in _LOWER else 'upper',
                swap=_other_side(name),
            )
            for i, (name, part) in enumerate(zip(keypoints, parts))
        },
        skeleton_info={
            i: dict(link=link, id=i, color=_colour(*link))
            for i, link in enumerate(links)
        },
        joint_weights=[_WEIGHTS.get(part, 1.0) for part in parts],
        sigmas=[_SIGMAS.get(part, 0.026) for part in parts],
    )


def make_category(
    keypoints: Sequence[str], links: Sequence[Tuple[str, str]]
) -> Dict[str, Any]:
    """Describe persons as a COCO file does; its indices start at 1.

    Args:
        keypoints (Sequence[str]): The names of the keypoints, in order.
        links (Sequence[tuple[str, str]]): The lines of the skeleton.

    Returns:
        dict: The only entry of ``categories``.
    """
    return dict(
        id=1,
        name='person',
        supercategory='person',
        keypoints=list(keypoints),
        skeleton=[[keypoints.index(name) + 1 for name in k] for k in links],
    )


def _colour(*names: str) -> List[int]:
    """Right orange, left green, between them blue."""
    if any(name.startswith('right') for name in names):
        return [255, 128, 0]
    if any(name.startswith('left') for name in names):
        return [0, 255, 0]
    return [51, 153, 255]


def _other_side(name: str) -> str:
    side, _, part = name.partition('_')
    other = dict(right='left', left='right').get(side)
    return f'{other}_{part}' if other else ''
