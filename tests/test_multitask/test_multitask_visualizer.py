from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.registry import VISUALIZERS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from mmpose_ext.multitask import CocoPersonDataset, MultiTaskVisualizer

META = CocoPersonDataset.METAINFO
HEIGHT, WIDTH = 240, 400
BACKGROUND = 90
NOSE, LEFT_EYE, RIGHT_EYE, LEFT_WRIST = 0, 1, 2, 9


@pytest.fixture
def visualizer():
    """As a runner builds it, which is where MMDet's hook finds it."""
    visualizer = VISUALIZERS.build(dict(type='MultiTaskVisualizer', name='it'))
    assert isinstance(visualizer, MultiTaskVisualizer)
    visualizer.dataset_meta = META
    yield visualizer
    for cls in (MultiTaskVisualizer, Visualizer):
        cls._instance_dict.pop('it')


def image():
    return np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)


def joints():
    """17 joints, 20 px apart, in continuous px, all inside of the box."""
    k = torch.arange(17)
    return torch.stack([40.9 + 20 * k, 60.9 + 90 * (k % 2)], dim=1)[None]


def persons(n=1, masks=True, scores=0.9):
    found = InstanceData(
        bboxes=torch.tensor([[20.0, 30, 380, 220]] * n).reshape(n, 4),
        scores=torch.full((n,), 0.9),
        labels=torch.zeros(n, dtype=torch.long),
        keypoints=joints().expand(n, 17, 2),
        keypoint_scores=torch.full((n, 17), scores),
    )
    if masks:
        found.masks = torch.zeros(n, HEIGHT, WIDTH, dtype=torch.bool)
        found.masks[:, 180:210, 300:370] = True
    return found


def draw(visualizer, pred=None, gt=None, **kwargs):
    sample = DetDataSample()
    if pred is not None:
        sample.pred_instances = pred
    if gt is not None:
        sample.gt_instances = gt
    options = dict(draw_gt=gt is not None, draw_pred=pred is not None)
    visualizer.add_datasample('it', image(), sample, **options, **kwargs)
    return visualizer.get_image()


def at(picture, x, y):
    return tuple(picture[int(y), int(x)].tolist())


def colours():
    return [tuple(c) for c in np.asarray(META['keypoint_colors']).tolist()]


@pytest.mark.parametrize('masks', [True, False])
def test_box_mask_and_skeleton(visualizer, masks):
    picture = draw(visualizer, persons(masks=masks))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    for (x, y), colour in zip(joints()[0], colours()):
        assert at(picture, x, y) == colour
    # Between the eyes: no other joint, but the limb of the two.
    link = META['skeleton_links'].index((LEFT_EYE, RIGHT_EYE))
    left, right = joints()[0, [LEFT_EYE, RIGHT_EYE]]
    limb = tuple(np.asarray(META['skeleton_link_colors'])[link].tolist())
    assert at(picture, *(left + right) / 2) == limb
    assert at(picture, 380, 100) != (BACKGROUND,) * 3  # the box
    inside = at(picture, 335, 195)
    assert (inside != (BACKGROUND,) * 3) == masks


def test_nothing_below_the_thresholds(visualizer):
    found = persons(scores=0.29)
    found.keypoint_scores[0, NOSE] = 0.3
    picture = draw(visualizer, found)
    drawn = [
        at(picture, x, y) == colour
        for (x, y), colour in zip(joints()[0], colours())
    ]
    assert drawn == [True] + [False] * 16

    visualizer.kpt_thr = 0.2
    assert at(draw(visualizer, found), *joints()[0, 16]) == colours()[16]
    found.scores[:] = 0.1  # the person, of which MMDet's threshold decides
    np.testing.assert_array_equal(draw(visualizer, found), image())
    picture = draw(visualizer, found, pred_score_thr=0.05)
    assert at(picture, *joints()[0, 16]) == colours()[16]


@pytest.mark.parametrize('masks', [True, False])
def test_nobody(visualizer, masks):
    picture = draw(visualizer, persons(0, masks=masks))
    np.testing.assert_array_equal(picture, image())


def test_without_keypoints(visualizer):
    found = persons()
    del found.keypoints, found.keypoint_scores
    picture = draw(visualizer, found)
    assert at(picture, *joints()[0, NOSE]) == (BACKGROUND,) * 3
    assert at(picture, 335, 195) != (BACKGROUND,) * 3


def test_ground_truth_beside_predictions(visualizer):
    """On the left, with the labelled joints only, seen or occluded."""
    visible = torch.full((1, 17), 2.0)
    visible[0, NOSE], visible[0, LEFT_WRIST] = 0, 1
    gt = InstanceData(
        bboxes=torch.tensor([[20.0, 30, 380, 220]]),
        labels=torch.zeros(1, dtype=torch.long),
        masks=BitmapMasks(np.zeros((1, HEIGHT, WIDTH), np.uint8), 240, 400),
        keypoints=joints(),
        keypoints_visible=visible,
    )
    visualizer.kpt_thr = -1
    picture = draw(visualizer, persons(), gt)
    assert picture.shape == (HEIGHT, 2 * WIDTH, 3)
    left, right = picture[:, :WIDTH], picture[:, WIDTH:]
    for k in range(17):
        assert (at(left, *joints()[0, k]) == colours()[k]) == (k != NOSE)
        assert at(right, *joints()[0, k]) == colours()[k]


def test_sizes_fit_the_picture(visualizer):
    """A joint is as large in a large picture as in a small one."""
    shares = []
    for factor in (2, 6):
        found = persons(masks=False)[:1]
        found.keypoints = factor * found.keypoints
        found.keypoint_scores = torch.eye(17)[NOSE][None]
        found.bboxes = torch.zeros(1, 4)
        shape = (factor * HEIGHT, factor * WIDTH, 3)
        empty = np.zeros(shape, np.uint8)
        sample = DetDataSample(pred_instances=found)
        visualizer.add_datasample('it', empty, sample, draw_gt=False)
        drawn = (visualizer.get_image() == colours()[NOSE]).all(-1)
        shares.append(drawn.mean())
    assert 0 < shares[0] < 0.01
    assert shares[1] == pytest.approx(shares[0], rel=0.3)


def test_by_the_hook_of_mim_test(visualizer, tmp_path):
    """``--show-dir`` sets ``draw`` and ``test_out_dir`` of MMDet's hook."""
    path = tmp_path / 'photo.png'
    cv2.imwrite(str(path), image())
    hook = DetVisualizationHook(draw=True, test_out_dir='drawn')
    assert hook._visualizer is visualizer
    runner = SimpleNamespace(work_dir=str(tmp_path), timestamp='now')
    sample = DetDataSample(
        pred_instances=persons(), metainfo=dict(img_path=str(path))
    )
    hook.after_test_iter(runner, 0, None, [sample])
    drawn = cv2.imread(str(tmp_path / 'now/drawn/photo.png'))[..., ::-1]
    # Beside the ground truth, of which there is none.
    np.testing.assert_array_equal(drawn[:, :WIDTH], image())
    x, y = joints()[0, LEFT_WRIST]
    assert at(drawn, WIDTH + x, y) == colours()[LEFT_WRIST]
