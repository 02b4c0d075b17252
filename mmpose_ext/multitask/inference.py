"""Persons in images, with a multi-task R-CNN."""

from typing import List, Sequence

import cv2
import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import InstanceData
from mmpose.structures import split_instances

from ..errors import InputError
from ..inference.drawing import enlarge, strokes
from ..inference.persons import PersonDetector, prepare
from .multitask_visualizer import MultiTaskVisualizer


class MultiTaskPredictor:
    """The boxes, masks and keypoints of the persons in images.

    Args:
        config (Config): The config of a detector whose ``roi_head`` is a
            :class:`MultiTaskRoIHead` with a keypoint head.
        checkpoint (str): File or URL of its weights.
        device (str): Where it runs. Defaults to ``'cpu'``.

    Attributes:
        dataset_meta (dict): The metainfo of the config's test dataset.

    Raises:
        InputError: If the config has no keypoint head, its dataset describes
            other keypoints or none, a type in it is unknown, or the weights
            do not fit.
    """

    def __init__(self, config: Config, checkpoint: str, device: str = 'cpu'):
        roi_head = config.get('model', {}).get('roi_head') or {}
        if roi_head.get('keypoint_head') is None:
            raise InputError(
                f'{config.filename} is no config of a multi-task model: '
                "expected a 'keypoint_head' in its model.roi_head"
            )
        self._detector = PersonDetector(config, checkpoint, device)
        self.dataset_meta = _read_metainfo(config)
        head = self._detector.model.roi_head.keypoint_head
        described = self.dataset_meta.get('num_keypoints', 0)
        if head.num_keypoints != described:
            raise InputError(
                f'{config.filename}: its test dataset describes {described} '
                f'keypoints, the keypoint_head has {head.num_keypoints}'
            )

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> List[InstanceData]:
        """Find the persons of a batch of images.

        Args:
            images (Sequence[np.ndarray]): BGR images of shape (H, W, 3).

        Returns:
            List[InstanceData]: For each image arrays of n persons:
            ``bboxes`` (n, 4), ``scores`` (n,), ``labels`` (n,),
            ``keypoints`` (n, K, 2) in px of the image, the centre of the
            first pixel at 0.5, ``keypoint_scores`` (n, K), and if there is
            such a head ``masks`` (n, H, W), bool.
        """
        detector = self._detector
        samples = [prepare(image, detector.pipeline) for image in images]
        results = detector.model.test_step(pseudo_collate(samples))
        found = [result.pred_instances.cpu().numpy() for result in results]
        return [
            persons[persons.labels == detector.person] for persons in found
        ]


class MultiTaskDrawer:
    """Draw boxes, masks and skeletons together.

    Lines are as wide as a picture is large, and a small picture is enlarged,
    as those of :class:`~mmpose_ext.inference.drawing.PoseDrawer`.

    Args:
        dataset_meta (dict): That of the predictor.
        kpt_thr (float): Keypoints of a lower score are not drawn. Defaults
            to 0.3.

    Raises:
        ValueError: If ``kpt_thr`` is no finite number.
    """

    def __init__(self, dataset_meta: dict, kpt_thr: float = 0.3):
        # Masks that the person under them is seen through.
        self.visualizer = MultiTaskVisualizer(kpt_thr=kpt_thr, alpha=0.5)
        self.visualizer.dataset_meta = dataset_meta

    def __call__(self, image: np.ndarray, persons: InstanceData) -> np.ndarray:
        """Draw the persons of an image.

        Args:
            image (np.ndarray): BGR image of shape (H, W, 3).
            persons (InstanceData): See :class:`MultiTaskPredictor`.

        Returns:
            np.ndarray: BGR image of shape (f H, f W, 3), f = 1, 2, 3 or 4.
        """
        image, factor = enlarge(image)
        scaled = InstanceData(
            bboxes=persons.bboxes * factor,
            scores=persons.scores,
            labels=persons.labels,
            keypoints=persons.keypoints * factor,
            keypoint_scores=persons.keypoint_scores,
        )
        if 'masks' in persons:
            scaled.masks = persons.masks.repeat(factor, 1).repeat(factor, 2)
        self.visualizer.line_width, _ = strokes(image)
        self.visualizer.add_datasample(
            'persons',
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB),
            DetDataSample(pred_instances=scaled),
            draw_gt=False,
            pred_score_thr=-np.inf,
        )
        drawn = self.visualizer.get_image()
        return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


def describe_persons(persons: InstanceData) -> List[dict]:
    """The persons of an image, as JSON can hold them.

    Args:
        persons (InstanceData): See :class:`MultiTaskPredictor`.

    Returns:
        List[dict]: For each person what MMPose writes of poses, which is
        ``keypoints`` with the centre of the first pixel at 0 (as in COCO),
        ``keypoint_scores``, ``bbox`` [[x1, y1, x2, y2]] and ``bbox_score``;
        and ``mask`` if there are any, as run-length code of COCO's with a
        string as ``counts``.
    """
    poses = InstanceData(
        keypoints=persons.keypoints - 0.5,
        keypoint_scores=persons.keypoint_scores,
        bboxes=persons.bboxes,
        bbox_scores=persons.scores.tolist(),
    )
    entries = split_instances(poses)
    if 'masks' in persons:
        codes = encode_mask_results(persons.masks)
        for entry, code in zip(entries, codes):
            entry['mask'] = {**code, 'counts': code['counts'].decode()}
    return entries


def _read_metainfo(config: Config) -> dict:
    """What the dataset would know if it were built, which needs its files."""
    dataset = config.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    with DATASETS.switch_scope_and_registry('mmdet') as registry:
        cls = registry.get(dataset.type)
    return cls._load_metainfo(dataset.get('metainfo'))
