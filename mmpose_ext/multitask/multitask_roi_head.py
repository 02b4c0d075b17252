"""Box, mask and keypoints of each region of interest."""

import copy
from typing import List, Optional, Tuple

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import InstanceList
from torch import Tensor

from .keypoint_heatmaps import find_inside


@MODELS.register_module()
class MultiTaskRoIHead(StandardRoIHead):
    """MMDet's heads of boxes and masks, and one of keypoints beside them.

    From "Offset Allows for Extra Flexibility" (E6691 report, Columbia
    University, 2021), section 3.1 and figure 1. The loss is the sum of all
    heads' losses (equation 1). "The same RoI feature" is read as RoIs of the
    same feature maps, each head with its own pooling, as in Mask R-CNN.

    The keypoint head learns from the RoIs that were assigned to a person
    with a labelled joint inside the RoI, the mask head from those whose
    person has a mask. Where a batch has no such RoI, and even where it has no
    RoI at all, every loss is there and 0, with gradients of 0 for every
    parameter: distributed training would otherwise wait for ever.

    Args:
        keypoint_roi_extractor (dict, optional): Pools the features of the
            keypoint head. Defaults to ``None``, that of the boxes.
        keypoint_head (dict, optional): E.g. :class:`OffsetKeypointHead`.
            Defaults to ``None``, no keypoints.
        kwargs: Of MMDet's ``StandardRoIHead``.

    Raises:
        ValueError: If there is a ``mask_head`` without a
            ``mask_roi_extractor``.
    """

    def __init__(
        self,
        *args,
        keypoint_roi_extractor: Optional[dict] = None,
        keypoint_head: Optional[dict] = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if self.with_mask and self.share_roi_extractor:
            raise ValueError(
                'mask_head needs its own mask_roi_extractor, got None: '
                'the features of the boxes are those of all persons, with a '
                'mask or without'
            )
        self.keypoint_head = None
        if keypoint_head is not None:
            self.keypoint_head = MODELS.build(keypoint_head)
            self.keypoint_roi_extractor = (
                self.bbox_roi_extractor
                if keypoint_roi_extractor is None
                else MODELS.build(keypoint_roi_extractor)
            )

    @property
    def with_keypoint(self) -> bool:
        """Whether there is a keypoint head."""
        return self.keypoint_head is not None

    def forward(
        self,
        x: Tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: Optional[SampleList] = None,
    ) -> tuple:
        """Raw outputs of all heads, those of keypoints for 100 RoIs.

        Args:
            x (tuple[Tensor]): Feature maps, each of shape (B, C, H, W).
            rpn_results_list (list[InstanceData]): The proposals.
            batch_data_samples (list[DetDataSample], optional): Not used.
                Defaults to ``None``.

        Returns:
            tuple[Tensor]: Class scores, box deltas, masks (if there is such
            a head) and heatmaps.
        """
        x = self._as_weights(x)
        results = super().forward(x, rpn_results_list, batch_data_samples)
        if self.with_keypoint:
            rois = bbox2roi([res.bboxes for res in rpn_results_list])
            results += (self._keypoint_forward(x, rois[:100]),)
        return results

    def loss(
        self,
        x: Tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: SampleList,
    ) -> dict:
        """Losses of all heads.

        Args:
            x (tuple[Tensor]): Feature maps, each of shape (B, C, H, W).
            rpn_results_list (list[InstanceData]): The proposals.
            batch_data_samples (list[DetDataSample]): Their ``gt_instances``
                have ``bboxes``, ``labels``, ``masks`` for the mask head, and
                for the keypoint head ``keypoints`` (N, K, 2) in continuous
                px with ``keypoints_visible`` (N, K).

        Returns:
            dict[str, Tensor]: The losses of MMDet's heads and
            ``loss_keypoint``.
        """
        x = self._as_weights(x)
        gts, gts_ignore, _ = unpack_gt_instances(batch_data_samples)
        sampling_results = []
        for proposals, gt, gt_ignore in zip(rpn_results_list, gts, gts_ignore):
            # MMDet's assigners know proposals by this name.
            proposals.priors = proposals.pop('bboxes')
            assigned = self.bbox_assigner.assign(proposals, gt, gt_ignore)
            sampling_results.append(
                self.bbox_sampler.sample(
                    assigned,
                    proposals,
                    gt,
                    # Some samplers run the box head to choose hard RoIs.
                    feats=[level[len(sampling_results)][None] for level in x],
                )
            )

        box_results = self.bbox_loss(x, sampling_results)
        losses = box_results['loss_bbox']
        if self.with_mask:
            mask_results = self.mask_loss(
                x, sampling_results, box_results['bbox_feats'], gts
            )
            losses.update(mask_results['loss_mask'])
        if self.with_keypoint:
            losses.update(self.keypoint_loss(x, sampling_results, gts))
        return losses

    def bbox_loss(self, x: Tuple[Tensor, ...], sampling_results: List) -> dict:
        """As MMDet's, but with every loss where there are no RoIs at all."""
        results = super().bbox_loss(x, sampling_results)
        losses = results['loss_bbox']
        losses.setdefault('loss_cls', results['cls_score'].sum() * 0)
        losses.setdefault('loss_bbox', results['bbox_pred'].sum() * 0)
        return results

    def mask_loss(
        self,
        x: Tuple[Tensor, ...],
        sampling_results: List,
        bbox_feats: Tensor,
        batch_gt_instances: InstanceList,
    ) -> dict:
        """As MMDet's, without the RoIs of persons whose mask is empty."""
        sampling_results = [
            _positives_with_mask(result, gt.masks)
            for result, gt in zip(sampling_results, batch_gt_instances)
        ]
        return super().mask_loss(
            x, sampling_results, bbox_feats, batch_gt_instances
        )

    def keypoint_loss(
        self,
        x: Tuple[Tensor, ...],
        sampling_results: List,
        batch_gt_instances: InstanceList,
    ) -> dict:
        """The loss of the keypoint head.

        Args:
            x (tuple[Tensor]): Feature maps, each of shape (B, C, H, W).
            sampling_results (list[SamplingResult]): The RoIs of each image.
            batch_gt_instances (list[InstanceData]): See :meth:`loss`.

        Returns:
            dict[str, Tensor]: ``loss_keypoint``.

        Raises:
            ValueError: If the samples have no keypoints.
        """
        if not all('keypoints' in gt for gt in batch_gt_instances):
            raise ValueError(
                'the keypoint head got persons without keypoints: expected '
                'a pipeline with LoadMultiTaskAnnotations, WarpKeypoints and '
                'PackMultiTaskInputs'
            )
        pairs = list(zip(sampling_results, batch_gt_instances))
        rois = bbox2roi([result.pos_priors for result, _ in pairs])
        keypoints, visible = (
            torch.cat(
                [gt[key][result.pos_assigned_gt_inds] for result, gt in pairs]
            )
            for key in ('keypoints', 'keypoints_visible')
        )
        boxes = rois[:, 1:]
        useful = find_inside(keypoints, visible, boxes).any(dim=1)
        # Here a training step waits for the device, for the number of RoIs; an
        # index by bools would wait at each use.
        useful = useful.nonzero()[:, 0]
        heatmaps = self._keypoint_forward(x, rois[useful])
        return self.keypoint_head.loss(
            heatmaps, boxes[useful], keypoints[useful], visible[useful]
        )

    def predict(
        self,
        x: Tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> InstanceList:
        """Boxes, keypoints and masks of each image.

        Args:
            x (tuple[Tensor]): Feature maps, each of shape (B, C, H, W).
            rpn_results_list (list[InstanceData]): The proposals.
            batch_data_samples (list[DetDataSample]): With the images' sizes.
            rescale (bool): Whether results are in pixels of the original
                images rather than of the network's input. Defaults to
                ``False``.

        Returns:
            list[InstanceData]: Of each image ``bboxes`` (n, 4), ``scores``
            (n,), ``labels`` (n,); with such heads ``masks`` (n, H, W),
            ``keypoints`` (n, K, 2) in continuous px and ``keypoint_scores``
            (n, K).
        """
        x = self._as_weights(x)
        metas = [sample.metainfo for sample in batch_data_samples]
        # Boxes stay in pixels of the input until the other heads have read
        # them. MMDet's mask head rescales them in place, so it comes last.
        results = self.predict_bbox(
            x, metas, rpn_results_list, rcnn_test_cfg=self.test_cfg
        )
        if self.with_keypoint:
            self.predict_keypoints(x, metas, results, rescale)
        if self.with_mask:
            return self.predict_mask(x, metas, results, rescale=rescale)
        if rescale:
            for result, meta in zip(results, metas):
                result.bboxes /= _scale(meta, result.bboxes).repeat(2)
        return results

    def predict_keypoints(
        self,
        x: Tuple[Tensor, ...],
        batch_img_metas: List[dict],
        results_list: InstanceList,
        rescale: bool = False,
    ) -> InstanceList:
        """Add the keypoints to boxes.

        Args:
            x (tuple[Tensor]): Feature maps, each of shape (B, C, H, W).
            batch_img_metas (list[dict]): ``scale_factor`` of each image.
            results_list (list[InstanceData]): With ``bboxes`` (n, 4) in
                pixels of the network's input; is added to.
            rescale (bool): Whether keypoints are in pixels of the original
                images. Defaults to ``False``.

        Returns:
            list[InstanceData]: The same.
        """
        rois = bbox2roi([result.bboxes for result in results_list])
        heatmaps = self._keypoint_forward(x, rois)
        keypoints, scores = self.keypoint_head.predict(heatmaps, rois[:, 1:])
        numbers = [len(result.bboxes) for result in results_list]
        for result, meta, points, values in zip(
            results_list,
            batch_img_metas,
            keypoints.split(numbers),
            scores.split(numbers),
        ):
            if rescale:
                points = points / _scale(meta, points)
            result.keypoints, result.keypoint_scores = points, values
        return results_list

    def _as_weights(self, x: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        """Features in the weights' precision, which under autocast is more.

        MMDet's extractors give RoIs the features' type: in bfloat16, whole
        pixels end at 256.
        """
        dtype = next(self.parameters()).dtype
        return tuple(level.to(dtype) for level in x)

    def _keypoint_forward(self, x: Tuple[Tensor, ...], rois: Tensor) -> Tensor:
        extractor = self.keypoint_roi_extractor
        feats = extractor(x[: extractor.num_inputs], rois)
        if self.with_shared_head:
            feats = self.shared_head(feats)
        return self.keypoint_head(feats)


def _scale(meta: dict, like: Tensor) -> Tensor:
    """Factors of x and y from the original image to the network's input."""
    return like.new_tensor(meta['scale_factor'])


def _positives_with_mask(result, masks):
    """The part of a ``SamplingResult`` whose persons have masks."""
    if isinstance(masks, BitmapMasks):  # any() is faster than an area
        has_mask = masks.masks.any(axis=(1, 2))
    else:
        has_mask = masks.areas > 0
    if has_mask.all():  # no copy, which would wait for the device
        return result
    kept = result.pos_assigned_gt_inds.new_tensor(has_mask, dtype=torch.bool)
    kept = kept[result.pos_assigned_gt_inds].nonzero()[:, 0]
    result = copy.copy(result)
    result.pos_priors = result.pos_priors[kept]
    result.pos_assigned_gt_inds = result.pos_assigned_gt_inds[kept]
    result.pos_gt_labels = result.pos_gt_labels[kept]
    return result
