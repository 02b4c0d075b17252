"""Annotations and results; a module like ``xtcocotools.coco``."""

import json
from typing import Optional, Sequence, Union

import numpy as np
from pycocotools.coco import COCO as _COCO

__all__ = ['COCO']


class COCO(_COCO):
    """pycocotools' ``COCO``, with what xtcocotools has added to it.

    Args:
        annotation_file (str, optional): The file. Defaults to ``None``, no
            annotations.
        test_index (Sequence[int], optional): Which keypoints are kept.
            Defaults to ``None``, all of them.
        ann_data (dict, optional): The content of the file, which then is not
            read. Defaults to ``None``.
    """

    def __init__(
        self,
        annotation_file: Optional[str] = None,
        test_index: Optional[Sequence[int]] = None,
        ann_data: Optional[dict] = None,
    ):
        if annotation_file is None or ann_data is None:
            super().__init__(annotation_file)
        else:
            super().__init__()
            self.dataset = ann_data
            self.createIndex()
        self.test_index = test_index
        for ann in self.dataset.get('annotations', ()):
            if test_index is not None:
                keypoints = np.array(ann['keypoints']).reshape(-1, 3)
                ann['keypoints'] = keypoints[test_index].ravel().tolist()
            ann.setdefault('iscrowd', False)

    def loadRes(
        self,
        resFile: Union[str, list, np.ndarray],
        resData: Optional[list] = None,
    ) -> _COCO:
        """Index results, which get an id, an area and a box.

        Args:
            resFile (str | list | np.ndarray): A file; its content; or boxes,
                as rows of image id, x, y, w, h, score and category.
            resData (list, optional): The content of the file, which then is
                not read. Defaults to ``None``.

        Returns:
            COCO: The results.
        """
        if resData is None and isinstance(resFile, str):
            with open(resFile) as f:
                resData = json.load(f)
        if resData is None:
            resData = resFile
        if len(resData):
            return super().loadRes(resData)
        result = COCO()
        result.dataset = dict(images=self.dataset['images'], annotations=[])
        result.createIndex()
        return result
