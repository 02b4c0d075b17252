"""Keypoints of regions of interest, from heatmaps that offsets refine."""

import math
from typing import Dict, Optional, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack
from mmdet.registry import MODELS
from mmengine.model import BaseModule, kaiming_init, normal_init
from torch import Tensor, nn

from ..arguments import (
    non_negative,
    non_negative_int,
    one_of,
    positive,
    positive_int,
)
from .heatmap_refinement import refine_heatmaps
from .keypoint_heatmaps import (
    decode_bicubic,
    decode_parabola,
    find_valid,
    gaussian_heatmaps,
    nearest_cells,
    to_cells,
    to_pixels,
)

_CHOICES = dict(
    activation=('sigmoid', 'none'),
    loss=('mse', 'bce', 'ce'),
    decode=('parabola', 'bicubic'),
    heatmap_refine=(False, True),
    occluded_as_zero=(False, True),
)


@MODELS.register_module()
class OffsetKeypointHead(BaseModule):
    """Heatmaps of the keypoints of a RoI, refined by offsets.

    From "Offset Allows for Extra Flexibility" (E6691 report, Columbia
    University, 2021), sections 3.2.3 and 3.3: convolutions of 3 x 3, then two
    transposed convolutions side by side, one for K heatmaps and one for 2 K
    offsets, both enlarged to 4 times the RoI's features. The activated
    heatmaps are then read where the offsets point (:func:`refine_heatmaps`).

    The paper does not tell the number of layers; it builds upon Detectron2
    (section 4.3), so the layers here are those of Detectron2's keypoint head.
    With ``conv_cfg=None, heatmap_refine=False, activation='none', loss='ce',
    decode='bicubic'`` this head is that one.

    Readings of the paper: "refinement in the keypoint head" means both
    deformable convolutions (``conv_cfg``) and equation 6
    (``heatmap_refine``), which can be had one by one. The heatmaps are
    activated before they are refined, because beyond the border equation 2
    reads 0, which as a logit would be a probability of one half. Truncated
    and occluded joints have "all-zero" targets; but COCO's evaluation counts
    occluded joints, so here those are the joints outside the RoI or without
    a label, and ``occluded_as_zero`` takes the text literally.

    Args:
        num_keypoints (int): Number K of keypoints. Defaults to 17.
        in_channels (int): Channels of the RoIs' features. Defaults to 256.
        conv_channels (int): Channels of the convolutions. Defaults to 512.
        num_convs (int): Number of convolutions. Defaults to 8.
        conv_cfg (dict, optional): Their type, e.g. ``dict(type='DCN',
            deform_groups=1)`` for the deformable ones of equation 5 or
            ``DCNv2`` for modulated ones. Defaults to ``None``, plain ones.
        norm_cfg (dict, optional): A norm behind each of them. Defaults to
            ``None``, as in Detectron2; a network that starts from random
            weights learns faster with one.
        heatmap_refine (bool): Whether offsets refine the heatmaps. Defaults
            to ``True``.
        activation (str): ``'sigmoid'`` or ``'none'``. Defaults to
            ``'sigmoid'``, as in the paper.
        loss (str): ``'mse'``, equation 9, ``'bce'``, the binary cross-entropy
            of activated heatmaps and the same targets, or ``'ce'``,
            Detectron2's softmax over the cells. Defaults to ``'mse'``.
        pos_weight (float): How much more than the background, in ``'mse'``,
            the middle of a Gaussian counts: a cell of target H counts
            (1 + pos_weight H) / (1 + pos_weight). 0 is equation 9 to the
            letter, which stays at heatmaps of 0 throughout, because nearly
            all cells are 0 there. Defaults to 49.
        loss_weight (float): Factor of the loss. Defaults to 1.
        sigma (float): Standard deviation of the targets' Gaussians, in
            cells. Defaults to 1.
        occluded_as_zero (bool): Whether occluded joints (visibility 1) have
            targets of 0. Defaults to ``False``.
        decode (str): How keypoints are found: ``'parabola'`` or
            ``'bicubic'``, see :func:`decode_parabola` and
            :func:`decode_bicubic`. Defaults to ``'parabola'``.
        init_cfg (dict, optional): Of MMEngine. Defaults to ``None``.

    Raises:
        ValueError: If an argument is none of those that are possible, or a
            loss or decoding does not go with the activation.
    """

    def __init__(
        self,
        num_keypoints: int = 17,
        in_channels: int = 256,
        conv_channels: int = 512,
        num_convs: int = 8,
        conv_cfg: Optional[dict] = None,
        norm_cfg: Optional[dict] = None,
        heatmap_refine: bool = True,
        activation: str = 'sigmoid',
        loss: str = 'mse',
        pos_weight: float = 49.0,
        loss_weight: float = 1.0,
        sigma: float = 1.0,
        occluded_as_zero: bool = False,
        decode: str = 'parabola',
        init_cfg: Optional[dict] = None,
    ):
        super().__init__(init_cfg)
        given = dict(
            activation=activation,
            loss=loss,
            decode=decode,
            heatmap_refine=heatmap_refine,
            occluded_as_zero=occluded_as_zero,
        )
        for name, value in given.items():
            one_of(name, value, _CHOICES[name])
        if loss == 'bce' and activation == 'none':
            raise ValueError("loss='bce' needs activation='sigmoid'")
        if activation == 'sigmoid' and (loss == 'ce' or decode == 'bicubic'):
            raise ValueError(
                "loss='ce' and decode='bicubic' are of logits: they need "
                "activation='none'"
            )
        in_channels = positive_int('in_channels', in_channels)
        conv_channels = positive_int('conv_channels', conv_channels)
        num_convs = non_negative_int('num_convs', num_convs)
        num_keypoints = positive_int('num_keypoints', num_keypoints)
        self.num_keypoints = num_keypoints
        self.activation = activation
        self.loss_type = loss
        self.pos_weight = non_negative('pos_weight', pos_weight)
        self.loss_weight = non_negative('loss_weight', loss_weight)
        self.sigma = positive('sigma', sigma)
        self.occluded_as_zero = occluded_as_zero
        self.decode_type = decode

        self.convs = nn.ModuleList(
            build_conv_layer(
                conv_cfg,
                conv_channels if i else in_channels,
                conv_channels,
                kernel_size=3,
                padding=1,
            )
            for i in range(num_convs)
        )
        self.norms = nn.ModuleList(
            build_norm_layer(norm_cfg, conv_channels)[1]
            if norm_cfg
            else nn.Identity()
            for _ in range(num_convs)
        )
        channels = conv_channels if num_convs else in_channels

        def deconv(out_channels: int) -> nn.Module:
            return nn.ConvTranspose2d(channels, out_channels, 4, 2, 1)

        self.heatmap_deconv = deconv(num_keypoints)
        self.offset_deconv = None
        if heatmap_refine:
            self.offset_deconv = deconv(2 * num_keypoints)

    def init_weights(self) -> None:
        """Initialise the layers that ``init_cfg`` does not.

        Heatmaps start near a probability of 0.01 where they have a sigmoid:
        with 0.5, the first loss is hundreds of times larger. Offsets start
        at 0, of the deformable convolutions too.
        """
        super().init_weights()
        if self.init_cfg is not None:
            return
        for conv in self.convs:
            kaiming_init(conv, distribution='normal')
            if isinstance(conv, ModulatedDeformConv2dPack):
                # Its mask starts at one half.
                conv.weight.data *= 2
        if self.activation == 'sigmoid':
            normal_init(self.heatmap_deconv, std=0.02, bias=-math.log(99))
        else:
            kaiming_init(self.heatmap_deconv, distribution='normal')
        if self.offset_deconv is not None:
            nn.init.zeros_(self.offset_deconv.weight)
            nn.init.zeros_(self.offset_deconv.bias)

    def forward(self, feats: Tensor) -> Tensor:
        """Compute the heatmaps.

        Args:
            feats (Tensor): Features of the RoIs, shape (N, C, s, s).

        Returns:
            Tensor: Shape (N, K, 4 s, 4 s): activated and refined, or logits
            with ``activation='none'``.
        """
        if len(feats) == 0:
            # Deformable convolutions refuse it. Every parameter gets a
            # gradient all the same, which distributed training waits for: 0,
            # for the sums are added to no element.
            size = [4 * side for side in feats.shape[2:]]
            empty = feats.new_zeros(0, self.num_keypoints, *size)
            return sum(
                (p.sum() for p in self.parameters()), empty + feats.sum()
            )
        for conv, norm in zip(self.convs, self.norms):
            feats = F.relu(norm(_convolve(conv, feats)), inplace=True)
        # In half precision, a sigmoid is soon exactly 0 or 1.
        heatmaps = _enlarge(self.heatmap_deconv(feats)).float()
        if self.activation == 'sigmoid':
            heatmaps = heatmaps.sigmoid()
        if self.offset_deconv is not None:
            offsets = _enlarge(self.offset_deconv(feats))
            heatmaps = refine_heatmaps(heatmaps, offsets)
        return heatmaps

    def loss(
        self,
        heatmaps: Tensor,
        boxes: Tensor,
        keypoints: Tensor,
        keypoints_visible: Tensor,
    ) -> Dict[str, Tensor]:
        """Compare heatmaps with the targets of their RoIs.

        Equation 9: the squared differences of all cells of all K heatmaps.
        Their sum is divided by the number of joints that have a Gaussian,
        so that it does not grow with the number of RoIs.

        Args:
            heatmaps (Tensor): See :meth:`forward`, shape (N, K, S, S).
            boxes (Tensor): The RoIs, x1, y1, x2, y2 in px, shape (N, 4).
            keypoints (Tensor): Of the RoIs' persons, in continuous px, shape
                (N, K, 2).
            keypoints_visible (Tensor): COCO's visibility, shape (N, K).

        Returns:
            dict[str, Tensor]: The loss under ``loss_keypoint``.

        Raises:
            ValueError: If persons have another number of keypoints.
        """
        if keypoints.shape[1] != self.num_keypoints:
            raise ValueError(
                f'the head has num_keypoints={self.num_keypoints}, but the '
                f'persons of the dataset have {keypoints.shape[1]}'
            )
        size = heatmaps.shape[-1]
        cells = to_cells(keypoints, boxes, size)
        if self.occluded_as_zero:
            keypoints_visible = keypoints_visible * (keypoints_visible > 1)
        valid = find_valid(keypoints, keypoints_visible, boxes, size)
        heatmaps = heatmaps.float()  # half precision cannot hold the sums
        if self.loss_type == 'ce':
            label = nearest_cells(cells, size)
            losses = F.cross_entropy(
                heatmaps.flatten(2).flatten(0, 1),
                label.flatten(),
                reduction='none',
            )
            total = (losses * valid.flatten()).sum()
        else:
            targets = gaussian_heatmaps(cells, valid, size, self.sigma)
            total = self._heatmap_loss(heatmaps, targets.to(heatmaps))
        mean = total / valid.sum().clamp(min=1)
        return dict(loss_keypoint=self.loss_weight * mean)

    def _heatmap_loss(self, heatmaps: Tensor, targets: Tensor) -> Tensor:
        if self.loss_type == 'mse':
            # At most 1, so that this loss stays as large as the other heads'.
            weights = (1 + self.pos_weight * targets) / (1 + self.pos_weight)
            return (weights * (heatmaps - targets) ** 2).sum()
        # Refinement mixes probabilities, so that there are no logits; and
        # autocast forbids the entropy of probabilities, even of float32.
        with torch.autocast(heatmaps.device.type, enabled=False):
            return F.binary_cross_entropy(
                heatmaps.clamp(0, 1), targets, reduction='sum'
            )

    def predict(
        self, heatmaps: Tensor, boxes: Tensor
    ) -> Tuple[Tensor, Tensor]:
        """Find the keypoints.

        Args:
            heatmaps (Tensor): See :meth:`forward`, shape (N, K, S, S).
            boxes (Tensor): The RoIs, x1, y1, x2, y2 in px, shape (N, 4).

        Returns:
            tuple[Tensor, Tensor]: The keypoints in continuous px, shape
            (N, K, 2), and their scores (N, K): the value of the heatmap, or
            of its softmax where that is what was trained.
        """
        if len(heatmaps) == 0:
            shape = (0, self.num_keypoints)
            return heatmaps.new_zeros(*shape, 2), heatmaps.new_zeros(shape)
        heatmaps, boxes = heatmaps.float(), boxes.float()
        if self.decode_type == 'bicubic':
            cells, scores = decode_bicubic(heatmaps, boxes)
        else:
            if self.loss_type == 'ce':
                heatmaps = heatmaps.flatten(2).softmax(2).view_as(heatmaps)
            cells, scores = decode_parabola(heatmaps)
        return to_pixels(cells, boxes, heatmaps.shape[-1]), scores


def _enlarge(maps: Tensor) -> Tensor:
    return F.interpolate(
        maps, scale_factor=2, mode='bilinear', align_corners=False
    )


def _convolve(conv: nn.Module, maps: Tensor) -> Tensor:
    if isinstance(conv, DeformConv2dPack):
        # mmcv's operator takes a multiple of 32 maps, or fewer than 32.
        return torch.cat([conv(part) for part in maps.split(32)])
    return conv(maps)
