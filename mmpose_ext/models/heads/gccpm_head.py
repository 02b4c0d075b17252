"""Head of convolutional pose machines with a global context."""

from typing import List, Optional, Sequence, Tuple

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, normal_init
from mmengine.structures import PixelData
from mmpose.evaluation.functional import pose_pck_accuracy
from mmpose.models.heads.base_head import BaseHead
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.registry import KEYPOINT_CODECS, MODELS
from mmpose.utils.tensor_utils import to_numpy
from mmpose.utils.typing import (
    ConfigType,
    Features,
    OptConfigType,
    OptSampleList,
    Predictions,
)
from torch import Tensor, nn

from ...arguments import one_of, positive_int
from ..layers.checks import check_map
from ..layers.initialization import apply_init_cfg_to_convs


def _conv3(i: int, o: int, norm_cfg: dict, dilation: int = 1) -> ConvModule:
    """3x3 convolution with bias, norm and ReLU."""
    return ConvModule(
        i,
        o,
        3,
        padding=dilation,
        dilation=dilation,
        bias=True,
        norm_cfg=norm_cfg,
    )


class HeatmapPredictor(BaseModule):
    """1x1 convolution, ReLU and a 1x1 convolution to the heatmaps."""

    def __init__(
        self, in_channels: int, hidden_channels: int, out_channels: int
    ):
        super().__init__()
        self.hidden = ConvModule(in_channels, hidden_channels, 1)
        self.out = nn.Conv2d(hidden_channels, out_channels, 1)
        # Heatmaps start near zero, as those of MMPose's heads do.
        normal_init(self.out, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K + 1, H, W)."""
        return self.out(self.hidden(x))


class RefinementBlock(BaseModule):
    """1x1 convolution and ReLU, plus two 3x3 convolutions of its output.

    The second 3x3 convolution is dilated by 2, so that both have the receptive
    field of a 7x7 one. Nothing follows the sum.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict):
        super().__init__()
        self.reduce = ConvModule(in_channels, out_channels, 1)
        self.convs = nn.Sequential(
            _conv3(out_channels, out_channels, norm_cfg),
            _conv3(out_channels, out_channels, norm_cfg, dilation=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        x = self.reduce(x)
        return x + self.convs(x)


class RefinementStage(BaseModule):
    """Context module, three refinement blocks, heatmaps."""

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        out_channels: int,
        context: OptConfigType,
        norm_cfg: dict,
    ):
        super().__init__()
        self.context = _build_context(context, in_channels)
        self.blocks = nn.Sequential(
            RefinementBlock(in_channels, feat_channels, norm_cfg),
            RefinementBlock(feat_channels, feat_channels, norm_cfg),
            RefinementBlock(feat_channels, feat_channels, norm_cfg),
        )
        self.heatmaps = HeatmapPredictor(
            feat_channels, feat_channels, out_channels
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.heatmaps(self.blocks(self.context(x)))


def _build_context(context: OptConfigType, in_channels: int) -> nn.Module:
    if context is None:
        return nn.Identity()
    return MODELS.build(dict(context, in_channels=in_channels))


@MODELS.register_module()
class GCCPMHead(BaseHead):
    """Stages of a convolutional pose machine, with a global context.

    `Global Context for Convolutional Pose Machines
    <https://arxiv.org/abs/1906.04104>`_, sections 3.1 and 4, figure 4. Two 3x3
    convolutions reduce the backbone's map to features; an initial stage
    predicts heatmaps from them; each refinement stage predicts them again from
    the features and the heatmaps of the stage before it. The last map is the
    background. Layers that the paper leaves to its references follow the
    published weights. From ``num_background_maps`` the checks of a config know
    that ``out_channels`` includes the background.

    Args:
        in_channels (int): Channels of the backbone's map; of several maps the
            last one is taken, as MMPose's ``HeatmapHead`` does.
        out_channels (int): Number of heatmaps: K keypoints and the background.
        num_stages (int): The initial stage and the refinements: 2 for the
            paper's "2-stage" net, 6 for the full one. Defaults to 6.
        context (dict, optional): Config of a context module without
            ``in_channels``, such as ``dict(type='UShapedContext')``.
            Defaults to ``None``, the paper's baseline.
        context_position (str): ``'stages'`` for a module at the start of each
            refinement, which sees the heatmaps so far (the paper found this
            to work better), ``'features'`` for one on the features. Defaults
            to ``'stages'``.
        feat_channels (int): Channels of the features and of the stages.
            Defaults to 128.
        reduction_channels (int): Channels between the two convolutions that
            make the features. Defaults to 256.
        initial_channels (int): Hidden channels of the initial stage's
            prediction. Defaults to 512.
        loss_normalisation (str): Each stage's loss is the sum of the squared
            errors of all maps and pixels, divided by twice the batch size
            (``'official'``, that of the published training), or by the number
            of maps and the batch size (``'paper'``, the equation of section
            3.2 and the mean over the batch). Defaults to ``'official'``.
        use_target_weight (bool): Whether maps of keypoints with weight 0 are
            left out of the loss. The official loss learns an empty map for
            them. Defaults to ``False``.
        norm_cfg (dict): Config of the normalization. Defaults to
            ``dict(type='BN')``.
        decoder (dict, optional): Config of the codec that decodes the last
            stage's heatmaps. Defaults to ``None``.
        init_cfg (dict | list[dict], optional): Config of the initialization.
            Defaults to ``None``, which is mmcv's Kaiming initialization of
            ``ConvModule`` and a standard deviation of 0.001 in the
            convolutions that give heatmaps.

    Raises:
        ValueError: If an argument is out of its range.
    """

    num_background_maps = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_stages: int = 6,
        context: OptConfigType = None,
        context_position: str = 'stages',
        feat_channels: int = 128,
        reduction_channels: int = 256,
        initial_channels: int = 512,
        loss_normalisation: str = 'official',
        use_target_weight: bool = False,
        norm_cfg: dict = dict(type='BN'),
        decoder: OptConfigType = None,
        init_cfg: OptConfigType = None,
    ):
        super().__init__(init_cfg)
        in_channels = positive_int('in_channels', in_channels)
        out_channels = positive_int('out_channels', out_channels)
        num_stages = positive_int('num_stages', num_stages)
        one_of('context_position', context_position, ('stages', 'features'))
        feat_channels = positive_int('feat_channels', feat_channels)
        reduction_channels = positive_int(
            'reduction_channels', reduction_channels
        )
        initial_channels = positive_int('initial_channels', initial_channels)
        one_of('loss_normalisation', loss_normalisation, ('official', 'paper'))
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.loss_normalisation = loss_normalisation
        self.use_target_weight = use_target_weight
        self.decoder = None
        if decoder is not None:
            self.decoder = KEYPOINT_CODECS.build(decoder)

        in_stages = context_position == 'stages'
        self.reduction = nn.Sequential(
            _conv3(in_channels, reduction_channels, norm_cfg),
            _conv3(reduction_channels, feat_channels, norm_cfg),
        )
        self.context = _build_context(
            None if in_stages else context, feat_channels
        )
        self.initial_stage = nn.Sequential(
            *(_conv3(feat_channels, feat_channels, norm_cfg) for _ in '123'),
            HeatmapPredictor(feat_channels, initial_channels, out_channels),
        )
        self.refinement_stages = nn.ModuleList(
            RefinementStage(
                feat_channels + out_channels,
                feat_channels,
                out_channels,
                context if in_stages else None,
                norm_cfg,
            )
            for _ in range(num_stages - 1)
        )
        apply_init_cfg_to_convs(self)

    def init_weights(self) -> None:
        """Initialise the weights; contexts keep their own ``init_cfg``."""
        super().init_weights()
        stages = self.refinement_stages
        for context in (self.context, *(stage.context for stage in stages)):
            if getattr(context, 'init_cfg', None):
                context.init_weights()

    def forward(self, feats: Sequence[Tensor]) -> List[Tensor]:
        """Heatmaps of all stages.

        Args:
            feats (Sequence[Tensor]): Maps of shape (N, C, H, W); the last one
                is used.

        Returns:
            list[Tensor]: Heatmaps of shape (N, out_channels, H, W), those of
            the initial stage first.

        Raises:
            ValueError: If the last map is not of shape
                (N, ``in_channels``, H, W).
        """
        check_map(feats[-1], self.in_channels)
        features = self.context(self.reduction(feats[-1]))
        heatmaps = [self.initial_stage(features)]
        for stage in self.refinement_stages:
            heatmaps.append(stage(torch.cat([features, heatmaps[-1]], dim=1)))
        return heatmaps

    def predict(
        self,
        feats: Features,
        batch_data_samples: OptSampleList,
        test_cfg: ConfigType = {},
    ) -> Predictions:
        """Decode the heatmaps of the last stage.

        Args:
            feats (Sequence[Tensor] | list[Sequence[Tensor]]): Maps, or with
                ``test_cfg['flip_test']`` those of the image and of the
                flipped image.
            batch_data_samples (list[PoseDataSample]): The samples.
            test_cfg (dict): Options: ``flip_test``, ``flip_mode``,
                ``shift_heatmap``, ``output_heatmaps``, as those of MMPose's
                ``HeatmapHead``. Defaults to ``{}``.

        Returns:
            list[InstanceData] | tuple[list[InstanceData], list[PixelData]]:
            ``keypoints`` (1, K, 2) in pixels of the network input and
            ``keypoint_scores`` (1, K) per sample; with
            ``output_heatmaps`` the heatmaps (out_channels, H, W) as well.
        """
        if test_cfg.get('flip_test', False):
            plain, flipped = feats
            heatmaps = self._average_flipped(
                self.forward(plain)[-1],
                self.forward(flipped)[-1],
                batch_data_samples[0].metainfo['flip_indices'],
                test_cfg,
            )
        else:
            heatmaps = self.forward(feats)[-1]
        preds = self.decode(heatmaps)
        if test_cfg.get('output_heatmaps', False):
            return preds, [PixelData(heatmaps=h) for h in heatmaps.detach()]
        return preds

    @staticmethod
    def _average_flipped(
        plain: Tensor,
        flipped: Tensor,
        flip_indices: Sequence[int],
        test_cfg: ConfigType,
    ) -> Tensor:
        back = flip_heatmaps(
            flipped,
            flip_mode=test_cfg.get('flip_mode', 'heatmap'),
            # The background is its own mirror image.
            flip_indices=[
                *flip_indices,
                *range(len(flip_indices), flipped.shape[1]),
            ],
            shift_heatmap=test_cfg.get('shift_heatmap', False),
        )
        return (plain + back) * 0.5

    def loss(
        self,
        feats: Tuple[Tensor, ...],
        batch_data_samples: OptSampleList,
        train_cfg: OptConfigType = {},
    ) -> dict:
        """Losses of all stages, and the last one's accuracy.

        Args:
            feats (tuple[Tensor]): Maps of shape (N, C, H, W).
            batch_data_samples (list[PoseDataSample]): Samples with
                ``gt_fields.heatmaps`` (out_channels, H, W) and
                ``gt_instance_labels.keypoint_weights`` (1, K).
            train_cfg (dict): ``compute_acc`` as in MMPose's ``HeatmapHead``.
                Defaults to ``{}``.

        Returns:
            dict[str, Tensor]: ``loss_stage0``, the initial one, to
            ``loss_stage{num_stages - 1}``, and ``acc_pose``, the share of
            keypoints within 5 % of the map's size.

        Raises:
            ValueError: If the targets have another shape than the heatmaps.
        """
        # The sums need single precision, and numpy has no bfloat16.
        heatmaps = [h.float() for h in self.forward(feats)]
        target = torch.stack(
            [d.gt_fields.heatmaps for d in batch_data_samples]
        )
        if target.shape != heatmaps[-1].shape:
            raise ValueError(
                'expected targets of the shape of the heatmaps '
                f'{tuple(heatmaps[-1].shape)}, got {tuple(target.shape)}; is '
                "out_channels the codec's number of maps, and heatmap_size "
                "the input's size over the backbone's stride?"
            )
        weights = torch.cat(
            [d.gt_instance_labels.keypoint_weights for d in batch_data_samples]
        )

        map_weights = self._map_weights(weights)
        losses = {
            f'loss_stage{i}': self._stage_loss(h, target, map_weights)
            for i, h in enumerate(heatmaps)
        }
        if (train_cfg or {}).get('compute_acc', True):
            losses['acc_pose'] = _accuracy(heatmaps[-1], target, weights)
        return losses

    def _map_weights(self, weights: Tensor) -> Optional[Tensor]:
        """(N, out_channels, 1, 1), of which the background's are 1."""
        if not self.use_target_weight:
            return None
        background = self.out_channels - weights.shape[1]
        weights = nn.functional.pad(weights, (0, background), value=1.0)
        return weights[..., None, None]

    def _stage_loss(
        self, heatmaps: Tensor, target: Tensor, weights: Optional[Tensor]
    ) -> Tensor:
        error = (heatmaps - target).square()
        if weights is not None:
            error = error * weights
        n, maps = heatmaps.shape[:2]
        divisor = 2 * n if self.loss_normalisation == 'official' else maps * n
        return error.sum() / divisor


def _accuracy(heatmaps: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The share of keypoints within 5 % of the map's size."""
    num_keypoints = weights.shape[1]
    maps = torch.stack([heatmaps, target])[:, :, :num_keypoints]
    # In one copy: each waits for the device, and only here in a step.
    values = to_numpy(torch.cat([maps.flatten(), weights.flatten()]))
    output, target_ = values[: maps.numel()].reshape(maps.shape)
    mask = values[maps.numel() :].reshape(weights.shape) > 0
    _, accuracy, _ = pose_pck_accuracy(output, target_, mask)
    return target.new_full((), float(accuracy))
