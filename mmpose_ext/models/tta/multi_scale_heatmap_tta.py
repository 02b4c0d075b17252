"""Heatmaps averaged over several sizes of the input."""

from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmpose.models import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from ...arguments import one_of
from ...errors import InputError
from ..pose_estimators import keypoint_head
from .cells import Cells, cells_of

# The same persons at one size of the input.
Batch = Sequence[PoseDataSample]


@MODELS.register_module()
class MultiScaleHeatmapTTA(BaseTTAModel):
    """Average a top-down model's heatmaps over scales, then decode once.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, section 5.3: the person at 0.75, 1
    and 1.25 times its size in the input, and the flipped image. The flip is
    the head's own ``flip_test`` at each scale; the paper does not say whether
    it flips at all of them or only at scale 1. The heatmaps of all scales are
    resampled bicubically into the frame of the reference, which is the scale
    with the codec's input size (of several, the one with the smallest box)
    or, without one, the first; their mean is decoded by the head's codec.
    Cells are taken to lie where the codec has them (see
    :func:`~.cells.cells_of`), and maps are padded with their edge values.

    The frame has the codec's heatmap size. For a codec with ``any_resolution
    = True``, such as ``BackgroundHeatmap``, it has its input size: the paper
    averages maps that are as large as the image.

    Of a ``VisPredictHead`` the head inside it makes the heatmaps, and the
    visibilities of all scales are averaged.

    The test pipeline has to end in ``TestTimeAug`` with one ``TopdownAffine``
    per scale: :func:`~mmpose_ext.engine.tta.add_tta` makes one of a config.

    Args:
        module (dict | nn.Module): The top-down pose estimator, or its config.
            Its head makes heatmaps, and has the codec that decodes them.
        flip_test (bool): Whether to average with the flipped image at each
            scale. ``flip_mode`` and ``shift_heatmap`` are those of the
            module's ``test_cfg``. Defaults to ``True``.
        data_preprocessor (dict | nn.Module, optional): The module's data
            preprocessor, if it has none. Defaults to ``None``.

    Raises:
        ValueError: If ``flip_test`` is not a bool.
        InputError: If the module is not a top-down model, or its head does
            not make heatmaps whose mean can be decoded.
    """

    def __init__(
        self,
        module: Union[dict, nn.Module],
        flip_test: bool = True,
        data_preprocessor: Optional[Union[dict, nn.Module]] = None,
    ):
        one_of('flip_test', flip_test, (True, False))
        super().__init__(module, data_preprocessor)
        self.codec = _heatmap_codec(self.module)
        self.test_cfg = self.module.test_cfg
        # At each scale; keypoints are selected when all has been merged.
        self.scale_cfg = {
            **self.test_cfg,
            'flip_test': flip_test,
            'output_heatmaps': True,
            'output_keypoint_indices': None,
        }

    def test_step(self, data: Union[dict, tuple, list]) -> list:
        """Predict at each scale and merge the predictions.

        Args:
            data (dict | tuple | list): ``inputs`` and ``data_samples``, one
                batch for each scale.

        Returns:
            list[PoseDataSample]: As of the module's ``test_step``.
        """
        self.module.test_cfg = self.scale_cfg
        try:
            return super().test_step(data)
        finally:
            self.module.test_cfg = self.test_cfg

    def merge_preds(
        self, data_samples_list: Sequence[Batch]
    ) -> List[PoseDataSample]:
        """Merge the heatmaps of all scales and decode them.

        Args:
            data_samples_list (list[tuple[PoseDataSample]]): For each person
                the predictions of all scales: ``pred_fields.heatmaps``
                (C, H, W), which may have another size at each scale.

        Returns:
            list[PoseDataSample]: The samples of the reference, with new
            ``pred_instances`` in pixels of the image; ``pred_fields`` only if
            the module's ``test_cfg`` has ``output_heatmaps``.
        """
        head = keypoint_head(self.module)
        if not hasattr(data_samples_list[0][0], 'pred_fields'):
            raise InputError(
                f'{type(head).__name__} returned no heatmaps '
                "with test_cfg=dict(output_heatmaps=True), as MMPose's "
                'HeatmapHead does'
            )
        scales = list(zip(*data_samples_list))
        sizes = [tuple(batch[0].metainfo['input_size']) for batch in scales]
        own = tuple(self.codec.input_size)
        candidates = [b for b, size in zip(scales, sizes) if size == own]
        reference = min(
            candidates or scales[:1],
            key=lambda batch: batch[0].metainfo['input_scale'][0],
        )
        merged = sum(self._resample(batch, reference) for batch in scales)
        merged = merged / len(scales)
        instances = head.decode(merged)
        if head is not self.module.head:
            # The visibility that VisPredictHead adds is of no map.
            for found, samples in zip(instances, data_samples_list):
                found.keypoints_visible = np.mean(
                    [s.pred_instances.keypoints_visible for s in samples],
                    axis=0,
                )

        for sample in reference:
            del sample.pred_fields
            # The decoded keypoints are in pixels of this size.
            sample.set_metainfo(dict(input_size=own))
        fields = None
        if self.test_cfg.get('output_heatmaps', False):
            fields = [PixelData(heatmaps=maps) for maps in merged]
        self.module.test_cfg = self.test_cfg  # with its keypoint selection
        return self.module.add_pred_to_datasample(
            instances, fields, list(reference)
        )

    def _frame(self) -> Cells:
        """The cells in which all maps meet."""
        size = tuple(self.codec.input_size)
        if getattr(self.codec, 'any_resolution', False):
            return Cells(size, 1 / np.array(size), np.zeros(2))
        return cells_of(self.codec, size, tuple(self.codec.heatmap_size))

    def _resample(self, batch: Batch, reference: Batch) -> Tensor:
        """The heatmaps of one scale in the frame: (N, C, H, W)."""
        maps = torch.stack([s.pred_fields.heatmaps for s in batch]).float()
        source = cells_of(
            self.codec, batch[0].metainfo['input_size'], maps.shape[:1:-1]
        )
        target = self._frame()
        center, scale = _boxes(batch)
        ref_center, ref_scale = _boxes(reference)
        # Cell i of the frame -> its box -> image -> box -> cell a i + b.
        a = target.step * ref_scale / scale / source.step
        corner = ref_center - ref_scale / 2 - (center - scale / 2)
        start = (target.start * ref_scale + corner) / scale
        b = (start - source.start) / source.step
        same = abs(a - 1).max() < 1e-9 and abs(b).max() < 1e-9
        if same and source.size == target.size:
            return maps
        return _sample(maps, a, b, target.size)


