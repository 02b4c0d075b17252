"""Head of LOGO-CAP: centres and offsets, refined by a local-global search."""

from typing import List, Sequence, Tuple

from mmengine.structures import InstanceData, PixelData
from mmpose.models.heads.base_head import BaseHead
from mmpose.models.utils.tta import flip_heatmaps
from mmpose.registry import KEYPOINT_CODECS, MODELS
from mmpose.utils.typing import (
    ConfigType,
    Features,
    OptConfigType,
    OptSampleList,
    Predictions,
)
from torch import Tensor

from ...arguments import fraction, non_negative, one_of, positive, positive_int
from ..layers.pose_nms import suppress_poses
from ..layers.window_convolution import find_peaks
from .logocap_networks import make_branch, make_refinement
from .logocap_search import ContextSearch, pack_poses
from .logocap_targets import match_poses, oks_loss, stack_targets, window_loss

_ADAPTATIONS = ('full', 'partial', 'none')
_OFFSET_LOSS = dict(
    type='SoftWeightSmoothL1Loss',
    use_target_weight=True,
    supervise_empty=False,
    beta=1 / 9,
    loss_weight=0.01,
)


@MODELS.register_module()
class LOGOCAPHead(BaseHead):
    """Local-global contextual adaptation of centre-offset poses.

    `Learning Local-Global Contextual Adaptation for Multi-Person Pose
    Estimation <https://arxiv.org/abs/2109.03622>`_. Three branches (figure 3)
    predict heatmaps, of the keypoints and of persons' centres, the offsets of
    a person's keypoints around its centre, and an embedding. The centres and
    offsets give initial poses. Around each of their keypoints (section 3),

    - the embedding, sampled on a grid (its expansion, see
      :class:`~mmpose_ext.codecs.KeypointExpansion`), goes with those of the
      person's other keypoints through a small network (``refinement``), which
      predicts how good each point of the grid is: the *local* context;
    - its heatmap is cut out, weighted by a Gaussian: the *global* context;
    - the second is convolved with the first, and the keypoint moves to the
      peak.

    Layers, constants and rules are those of the official implementation,
    which the paper's text does not give in full, including what looks
    accidental in it: the spacing of the grid depends on a keypoint's sigma,
    while the convolution moves by whole pixels; the predictions of the
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
        offset_loss: ConfigType = _OFFSET_LOSS,
        oks_loss_weight: float = 0.01,
        window_loss_weight: float = 1.0,
        init_cfg: OptConfigType = None,
    ):
        super().__init__(init_cfg)
        x = positive_int('in_channels', in_channels)
        k = self.num_keypoints = positive_int('num_keypoints', num_keypoints)
        self.adaptation = one_of('adaptation', adaptation, _ADAPTATIONS)
        self.target_sigma = positive('target_sigma', target_sigma)
        self.match_thr = fraction('match_thr', match_thr)
        self.oks_loss_weight = non_negative('oks_loss_weight', oks_loss_weight)
        self.window_loss_weight = non_negative(
            'window_loss_weight', window_loss_weight
        )
        self.decoder = KEYPOINT_CODECS.build(decoder)
        self.expansion = KEYPOINT_CODECS.build(expansion)
        if len(self.expansion.sigmas) != k:
            raise ValueError(
                f'the expansion has sigmas of {len(self.expansion.sigmas)} '
                f'keypoints, the head {k} keypoints'
            )
        grid, stride = self.expansion.grid, self.decoder.stride
        self.search = ContextSearch(grid, stride, window_radius, window_sigma)
        self.heatmap_loss = MODELS.build(heatmap_loss)
        self.offset_loss = MODELS.build(offset_loss)

        e = positive_int('embedding_channels', embedding_channels)
        hidden = positive_int('heatmap_channels', heatmap_channels)
        self.heatmap_branch = make_branch(x, hidden, norm_cfg, k + 1)
        hidden = positive_int('offset_channels', offset_channels)
        self.offset_branch = make_branch(x, hidden, norm_cfg, 2 * k)
        self.embedding_branch = make_branch(x, e, norm_cfg)
        self.refinement = make_refinement(
            k, e, refinement_channels, num_affines, norm_cfg
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
        targets, weights, offset_targets, offset_weights = stack_targets(
            batch_data_samples
        )
        losses = dict(
            loss_heatmap=self.heatmap_loss(heatmaps, targets, None, weights),
            loss_offset=self.offset_loss(
                offsets, offset_targets, offset_weights
            ),
        )
        if self.adaptation == 'none':
            return losses

        matches = match_poses(
            heatmaps,
            offsets,
            batch_data_samples,
            self.decoder,
            self.expansion.grid,
            self.match_thr,
        )
        image, poses = matches.image, matches.poses
        local = self._judge(embedding, image, poses)
        losses['loss_oks'] = oks_loss(local, matches) * self.oks_loss_weight
        if self.adaptation == 'full':
            windows = self.search.adapt(heatmaps, image, poses, local)
            loss = window_loss(windows, matches, self.target_sigma)
            losses['loss_window'] = loss * self.window_loss_weight
        return losses

    def _judge(
        self, embedding: Tensor, image: Tensor, poses: Tensor
    ) -> Tensor:
        """How good the points around keypoints (n, K, 2) are: (n, K, S, S)."""
        codes = self.search.local_codes(embedding, image, poses)
        return self.refinement(codes)

    @property
    def exported_parts(self) -> Tuple[str, ...]:
        """Modules that :meth:`decode` calls, for an export."""
        return () if self.adaptation == 'none' else ('refinement',)

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
                  in MMPose's DEKR; or ``nms_oks_thr``, see
                  :func:`~mmpose_ext.models.layers.pose_nms.suppress_poses`.
                - ``output_heatmaps`` (bool): Whether the maps are returned
                  too. Not if missing.

        Returns:
            list[InstanceData] | tuple[list[InstanceData], list[PixelData]]:
            For each image ``keypoints`` (N, K, 2), px of the input, with
            ``keypoint_scores`` (N, K), their values times the centre's;
            ``bboxes`` (N, 4) around them and ``bbox_scores`` (N,), the means
            of their scores. N may be 0. With ``output_heatmaps`` also
            ``heatmaps`` and ``offsets``.

        Raises:
            ValueError: If ``test_cfg`` asks for two kinds of NMS or several
                scales, or a flip test has images of several sizes, padded to
                one, which mirroring would move.
        """
        _check_test_cfg(test_cfg, batch_data_samples)
        flip_test = test_cfg.get('flip_test', False)
        feats, mirrored = feats if flip_test else (feats, None)
        heatmaps, offsets, embedding = self.forward(feats)
        if flip_test:
            # By forward, whose place exported networks take.
            heatmaps_, offsets_, _ = self.forward(mirrored)
            flip = list(batch_data_samples[0].metainfo['flip_indices'])
            offsets = _average(offsets, offsets_, flip, 'offset')
            flip.append(len(flip))  # the centres
            heatmaps = _average(heatmaps, heatmaps_, flip, 'heatmap')

        poses = [
            suppress_poses(one, test_cfg, self.expansion.sigmas)
            for one in self.decode((heatmaps, offsets, embedding))
        ]
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
        return pack_poses(image, poses, values, len(heatmaps))

    def _adapt(
        self,
        heatmaps: Tensor,
        embedding: Tensor,
        image: Tensor,
        poses: Tensor,
    ) -> Tuple[Tensor, Tensor]:
        """Move the keypoints (n, K, 2); return them and values (n, K)."""
        search = self.search
        if self.adaptation != 'none':
            local = self._judge(embedding, image, poses).clamp(0, 1)
        if self.adaptation == 'full':
            windows = search.adapt(heatmaps, image, poses, local)
            steps, values = find_peaks(windows)
            return poses + steps, values
        if self.adaptation == 'partial':
            poses, _ = search.grid.best_points(local, poses)
        return poses, search.values(heatmaps, image, poses)


def _average(
    maps: Tensor, mirrored: Tensor, flip_indices: List[int], mode: str
) -> Tensor:
    # No shift, as in training: see CenterOffset about flips.
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
