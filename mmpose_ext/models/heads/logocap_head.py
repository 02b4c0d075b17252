"""Head of LOGO-CAP: centres and offsets, refined by a local-global search."""

from typing import List, NamedTuple, Sequence, Tuple

import numpy as np
import torch
from mmcv.cnn import build_norm_layer
from mmengine.structures import InstanceData, PixelData
from mmpose.evaluation.functional import oks_nms
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
from torch.nn.utils.rnn import pad_sequence

from ...arguments import (
    each,
    fraction,
    non_negative,
    one_of,
    positive,
    positive_int,
)
from ...codecs.center_offset import all_finite
from ..layers.attentive_norm2d import AttentiveNorm2d
from ..layers.keypoint_sampling import sample_codes, sample_windows
from ..layers.pose_nms import nearby_pose_nms
from ..layers.window_convolution import convolve_windows, find_peaks

_ADAPTATIONS = ('full', 'partial', 'none')


def _conv_norm_relu(
    in_channels: int, out_channels: int, norm: nn.Module, kernel_size: int
) -> List[nn.Module]:
    conv = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        padding=kernel_size // 2,
        bias=False,
    )
    return [conv, norm, nn.ReLU(inplace=True)]


class _Matches(NamedTuple):
    """The poses that a training step refines, n of a batch of B images.

    Attributes:
        image (Tensor): Index of each pose's image, (n,).
        poses (Tensor): (n, K, 2), px.
        oks (Tensor): OKS of every point of the expansion with the person that
            fits best, (n, K, S, S).
        keypoints (Tensor): This person's keypoints, (n, K, 2), px.
        good (Tensor): Whether the person fits well enough to learn from, (n,).
    """

    image: Tensor
    poses: Tensor
    oks: Tensor
    keypoints: Tensor
    good: Tensor


