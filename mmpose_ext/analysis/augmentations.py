"""Training samples as a network gets them, in a picture."""

from typing import Iterable, Iterator, Sequence

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import set_random_seed
from mmengine.structures import PixelData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer
from torch.nn.functional import interpolate

from ..checks import check_type_names, explain_errors
from ..checks.datasets import check_datasets
from ..errors import InputError


def load_training_set(cfg: Config, name: str) -> BaseDataset:
    """Build the training set of a config, with its augmentations.

    Args:
        cfg (Config): The config. It is not changed.
        name (str): What the user called it.

    Raises:
        InputError: The config has no training set, one of its files or types
            is missing, or a package that its transforms need.
    """
    if not (cfg.get('train_dataloader') or {}).get('dataset'):
        raise InputError(
            f"{name}: expected a config with a 'train_dataloader.dataset'"
        )
    check_type_names(cfg, ['train_dataloader'])
    check_datasets(cfg, ['train'])
    dataset = cfg.train_dataloader.to_dict()['dataset']
    _pack_moved_keypoints(dataset)
    scope = cfg.get('default_scope') or 'mmpose'
    with DefaultScope.overwrite_default_scope(scope), explain_errors(cfg):
        try:
            return DATASETS.build(dataset)
        except RuntimeError as e:
            if 'is not installed' not in str(e):
                raise
            raise InputError(f'{name}: its training set fails: {e}') from e


def draw_samples(
    cfg: Config,
    dataset: BaseDataset,
    num: int = 12,
    seed: int = 0,
    heatmaps: bool = False,
) -> Iterator[np.ndarray]:
    """Draw the keypoints of random training samples over their images.

    The images are those that the data preprocessor gets, before their
    normalisation. Keypoints and limbs have the colours of the dataset; those
    that are not labelled, or that a transform has taken out of the loss, are
    not drawn.

    Args:
        cfg (Config): The config of the dataset.
        dataset (BaseDataset): See :func:`load_training_set`.
        num (int): Number of samples. Images repeat, with other augmentations,
            where the dataset has fewer. Defaults to 12.
        seed (int): Of numpy, Python and torch. Defaults to 0.
        heatmaps (bool): Whether the maximum of the keypoints' target heatmaps
            is shown below each sample. Defaults to ``False``.

    Yields:
        np.ndarray: BGR image of shape (H, W, 3), or (2 H, W, 3) with heatmaps.

    Raises:
        InputError: The samples are not images, there are none, or they have
            no heatmaps.
    """
    if len(dataset) == 0:
        raise InputError('the training set has no samples')
    set_random_seed(seed)
    repeat = num > len(dataset)
    for index in np.random.choice(len(dataset), num, replace=repeat):
        with explain_errors(cfg):
            sample = dataset[index]
        image = _image_of(cfg, sample['inputs'])
        shown = PoseDataSample(
            gt_instances=sample['data_samples'].gt_instances
        )
        if heatmaps:
            number = dataset.metainfo['num_keypoints']
            shown.gt_fields = _heatmaps_of(
                sample['data_samples'], number, image.shape[:2]
            )
        side = max(image.shape[:2])
        visualizer = PoseLocalVisualizer(
            radius=max(2, side // 120), line_width=max(1, side // 200)
        )
        visualizer.set_dataset_meta(dataset.metainfo)
        drawn = visualizer.add_datasample(
            'sample',
            image[..., ::-1].copy(),
            shown,
            draw_pred=False,
            draw_heatmap=heatmaps,
        )
        yield drawn[..., ::-1]


def arrange(tiles: Sequence[np.ndarray], columns: int = 6) -> np.ndarray:
    """Put images into a grid, row by row, on white.

    Args:
        tiles (Sequence[np.ndarray]): Images of shape (H, W, 3), which may
            differ in size: each gets the room of the largest.
        columns (int): Images in a row. Defaults to 6.

    Returns:
        np.ndarray: The picture, with a gap of 4 pixels between the images.
    """
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    height, width = np.max([tile.shape[:2] for tile in tiles], axis=0) + 4
    shape = (rows * height - 4, columns * width - 4, 3)
    picture = np.full(shape, 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * height, i % columns * width
        picture[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return picture


def _pack_moved_keypoints(node) -> None:
    """Let a dataset's samples tell where the keypoints are in the input."""
    if isinstance(node, dict):
        if str(node.get('type')).endswith('PackPoseInputs'):
            node['pack_transformed'] = True
        node = node.values()
    if not isinstance(node, str) and isinstance(node, Iterable):
        for child in node:
            _pack_moved_keypoints(child)


def _image_of(cfg: Config, inputs) -> np.ndarray:
    """The BGR image (H, W, 3) of a network input (C, H, W)."""
    if inputs.ndim != 3 or len(inputs) not in (1, 3):
        raise InputError(
            'expected training samples that are images of shape (3, H, W), '
            f'got {tuple(inputs.shape)}'
        )
    image = inputs.permute(1, 2, 0).numpy().clip(0, 255).astype(np.uint8)
    if image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    # MMPose's LoadImage gives BGR: a preprocessor which makes BGR from RGB
    # tells that something in the pipeline has changed that.
    preprocessor = cfg.get('model', {}).get('data_preprocessor') or {}
    return image[..., ::-1] if preprocessor.get('rgb_to_bgr') else image


def _heatmaps_of(sample: PoseDataSample, number: int, shape) -> PixelData:
    """The keypoints' target heatmaps (K, H, W) at the size of the image."""
    fields = sample.get('gt_fields')
    maps = fields.get('heatmaps') if fields is not None else None
    if maps is None:
        raise InputError(
            'the training targets have no heatmaps: leave out --heatmaps'
        )
    # The last of several levels is the finest, and what comes after the
    # keypoints' maps is the background's or the centres'.
    if isinstance(maps, (list, tuple)):
        maps = maps[-1]
    maps = interpolate(maps[None, :number].float(), shape, mode='bilinear')[0]
    return PixelData(heatmaps=maps)
