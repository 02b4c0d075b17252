"""Checks of the result dicts that transforms get."""

from typing import Dict

import numpy as np


def get_image(name: str, results: Dict) -> np.ndarray:
    """The one image of a result dict.

    Args:
        name (str): The transform's name, for the message.
        results (dict): The result dict.

    Returns:
        np.ndarray: Of shape (H, W) or (H, W, C), not empty.

    Raises:
        ValueError: If there is none, or a list of them, as of several frames
            or scales.
    """
    img = results.get('img')
    if isinstance(img, np.ndarray):
        if img.ndim in (2, 3) and img.size:
            return img
        got = f'an array of shape {img.shape}'
    elif isinstance(img, (list, tuple)):
        got = f'a {type(img).__name__} of {len(img)}'
    else:
        got = repr(img)
    raise ValueError(
        f"{name} takes one image as 'img', of shape (H, W) or (H, W, C), "
        f'got {got}'
    )


def get_keypoints(name: str, results: Dict) -> np.ndarray:
    """The keypoints of a result dict, in pixels of its image.

    Args:
        name (str): The transform's name, for the message.
        results (dict): The result dict.

    Returns:
        np.ndarray: x and y of shape (N, K, 2).

    Raises:
        ValueError: If it has no keypoints, or no ``keypoints_visible``.
    """
    keypoints = results.get('transformed_keypoints')
    if keypoints is None:
        keypoints = results.get('keypoints')
    # Where there are none, MMPose's TopdownAffine adds an array of shape ().
    if np.ndim(keypoints) != 3 or results.get('keypoints_visible') is None:
        shapes = [
            f"'{key}' {np.shape(value)}"
            for key, value in results.items()
            if key.endswith(('keypoints', 'keypoints_visible'))
        ]
        raise ValueError(
            f"{name} takes 'keypoints' or 'transformed_keypoints' of shape "
            "(N, K, 2) and 'keypoints_visible', got "
            + (', '.join(shapes) or 'none')
        )
    return keypoints[..., :2]