@MODELS.register_module()
class LOGOCAPHead(BaseHead):
    """Local-global contextual adaptation of centre-offset poses.

    `Learning Local-Global Contextual Adaptation for Multi-Person Pose
    Estimation <https://arxiv.org/abs/2109.03622>`_. Three branches predict
    heatmaps, of the keypoints and of persons' centres, the offsets of a
    person's keypoints around its centre, and an embedding. The centres and
    offsets give initial poses; then, for each keypoint of each of them,

    - the embedding, sampled on a grid around it (its expansion, see
      :class:`~mmpose_ext.codecs.KeypointExpansion`), goes with those of the
      person's other keypoints through a small network (``refinement``), which
      predicts how good each point of the grid is: the *local* context;
    - its heatmap is cut out around it, weighted by a Gaussian: the *global*
      context;
    - the second is convolved with the first, and the keypoint moves to the
      peak.

    Layers, constants and rules are those of the official implementation,
    which the paper's text does not give in full, including what looks
    accidental in it: the grid's points are as far apart as a keypoint's sigma
    says, while the convolution moves by whole pixels; the predictions of the
    refinement are cut to [0, 1] in evaluation only.

    Args:
        in_channels (int): Channels of the input map; of several maps the last
            one is taken, as MMPose's ``DEKRHead`` does.
        num_keypoints (int): Number of keypoints K.
        decoder (dict): Config of the codec :class:`CenterOffset`.
        expansion (dict): Config of the codec :class:`KeypointExpansion`.
        heatmap_channels (int): Hidden channels of the heatmaps' branch.
            Defaults to 32 (W48: 48).
        offset_channels (int): Those of the offsets' branch. Defaults to 256.
        embedding_channels (int): Channels E of the embedding. Defaults to 64.
        refinement_channels (Sequence[int]): Channels of the refinement's
            three 3x3 convolutions. Defaults to (512, 256, 128).
        num_affines (int): Pairs of scale and shift of the attentive norm after
            the second. Defaults to 20.
        adaptation (str): ``'full'``, as above; ``'partial'``, a keypoint moves
            to the point of the grid that the refinement finds best, and has
            the heatmap's value there; ``'none'``, it stays. The layers are the
            same, so that a checkpoint serves all three; what a training does
            not use is frozen then. Defaults to ``'full'``.
        window_radius (int): The heatmap's window reaches this far from a
            keypoint, px. Defaults to 48.
        window_sigma (float): Standard deviation of its Gaussian weight, px.
            (The official implementation zeroes weights below 1e-4, of which
            there are none with its radius and sigma; we do not.) Defaults to
            16.
        target_sigma (float): Standard deviation of the Gaussian that the
            convolved window is trained towards, px. Defaults to 4.
        match_thr (float): Initial poses are refined in training whose mean
            OKS with a person reaches this at some point of the grid. Defaults
            to 0.5.
        norm_cfg (dict): Config of the normalisation. Defaults to
            ``dict(type='BN')``.
        heatmap_loss (dict): Config of the heatmaps' loss. Defaults to the mean
            squared error, weighted by the codec's one map.
        offset_loss (dict): Config of the offsets' loss. Defaults to a smooth
            L1 with beta 1/9, averaged over the weighted elements, times 0.01.
        oks_loss_weight (float): Weight of the refinement's loss. Defaults to
            0.01.
        window_loss_weight (float): Weight of the convolved windows' loss.
            Defaults to 1.0.
        init_cfg (dict, optional): See ``BaseModule``. Defaults to ``None``,
            PyTorch's own initialisation, as in the official implementation.

    Raises:
        ValueError: If an argument is out of its range, or the codecs are for
            another number of keypoints.
    """

    def __init__(
        self,
        in_channels: int,
        num_keypoints: int,
        decoder: ConfigType,
        expansion: ConfigType,
        heatmap_channels: int = 32,
        offset_channels: int = 256,
        embedding_channels: int = 64,
        refinement_channels: Sequence[int] = (512, 256, 128),
        num_affines: int = 20,
        adaptation: str = 'full',
        window_radius: int = 48,
        window_sigma: float = 16.0,
        target_sigma: float = 4.0,
        match_thr: float = 0.5,
        norm_cfg: ConfigType = dict(type='BN'),
        heatmap_loss: ConfigType = dict(type='KeypointMSELoss'),
        offset_loss: ConfigType = dict(
            type='SoftWeightSmoothL1Loss',
            use_target_weight=True,
            supervise_empty=False,
            beta=1 / 9,
            loss_weight=0.01,
        ),
        oks_loss_weight: float = 0.01,
        window_loss_weight: float = 1.0,
        init_cfg: OptConfigType = None,
    ):
        super().__init__(init_cfg)
        in_channels = positive_int('in_channels', in_channels)
        num_keypoints = positive_int('num_keypoints', num_keypoints)
        heatmap_channels = positive_int('heatmap_channels', heatmap_channels)
        offset_channels = positive_int('offset_channels', offset_channels)
        embedding_channels = positive_int(
            'embedding_channels', embedding_channels
        )
        a, b, c = each(
            positive_int, 'refinement_channels', refinement_channels, 3
        )
        self.adaptation = one_of('adaptation', adaptation, _ADAPTATIONS)
        self.window_radius = positive_int('window_radius', window_radius)
        self.window_sigma = positive('window_sigma', window_sigma)
        self.target_sigma = positive('target_sigma', target_sigma)
        self.match_thr = fraction('match_thr', match_thr)
        self.oks_loss_weight = non_negative('oks_loss_weight', oks_loss_weight)
        self.window_loss_weight = non_negative(
            'window_loss_weight', window_loss_weight
        )
        self.decoder = KEYPOINT_CODECS.build(decoder)
        self.expansion = KEYPOINT_CODECS.build(expansion)
        if len(self.expansion.sigmas) != num_keypoints:
            raise ValueError(
                f'the expansion has sigmas of {len(self.expansion.sigmas)} '
                f'keypoints, the head {num_keypoints} keypoints'
            )
        self.num_keypoints = num_keypoints
        self.heatmap_loss = MODELS.build(heatmap_loss)
        self.offset_loss = MODELS.build(offset_loss)

        def block(i: int, o: int, kernel_size: int = 1) -> List[nn.Module]:
            norm = build_norm_layer(norm_cfg, o)[1]
            return _conv_norm_relu(i, o, norm, kernel_size)

        self.heatmap_branch = nn.Sequential(
            *block(in_channels, heatmap_channels),
            nn.Conv2d(heatmap_channels, num_keypoints + 1, 1),
        )
        self.offset_branch = nn.Sequential(
            *block(in_channels, offset_channels),
            nn.Conv2d(offset_channels, 2 * num_keypoints, 1),
        )
        self.embedding_branch = nn.Sequential(
            *block(in_channels, embedding_channels)
        )
        self.refinement = nn.Sequential(
            *block(num_keypoints * embedding_channels, a, 3),
            *_conv_norm_relu(a, b, AttentiveNorm2d(b, num_affines), 3),
            *block(b, c, 3),
            nn.Conv2d(c, num_keypoints, 1),
        )
        if adaptation == 'none':
            self.embedding_branch.requires_grad_(False)
            self.refinement.requires_grad_(False)

    def forward(self, feats: Tuple[Tensor]) -> Tuple[Tensor, Tensor, Tensor]:
        """Predict the maps.

        Args:
            feats (tuple[Tensor]): Maps of the neck; the last, of shape
                (B, C, h, w), is taken.

        Returns:
            tuple[Tensor, Tensor, Tensor]: Heatmaps (B, K + 1, h, w), the
            centres' last; offsets (B, 2 K, h, w), cell minus keypoint, x
            before y, cells; embedding (B, E, h, w).
        """
        x = feats[-1]
        return (
            self.heatmap_branch(x),
            self.offset_branch(x),
            self.embedding_branch(x),
        )

    def loss(
        self,
        feats: Tuple[Tensor],
        batch_data_samples: OptSampleList,
        train_cfg: ConfigType = {},
    ) -> dict:
        """Calculate the losses.

        The initial poses of a step are constants in it: their centres and
        offsets learn by their own losses alone.

        Args:
            feats (tuple[Tensor]): Maps of the neck.
            batch_data_samples (list[PoseDataSample]): The samples, with what
                :class:`CenterOffset` encodes in ``gt_fields`` and
                ``gt_instance_labels``.
            train_cfg (dict): Not used.

        Returns:
            dict: ``loss_heatmap`` and ``loss_offset``; unless ``adaptation``
            is ``'none'``, ``loss_oks``; if it is ``'full'``, ``loss_window``.

        Raises:
            ValueError: If heatmaps or offsets hold NaN or infinity and there
                are initial poses to be refined, also before a gradient scaler
                could skip the step.
        """
        heatmaps, offsets, embedding = self.forward(feats)
        fields = [sample.gt_fields for sample in batch_data_samples]
        targets, weights, offset_targets, offset_weights = (
            torch.stack([getattr(field, name) for field in fields])
            for name in (
                'heatmaps',
                'heatmap_weights',
                'offsets',
                'offset_weights',
            )
        )
        if 'heatmap_mask' in fields[0]:
            mask = torch.stack([field.heatmap_mask for field in fields])
            weights = weights * mask
        losses = dict(
            loss_heatmap=self.heatmap_loss(heatmaps, targets, None, weights),
            loss_offset=self.offset_loss(
                offsets, offset_targets, offset_weights
            ),
        )
        if self.adaptation == 'none':
            return losses

        matches = self._match(heatmaps, offsets, batch_data_samples)
        local = self._local_maps(embedding, matches.image, matches.poses)
        # What a search around the keypoint could gain; without good matches
        # there are zeros for gradients' sake.
        middle = self.expansion.ksize // 2
        gain = matches.oks.amax(dim=(2, 3)) - matches.oks[..., middle, middle]
        gain = (gain * matches.good[:, None])[..., None, None]
        error = gain * (local - matches.oks) ** 2
        losses['loss_oks'] = (
            error.mean(dim=(1, 2, 3)).sum()
            / matches.good.sum().clamp(min=1)
            * self.oks_loss_weight
        )
        if self.adaptation == 'partial':
            return losses

        windows = self._windows(heatmaps, matches.image, matches.poses)
        windows = self._convolve(windows, local)
        error = gain * (windows - self._window_targets(matches)) ** 2
        losses['loss_window'] = error.mean() * self.window_loss_weight
        return losses

    @torch.no_grad()
    def _match(
        self, heatmaps: Tensor, offsets: Tensor, samples: OptSampleList
    ) -> _Matches:
        """Match initial poses, of all the centres, with persons."""
        poses = self.decoder.batch_decode(
            heatmaps, offsets, check_finite=False
        )[0]
        labels = [sample.gt_instance_labels for sample in samples]
        # One more without labelled keypoints, that there be any.
        keypoints, visible, areas = (
            pad_sequence(
                [
                    torch.cat([x, x.new_zeros(1, *x.shape[1:])])
                    for x in (getattr(label, name) for label in labels)
                ],
                batch_first=True,
            )
            for name in ('keypoint_labels', 'keypoint_weights', 'areas')
        )
        found = self.expansion.encode(poses, keypoints, visible, areas)
        good = found['person_maps'].amax(dim=(2, 3)) >= self.match_thr
        taken = good.clone()
        taken[:, 0] |= ~good.any(dim=1)
        # The one place of a training step that waits for the device: it asks
        # how many poses there are, which is none only where a map is not
        # finite.
        taken &= all_finite(heatmaps, offsets)
        image, rank = taken.nonzero(as_tuple=True)
        if not len(image):
            self.decoder.check_finite(heatmaps, offsets)
        person = found['gt_index'][image, rank].clamp(min=0)
        return _Matches(
            image,
            poses[image, rank],
            found['oks_maps'][image, rank],
            keypoints[image, person],
            good[image, rank],
        )

    def _local_maps(
        self, embedding: Tensor, image: Tensor, poses: Tensor
    ) -> Tensor:
        """What the refinement makes of poses (n, K, 2): (n, K, S, S)."""
        stride = self._stride
        grid = self.expansion.expand(poses)  # (n, S, S, K, 2)
        x = grid[:, 0, :, :, 0].mT / stride
        y = grid[:, :, 0, :, 1].mT / stride
        span = (self.expansion.ksize - 1) * float(self.expansion.spacing.max())
        codes = sample_codes(embedding, image, x, y, span / stride)
        return self.refinement(codes.to(embedding.dtype))

    def _windows(
        self, heatmaps: Tensor, image: Tensor, poses: Tensor
    ) -> Tensor:
        """Weighted windows around poses: (n, K, 2 r + 1, 2 r + 1)."""
        steps = self._steps(poses)
        weights = (-(steps**2) / (2 * self.window_sigma**2)).exp()
        return sample_windows(
            heatmaps[:, :-1],
            image,
            poses[..., :1] + steps,
            poses[..., 1:] + steps,
            self._stride,
            weights,
        )

    def _convolve(self, windows: Tensor, local: Tensor) -> Tensor:
        return convolve_windows(windows, local / self.expansion.ksize**2)

    def _window_targets(self, matches: _Matches) -> Tensor:
        """Gaussians around the true keypoints, in windows of the poses."""
        steps = self._steps(matches.poses)
        distance = (matches.poses - matches.keypoints)[..., None] + steps
        gauss = (-(distance**2) / (2 * self.target_sigma**2)).exp()
        return gauss[:, :, 1, :, None] * gauss[:, :, 0, None]

    def _steps(self, like: Tensor) -> Tensor:
        radius = self.window_radius
        return torch.arange(
            -radius, radius + 1, dtype=like.dtype, device=like.device
        )

    @property
    def exported_parts(self) -> Tuple[str, ...]:
        """Modules that :meth:`decode` calls, for an export."""
        return () if self.adaptation == 'none' else ('refinement',)

    @property
    def _stride(self) -> int:
        return self.decoder.stride

    def predict(
        self,
        feats: Features,
        batch_data_samples: OptSampleList,
        test_cfg: ConfigType = {},
    ) -> Predictions:
        """Predict the poses of all persons.

        Args:
            feats (tuple[Tensor] | list[tuple[Tensor]]): Maps of the neck; with
                a flip test, those of the images and of their mirror images.
            batch_data_samples (list[PoseDataSample]): The samples.
            test_cfg (dict): May hold

                - ``flip_test`` (bool): Whether heatmaps and offsets are
                  averaged with those of the mirror image; the embedding is
                  the image's own. Not if missing.
                - ``nms_dist_thr``, ``nms_joints_thr``, ``max_num_people``: As
                  in MMPose's DEKR; see
                  :func:`~mmpose_ext.models.layers.nearby_pose_nms`. No NMS if
                  the first is missing.
                - ``nms_oks_thr`` (float): MMPose's OKS NMS instead, also of
                  ``max_num_people`` at most.
                - ``output_heatmaps`` (bool): Whether the maps are returned
                  too. Not if missing.

        Returns:
            list[InstanceData] | tuple[list[InstanceData], list[PixelData]]:
            For each image ``keypoints`` of shape (N, K, 2), px of the input,
            ``keypoint_scores`` (N, K), the keypoints' values times the
            centre's, ``bboxes`` (N, 4) around the keypoints and
            ``bbox_scores`` (N,), the means of the keypoints' scores. N may be
            0. With ``output_heatmaps`` also ``heatmaps`` and ``offsets``.

        Raises:
            ValueError: If ``test_cfg`` asks for two kinds of NMS or for
                several scales, or a flip test has images of several sizes,
                padded to one, which mirroring would move.
        """
        _check_test_cfg(test_cfg, batch_data_samples)
        if test_cfg.get('flip_test', False):
            feats, mirrored = feats
            heatmaps, offsets, embedding = self.forward(feats)
            flip = list(batch_data_samples[0].metainfo['flip_indices'])
            # By forward, as exported networks take its place; the embedding
            # is cheap.
            heatmaps_, offsets_, _ = self.forward(mirrored)
            heatmaps = _average(
                heatmaps, heatmaps_, [*flip, len(flip)], 'heatmap'
            )
            offsets = _average(offsets, offsets_, flip, 'offset')
        else:
            heatmaps, offsets, embedding = self.forward(feats)

        poses = self.decode((heatmaps, offsets, embedding))
        poses = [_suppress(p, test_cfg, self.expansion.sigmas) for p in poses]
        if not test_cfg.get('output_heatmaps', False):
            return poses
        fields = [
            PixelData(heatmaps=h.detach(), offsets=o.detach())
            for h, o in zip(heatmaps, offsets)
        ]
        return poses, fields

    def decode(
        self, batch_outputs: Tuple[Tensor, Tensor, Tensor]
    ) -> List[InstanceData]:
        """Find and refine the poses, of all images of a batch at once.

        Args:
            batch_outputs (tuple[Tensor, Tensor, Tensor]): What :meth:`forward`
                returns.

        Returns:
            list[InstanceData]: See :meth:`predict`; before any NMS, by falling
            score of the centres, and only those whose ``bbox_scores`` are
            above 0.

        Raises:
            ValueError: If a map holds NaN or infinity.
        """
        heatmaps, offsets, embedding = batch_outputs
        if not embedding.isfinite().all():
            raise ValueError('the embedding holds NaN or infinity')
        poses, _, scores = self.decoder.batch_decode(heatmaps, offsets)
        # The best one also where none is good.
        kept = scores >= self.decoder.decode_thr
        kept[:, 0] = True
        image, rank = kept.nonzero(as_tuple=True)
        poses, values = self._adapt(
            heatmaps, embedding, image, poses[image, rank]
        )
        values = values * scores[image, rank, None]
        means = values.mean(dim=1)

        image, poses, values, means = to_numpy((image, poses, values, means))
        results = []
        for i in range(len(heatmaps)):
            own = (image == i) & (means > 0)
            keypoints = poses[own]
            results.append(
                InstanceData(
                    keypoints=keypoints,
                    keypoint_scores=values[own],
                    bboxes=np.concatenate(
                        [keypoints.min(axis=1), keypoints.max(axis=1)], axis=1
                    ),
                    bbox_scores=means[own],
                )
            )
        return results

    def _adapt(
        self,
        heatmaps: Tensor,
        embedding: Tensor,
        image: Tensor,
        poses: Tensor,
    ) -> Tuple[Tensor, Tensor]:
        """Move the keypoints (n, K, 2); return them and values (n, K)."""
        if self.adaptation != 'none':
            local = self._local_maps(embedding, image, poses).clamp(0, 1)
        if self.adaptation == 'full':
            windows = self._windows(heatmaps, image, poses)
            steps, values = find_peaks(self._convolve(windows, local))
            return poses + steps, values
        if self.adaptation == 'partial':
            poses, _ = self.expansion.decode(local, poses)
        values = sample_windows(
            heatmaps[:, :-1],
            image,
            poses[..., :1],
            poses[..., 1:],
            self._stride,
        )
        return poses, values[..., 0, 0]


