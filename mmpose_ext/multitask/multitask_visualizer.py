"""Pictures of persons: boxes and masks as MMDet's, skeletons as MMPose's."""

from typing import List, Optional

import numpy as np
from mmdet.registry import VISUALIZERS
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

from ..arguments import finite
from ..inference.drawing import strokes


@VISUALIZERS.register_module()
class MultiTaskVisualizer(DetLocalVisualizer):
    """Draw boxes and masks as MMDet does, and joints and limbs over them.

    Joints and limbs have the colours of the dataset's metainfo, and sizes
    that fit the picture. Of predictions, the joints of a score of at least
    ``kpt_thr`` are drawn, of ground truth those that are labelled. A limb is
    drawn between two joints that are.

    Keypoints are in continuous coordinates, as the rest of the data samples.

    Args:
        name (str): Name of the instance, by which MMEngine finds it. Defaults
            to ``'visualizer'``.
        kpt_thr (float): Joints of a lower score are not drawn. (The scores
            of a softmax over the cells, as Detectron2's, are small: 0.05
            serves there.) Defaults to 0.3.
        kwargs: Of MMDet's ``DetLocalVisualizer``.

    Raises:
        ValueError: If ``kpt_thr`` is no finite number.
    """

    def __init__(
        self, name: str = 'visualizer', kpt_thr: float = 0.3, **kwargs
    ):
        super().__init__(name, **kwargs)
        self.kpt_thr = finite('kpt_thr', kpt_thr)
        self._skeletons = PoseLocalVisualizer()

    # What MMDet's add_datasample, which looks after thresholds and files,
    # calls for the ground truth and for the predictions.
    def _draw_instances(
        self,
        image: np.ndarray,
        instances: InstanceData,
        classes: Optional[List[str]],
        palette: Optional[List[tuple]],
    ) -> np.ndarray:
        image = super()._draw_instances(image, instances, classes, palette)
        if 'keypoints' not in instances:
            return image
        if 'keypoint_scores' in instances:
            drawn = np.asarray(instances.keypoint_scores) >= self.kpt_thr
        else:
            drawn = np.asarray(instances.keypoints_visible) > 0
        self._skeletons.line_width, self._skeletons.radius = strokes(image)
        self._skeletons.set_dataset_meta(self.dataset_meta)
        # It draws at the whole part of a coordinate, which is the pixel that
        # the continuous coordinate is in.
        poses = InstanceData(
            keypoints=np.asarray(instances.keypoints),
            keypoints_visible=drawn.astype(float),
        )
        return self._skeletons.add_datasample(
            'poses',
            image,
            PoseDataSample(pred_instances=poses),
            draw_gt=False,
            kpt_thr=0.5,
        )
