"""Non-maximum suppression of poses."""

from typing import Optional

import numpy as np
from mmengine.structures import InstanceData
from mmpose.evaluation.functional import oks_nms
from mmpose.utils.typing import ConfigType

from ...arguments import non_negative_int, positive, positive_int


def nearby_pose_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    dist_thr: float = 0.05,
    num_joints_thr: Optional[int] = None,
    max_instances: int = 30,
) -> np.ndarray:
    """Keep the best of the poses that have many joints at the same places.

    As in the testing of `Learning Local-Global Contextual Adaptation for
    Multi-Person Pose Estimation <https://arxiv.org/abs/2109.03622>`_
    (LOGO-CAP), whose paper does not describe it. Pose j matches pose i if
    more than ``num_joints_thr`` joints of the two are closer together than
    ``dist_thr`` times the diagonal of the box around i's joints; i always
    matches itself. So a small pose may match a large one that does not match
    it.

    The poses are visited in their given order. One that has been suppressed
    is skipped. Else, the best-scoring one of its matches is kept and all of
    them (the kept one included) are suppressed; but if that best one has been
    suppressed already, nothing happens. Among equal scores, the first one is
    the best.

    MMPose's ``nearby_joints_nms`` does the same, but visits the poses by
    their scores; the order here is that of the scores of their centres, from
    which the scores of the poses may differ.

    Args:
        keypoints (np.ndarray): Joints (N, K, 2) of N poses, by the scores of
            their centres in descending order. In any unit.
        scores (np.ndarray): Scores (N,) of the poses.
        dist_thr (float): At which distance joints are no longer close, as a
            fraction of the diagonal. Defaults to 0.05.
        num_joints_thr (int, optional): How many close joints are not yet a
            match. Defaults to ``None``, which is ``K // 2``.
        max_instances (int): How many poses are kept at most, which are those
            of the best scores. Defaults to 30.

    Returns:
        np.ndarray: Indices of the kept poses, int, in the order in which
        they were kept.

    Raises:
        ValueError: If the shapes do not fit or a number is out of its range.
    """
    keypoints, scores = np.asarray(keypoints), np.asarray(scores)
    if keypoints.ndim != 3 or scores.shape != keypoints.shape[:1]:
        raise ValueError(
            'expected keypoints (N, K, 2) and scores (N,), got '
            f'{keypoints.shape} and {scores.shape}'
        )
    num_joints = keypoints.shape[1]
    if num_joints_thr is None:
        num_joints_thr = num_joints // 2
    non_negative_int('num_joints_thr', num_joints_thr)
    if num_joints_thr >= num_joints:
        raise ValueError(
            f'num_joints_thr must be in [0, {num_joints}) for {num_joints} '
            f'joints, got {num_joints_thr}'
        )
    positive('dist_thr', dist_thr)
    positive_int('max_instances', max_instances)

    diagonals = np.linalg.norm(np.ptp(keypoints, axis=1), axis=-1)
    distances = np.linalg.norm(keypoints[:, None] - keypoints, axis=-1)
    close = distances < dist_thr * diagonals[:, None, None]
    matches = close.sum(-1) > num_joints_thr
    # Also that of no extent, all whose distances are 0.
    np.fill_diagonal(matches, True)

    kept = []
    suppressed = np.zeros(len(scores), bool)
    # What a pose does depends on all before it, hence one after another.
    for i, matching in enumerate(matches):
        if suppressed[i]:
            continue
        best = np.where(matching, scores, -np.inf).argmax()
        if not suppressed[best]:
            kept.append(best)
            suppressed |= matching
    kept = np.array(kept, dtype=int)
    ranked = np.argsort(-scores[kept], kind='stable')
    return kept[np.sort(ranked[:max_instances])]


def suppress_poses(
    poses: InstanceData, test_cfg: ConfigType, sigmas: np.ndarray
) -> InstanceData:
    """Keep what the NMS of a bottom-up head's test config leaves.

    ``nms_dist_thr``, with ``nms_joints_thr``, asks for
    :func:`nearby_pose_nms`, ``nms_oks_thr`` for MMPose's OKS NMS by the
    sigmas (K,); ``max_num_people`` are left at most, 30 if missing. Without
    an NMS, all are. The poses come by falling score of their centres.
    """
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