def _average(
    maps: Tensor, mirrored: Tensor, flip_indices: List[int], mode: str
) -> Tensor:
    mirrored = flip_heatmaps(mirrored, flip_indices, mode, shift_heatmap=False)
    return (maps + mirrored) / 2


def _check_test_cfg(test_cfg: ConfigType, samples: OptSampleList) -> None:
    if test_cfg.get('multiscale_test', False):
        raise ValueError(
            'LOGOCAPHead predicts from one scale, got multiscale_test=True'
        )
    kinds = [k for k in ('nms_dist_thr', 'nms_oks_thr') if test_cfg.get(k)]
    if len(kinds) > 1:
        raise ValueError(
            f'expected one kind of NMS in test_cfg, got {" and ".join(kinds)}'
        )
    if test_cfg.get('flip_test', False):
        sizes = {tuple(s.metainfo['input_size']) for s in samples}
        if len(sizes) > 1:
            raise ValueError(
                'a flip test needs images of one size in a batch, got inputs '
                f'of {sorted(sizes)} (w, h): test with a batch size of 1, or '
                'with flip_test=False'
            )


def _suppress(
    poses: InstanceData, test_cfg: ConfigType, sigmas: np.ndarray
) -> InstanceData:
    """The poses that the NMS keeps."""
    if not len(poses):
        return poses
    most = test_cfg.get('max_num_people', 30)
    if test_cfg.get('nms_dist_thr'):
        kept = nearby_pose_nms(
            poses.keypoints,
            poses.bbox_scores,
            test_cfg['nms_dist_thr'],
            test_cfg.get('nms_joints_thr'),
            most,
        )
    elif test_cfg.get('nms_oks_thr'):
        sides = poses.bboxes[:, 2:] - poses.bboxes[:, :2]
        candidates = [
            dict(keypoints=np.append(k, s[:, None], axis=1), score=b, area=a)
            for k, s, b, a in zip(
                poses.keypoints,
                poses.keypoint_scores,
                poses.bbox_scores,
                sides.prod(axis=1),
            )
        ]
        # By falling score.
        kept = oks_nms(candidates, test_cfg['nms_oks_thr'], np.array(sigmas))
        kept = kept[:most]
    else:
        return poses
    return poses[np.asarray(kept)]