def _sample(
    maps: Tensor, a: np.ndarray, b: np.ndarray, size: Tuple[int, int]
) -> Tensor:
    """Read maps (N, C, h, w) at the cells a i + b, for i < W and i < H.

    Args:
        maps (Tensor): The maps.
        a (np.ndarray): Of shape (N, 2), for x and y.
        b (np.ndarray): As ``a``.
        size (tuple[int, int]): [W, H].

    Returns:
        Tensor: Of shape (N, C, H, W).
    """
    x, y = (
        # -1 and 1 are the first and the last cell (align_corners).
        (a[:, i, None] * np.arange(n) + b[:, i, None]) * 2 / max(m - 1, 1) - 1
        for i, (n, m) in enumerate(zip(size, maps.shape[:1:-1]))
    )
    shape = (len(maps), size[1], size[0])
    grid = np.stack(
        [
            np.broadcast_to(x[:, None], shape),
            np.broadcast_to(y[..., None], shape),
        ],
        axis=-1,
    )
    return F.grid_sample(
        maps,
        torch.from_numpy(grid).to(maps),
        mode='bicubic',
        padding_mode='border',
        align_corners=True,
    )


def _boxes(batch: Batch) -> Tuple[np.ndarray, np.ndarray]:
    """Centres and sizes of the boxes that the inputs show, (N, 2), px."""
    return tuple(
        np.array([s.metainfo[key] for s in batch], dtype=float)
        for key in ('input_center', 'input_scale')
    )


def _heatmap_codec(module: nn.Module):
    """The codec of a top-down model whose heatmaps can be averaged."""
    if not isinstance(module, TopdownPoseEstimator):
        raise InputError(
            'test-time augmentation over scales is for top-down models, got '
            f'a {type(module).__name__}: expected a TopdownPoseEstimator'
        )
    head = keypoint_head(module)
    codec = getattr(head, 'decoder', None)
    needed = ('input_size', 'heatmap_size', 'scale_factor')
    if not all(hasattr(codec, name) for name in needed):
        raise InputError(
            f'the codec of {type(head).__name__} is '
            f'{"none" if codec is None else type(codec).__name__}; expected '
            'a head that makes heatmaps, with a decoder such as MSRAHeatmap, '
            'UDPHeatmap or BackgroundHeatmap'
        )
    if getattr(codec, 'heatmap_type', 'gaussian') != 'gaussian':
        raise InputError(
            f'{type(codec).__name__} has heatmap_type='
            f"'{codec.heatmap_type}', whose offsets have no mean over "
            "scales; expected 'gaussian'"
        )
    return codec
