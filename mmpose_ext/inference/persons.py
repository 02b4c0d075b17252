"""MMDet's detectors, reduced to the persons that they find."""

from typing import List, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import DefaultScope

from ..arguments import finite, non_negative
from ..checks import explain_unknown_types, load_checkpoint_strictly
from ..errors import InputError


class PersonDetector:
    """The person boxes of any MMDet detector.

    The class ``person`` (in upper or lower case) is looked up in the class
    names of the checkpoint, or of the config's test dataset where the
    checkpoint has none. A detector of COCO's 80 classes therefore serves as
    well as one of persons only.

    Args:
        config (Config): The config of a detector.
        checkpoint (str): File or URL of its weights.
        device (str): Where it runs. Defaults to ``'cpu'``.
        score_thr (float): Boxes with a lower score are dropped, in addition
            to those that the detector's ``test_cfg`` drops. Defaults to 0.
        nms_thr (float, optional): Drop person boxes that overlap one of a
            higher score by a larger IoU, after the suppression of the
            detector's ``test_cfg``. Defaults to ``None``, to keep them.

    Raises:
        InputError: If MMDet is missing, the config has no detector, a type
            in it is unknown, the weights do not fit, or no class is a person.
        ValueError: If ``score_thr`` is not a finite number, or ``nms_thr``
            not a non-negative one.
    """

    def __init__(
        self,
        config: Config,
        checkpoint: str,
        device: str = 'cpu',
        score_thr: float = 0.0,
        nms_thr: Optional[float] = None,
    ):
        self.score_thr = finite('score_thr', score_thr)
        self.nms_thr = nms_thr
        if nms_thr is not None:
            self.nms_thr = non_negative('nms_thr', nms_thr)
        MODELS, get_test_pipeline_cfg = _import_mmdet()
        for key in ('model', 'test_dataloader'):
            if key not in config:
                raise InputError(
                    f'{config.filename} is not the config of a detector: '
                    f"expected a '{key}' in it"
                )
        scope = config.get('default_scope') or 'mmdet'
        if scope == 'mmpose':
            raise InputError(
                f'{config.filename} is a config of MMPose, expected one of '
                'MMDetection'
            )
        with (
            DefaultScope.overwrite_default_scope(scope),
            explain_unknown_types(config),
        ):
            model = revert_sync_batchnorm(MODELS.build(config.model))
            steps = get_test_pipeline_cfg(config).copy()
            # Callers pass decoded images, which they need themselves.
            steps[0] = {**steps[0], 'type': 'mmdet.LoadImageFromNDArray'}
            self.pipeline = Compose(steps)
        meta = load_checkpoint_strictly(model, checkpoint).get('meta', {})
        self.person = _person_label(_class_names(meta, config), checkpoint)
        self.model = model.to(device).eval()

    def __call__(self, images: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Detect the persons of a batch of images.

        Args:
            images (Sequence[np.ndarray]): BGR images of shape (H, W, 3).

        Returns:
            List[np.ndarray]: For each image an array of shape (N, 5) with x1,
            y1, x2, y2 in pixels of the image, and a score; the best first.
        """
        return self.predict(
            [prepare(image, self.pipeline) for image in images]
        )

    @torch.no_grad()
    def predict(self, samples: Sequence[dict]) -> List[np.ndarray]:
        """As :meth:`__call__`, for images after :func:`prepare`."""
        results = self.model.test_step(pseudo_collate(samples))
        return [self._persons(result.pred_instances) for result in results]

    def _persons(self, found) -> np.ndarray:
        found = found[found.labels == self.person]
        found = found[found.scores >= self.score_thr]
        found = found[found.scores.argsort(descending=True, stable=True)]
        boxes = torch.cat([found.bboxes, found.scores[:, None]], dim=1)
        # A box without area has no pose, and an evaluation cannot use it.
        boxes = boxes[(boxes[:, 2:4] > boxes[:, :2]).all(dim=1)]
        if self.nms_thr is not None and len(boxes):
            from mmcv.ops import nms

            _, kept = nms(boxes[:, :4], boxes[:, 4], self.nms_thr)
            boxes = boxes[kept]
        return boxes.float().cpu().numpy()


def prepare(image: np.ndarray, pipeline: Compose) -> dict:
    """Run the test pipeline of a :class:`PersonDetector` on an image."""
    return pipeline(dict(img=image, img_id=0))


def _import_mmdet() -> tuple:
    try:
        from mmdet.registry import MODELS
        from mmdet.utils import get_test_pipeline_cfg
    except ImportError as e:
        raise InputError(
            f'detecting persons needs MMDetection ({e}); install it with: '
            "pip install 'mmdet>=3.0'"
        ) from e
    return MODELS, get_test_pipeline_cfg


def _class_names(meta: dict, config: Config) -> Optional[Tuple[str, ...]]:
    """The names of the classes, in the order of their labels."""
    dataset_meta = {
        str(k).lower(): v for k, v in meta.get('dataset_meta', {}).items()
    }
    if dataset_meta.get('classes'):
        return dataset_meta['classes']
    if meta.get('CLASSES'):  # written by MMDet 2.x
        return meta['CLASSES']

    from mmdet.registry import DATASETS

    dataset = config.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    names = dataset.get('metainfo', {}).get('classes')
    if names is None:
        with DefaultScope.overwrite_default_scope(
            config.get('default_scope') or 'mmdet'
        ):
            names = DATASETS.get(dataset.type).METAINFO.get('classes')
    return names


def _person_label(classes: Optional[Sequence[str]], checkpoint: str) -> int:
    names = [classes] if isinstance(classes, str) else classes or ()
    if not isinstance(names, (list, tuple)) or not all(
        isinstance(name, str) for name in names
    ):
        raise InputError(
            f'{checkpoint} is a detector of the classes {names!r:.80}, '
            'expected a list of names'
        )
    for label, name in enumerate(names):
        if name.lower() == 'person':
            return label
    shown = ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')
    raise InputError(
        f"{checkpoint} is a detector without the class 'person'; "
        f'it knows {shown or "no classes"}'
    )
