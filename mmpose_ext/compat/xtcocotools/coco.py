"""Annotations and results; a module like ``xtcocotools.coco``."""

from typing import Any, List, Optional, Union

import numpy as np
from faster_coco_eval.core.coco import COCO as _COCO

__all__ = ['COCO']


class COCO(_COCO):
    """faster-coco-eval's ``COCO``, with the arguments of xtcocotools'.

    Args:
        annotation_file (str, optional): The file. Defaults to ``None``, no
            annotations.
        test_index (list, optional): Which keypoints are kept. Defaults to
            ``None``, all of them.
        ann_data (dict, optional): The content of the file, which then is not
            read. Defaults to ``None``.
    """

    def __init__(
        self,
        annotation_file: Optional[str] = None,
        test_index: Optional[List[int]] = None,
        ann_data: Optional[dict] = None,
    ):
        if annotation_file is None or ann_data is None:
            ann_data = annotation_file
        super().__init__(ann_data)
        self.test_index = test_index
        for ann in self.dataset.get('annotations', []):
            if test_index is not None:
                keypoints = np.array(ann['keypoints']).reshape(-1, 3)
                ann['keypoints'] = keypoints[test_index].ravel().tolist()
            ann.setdefault('iscrowd', False)

    def loadRes(
        self,
        resFile: Union[str, list, np.ndarray],
        resData: Optional[List[Any]] = None,
    ) -> _COCO:
        """Index results, which get an id, an area and a box.

        Args:
            resFile (str | list | np.ndarray): A file, its content, or boxes
                as rows of image id, x, y, w, h, score and category.
            resData (list, optional): The content of the file, which then is
                not read. Defaults to ``None``.

        Returns:
            COCO: The results.
        """
        return super().loadRes(resFile if resData is None else resData)
