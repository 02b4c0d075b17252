from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmdet.datasets.transforms import RandomCrop, RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.registry import DefaultScope

from mmpose_ext.multitask import (
    CocoPersonDataset,
    FilterMultiTask,
    LoadMultiTaskAnnotations,
    PackMultiTaskInputs,
    WarpKeypoints,
)

COCO_MINI = Path(__file__).parents[3] / 'shared/data/coco_mini'
FLIP = CocoPersonDataset.METAINFO['flip_indices']
SWAP = [0, 2, 1]
SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def make_results(keypoints, height=60, width=80, flip_indices=SWAP):
    """An image with the keypoints (N, K, 3) of its persons, no boxes."""
    return dict(
        img=np.zeros((height, width, 3), np.uint8),
        img_shape=(height, width),
        gt_keypoints=np.array(keypoints, np.float32),
        flip_indices=flip_indices,
    )


def flip(direction):
    return RandomFlip(prob=1.0, direction=direction)


# -- Loading -----------------------------------------------------------------


def instance(keypoints, mask=SQUARE, ignore_flag=0, bbox=(10, 10, 20, 20)):
    return dict(
        bbox=list(bbox),
        bbox_label=0,
        ignore_flag=ignore_flag,
        mask=mask,
        keypoints=keypoints,
    )


def load(instances, flip_indices=SWAP, **kwargs):
    transform = LoadMultiTaskAnnotations(**kwargs)
    return transform(
        dict(
            instances=instances,
            flip_indices=flip_indices,
            ori_shape=(60, 80),
            img_shape=(60, 80),
        )
    )


def test_loading_adds_half_a_pixel():
    joints = [[0, 0, 0], [79, 59, 1], [3.25, 7, 2]]
    results = load([instance(joints), instance([[0, 0, 0]] * 3)])
    keypoints = results['gt_keypoints']
    assert keypoints.shape == (2, 3, 3) and keypoints.dtype == np.float32
    expected = [[0.5, 0.5, 0], [79.5, 59.5, 1], [3.75, 7.5, 2]]
    assert keypoints[0].tolist() == expected
    assert joints[1] == [79, 59, 1]
    assert results['gt_bboxes'].tensor.tolist() == [[10, 10, 20, 20]] * 2
    assert (results['keypoints_homography'] == np.eye(3)).all()


@pytest.mark.parametrize('flip_indices', [SWAP, FLIP])
def test_loading_nobody(flip_indices):
    results = load([], flip_indices, with_mask=True)
    assert results['gt_keypoints'].shape == (0, len(flip_indices), 3)
    assert results['gt_keypoints'].dtype == np.float32
    assert len(results['gt_masks']) == len(results['gt_bboxes']) == 0


def test_loading_an_empty_mask_keeps_the_person():
    empty = dict(size=[60, 80], counts=[4800])
    joints = [[1, 2, 2]] * 3
    results = load(
        [instance(joints), instance(joints, mask=empty)], with_mask=True
    )
    assert results['gt_masks'].areas.tolist() == [100, 0]
    assert not results['gt_ignore_flags'].any()


def test_loading_without_keypoints():
    assert 'gt_keypoints' not in load([], with_keypoints=False)
    other = instance([[1, 2, 2]] * 3)
    del other['keypoints']
    with pytest.raises(ValueError, match='CocoPersonDataset'):
        load([other])
    with pytest.raises(ValueError, match='CocoPersonDataset'):
        LoadMultiTaskAnnotations()(dict(instances=[], ori_shape=(60, 80)))
    assert len(load([other], with_keypoints=False)['gt_bboxes']) == 1


# -- Geometry ----------------------------------------------------------------


def test_resize_and_flip_by_hand():
    """80x60 to 160x180, then mirrored: x' = 160 - 2x, y' = 3y."""
    results = make_results([[[0.5, 0.5, 1], [10, 20, 2], [79.5, 59.5, 0]]])
    steps = [Resize(scale=(160, 180)), flip('horizontal'), WarpKeypoints()]
    after = Compose(steps)(results)['gt_keypoints']
    # Left and right, 1 and 2, change places with their flags.
    assert after.tolist() == [[[159, 1.5, 1], [1, 178.5, 0], [140, 60, 2]]]
    assert after.dtype == np.float32


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [
        ('horizontal', [[79, 2, 2], [75, 6, 1], [77, 4, 0]]),
        ('vertical', [[1, 58, 2], [5, 54, 1], [3, 56, 0]]),
        # A turn by half, not a mirror: left stays left.
        ('diagonal', [[79, 58, 2], [77, 56, 0], [75, 54, 1]]),
    ],
)
def test_a_mirror_swaps_sides(direction, expected):
    results = make_results([[[1, 2, 2], [3, 4, 0], [5, 6, 1]]])
    after = Compose([flip(direction), WarpKeypoints()])(results)
    assert after['gt_keypoints'].tolist() == [expected]


def test_without_geometry_nothing_changes():
    results = make_results([[[1, 2, 2], [3, 4, 0], [5, 6, 1]]])
    before = results['gt_keypoints']
    after = WarpKeypoints()(results)['gt_keypoints']
    assert np.array_equal(after, before) and after is not before


def test_nobody_is_warped():
    results = make_results(np.zeros((0, 3, 3)))
    after = Compose([flip('horizontal'), WarpKeypoints()])(results)
    assert after['gt_keypoints'].shape == (0, 3, 3)


def test_a_perspective_is_divided_by_its_scale():
    results = make_results([[[10, 20, 2]] * 3])
    results['homography_matrix'] = np.diag([2.0, 2.0, 4.0])
    after = WarpKeypoints()(results)['gt_keypoints']
    assert after[0, 0].tolist() == [5, 10, 2]


@pytest.mark.parametrize('scale', [(80, 60), (53, 47), (333, 800)])
@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_outside_is_unlabelled_and_the_edge_is_inside(scale, direction):
    edge = [[0, 0, 2], [80, 60, 1], [80, 0, 2], [0, 60, 2], [40, 60, 1]]
    out = [[-0.1, 5, 2], [5, -0.1, 2], [80.1, 5, 1], [5, 60.1, 1], [-9, 90, 2]]
    results = make_results([edge, out], flip_indices=[*range(5)])
    steps = [Resize(scale=scale), flip(direction), WarpKeypoints()]
    after = Compose(steps)(results)['gt_keypoints']
    assert after[0, :, 2].tolist() == [2, 1, 2, 2, 1]
    assert after[1, :, 2].tolist() == [0] * 5


def draw_keypoints(width, height):
    """Keypoints of 0 to 3 persons within an image."""
    numbers = st.integers(0, 3), st.integers(0, 2**31)

    def build(args):
        number, seed = args
        rng = np.random.default_rng(seed)
        xy = rng.uniform(0, (width, height), (number, 17, 2))
        return np.dstack([xy, rng.integers(0, 3, (number, 17))])

    return st.tuples(*numbers).map(build)


sizes = st.tuples(st.integers(8, 120), st.integers(8, 120))
directions = st.sampled_from(['horizontal', 'vertical', 'diagonal'])
steps_ = st.one_of(
    st.tuples(st.just('resize'), sizes, st.booleans()),
    st.tuples(st.just('choice'), st.lists(sizes, min_size=1, max_size=3)),
    st.tuples(st.just('flip'), directions),
    st.tuples(st.just('crop'), sizes, st.floats(0, 1), st.floats(0, 1)),
)


def follow(step, results, points):
    """Apply a step, and to points (N, 17, 2) what it does to the image.

    Returns the results, and the points explicitly resized, flipped, cropped.
    """
    name, *args = step
    height, width = results['img'].shape[:2]
    if name in ('resize', 'choice'):
        if name == 'resize':
            transform = Resize(scale=args[0], keep_ratio=args[1])
        else:
            cfg = dict(type='RandomChoiceResize', scales=args[0])
            transform = TRANSFORMS.build(dict(cfg, keep_ratio=True))
        results = transform(results)
        new = results['img'].shape[1::-1]
        return results, points * new / (width, height)
    if name == 'flip':
        results = flip(args[0])(results)
        x, y = points[..., 0], points[..., 1]
        if args[0] != 'vertical':
            x = width - x
        if args[0] != 'horizontal':
            y = height - y
        points = np.stack([x, y], -1)
        return results, points if args[0] == 'diagonal' else points[:, FLIP]
    size, *parts = args
    room = np.maximum((height - size[1], width - size[0]), 0)
    corner = (room * parts).astype(int)
    transform = RandomCrop(size)
    transform._rand_offset = lambda margin: tuple(corner)
    return transform(results), points - corner[::-1]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(steps_, max_size=5),
    keypoints=draw_keypoints(70, 50),
    seed=st.integers(0, 2**31),
)
def test_warping_is_explicit_resizing_flipping_and_cropping(
    steps, keypoints, seed
):
    np.random.seed(seed)
    results = make_results(keypoints, 50, 70, FLIP)
    points, visible = keypoints[..., :2], keypoints[..., 2]
    for step in steps:
        results, points = follow(step, results, points)
    mirrors = [s for s in steps if s[0] == 'flip' and s[1] != 'diagonal']
    visible = visible[:, FLIP] if len(mirrors) % 2 else visible
    after = WarpKeypoints()(results)['gt_keypoints']
    assert np.allclose(after[..., :2], points, atol=1e-3)
    height, width = results['img'].shape[:2]
    margin = np.minimum(points, (width, height) - points).min(-1)
    sure = abs(margin) > 0.01
    expected = np.where(margin > 0, visible, 0)
    assert np.array_equal(after[..., 2][sure], expected[sure])


@given(keypoints=draw_keypoints(80, 60), direction=directions)
def test_two_flips_change_nothing(keypoints, direction):
    results = make_results(keypoints, flip_indices=FLIP)
    both = Compose([flip(direction), flip(direction), WarpKeypoints()])
    each = Compose([flip(direction), WarpKeypoints()] * 2)
    for steps in (both, each):
        after = steps(dict(results, img=results['img'].copy()))
        torch.testing.assert_close(
            after['gt_keypoints'], results['gt_keypoints']
        )


@given(steps=st.lists(steps_, min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_warping_between_and_again_changes_nothing(steps):
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 50, (2, 17, 3))
    results = {}
    for often in (False, True):
        after = make_results(keypoints, 50, 70, FLIP)
        np.random.seed(0)
        for step in steps:
            after, _ = follow(step, after, np.zeros((0, 17, 2)))
            if often:
                after = WarpKeypoints()(WarpKeypoints()(after))
        results[often] = WarpKeypoints()(after)['gt_keypoints']
    torch.testing.assert_close(
        results[True][..., :2], results[False][..., :2], atol=1e-3, rtol=1e-4
    )


@pytest.mark.parametrize('scale', [0.5, 1.0, 1.7, 3.0])
@pytest.mark.parametrize('mirror', [False, True])
def test_a_drawn_dot_lands_on_its_joint(scale, mirror):
    """The centre of a blob, in the image, is where the keypoint is."""
    pixel = np.array([[31, 22], [50, 40], [12, 45]])  # x, y as COCO has them
    joints = np.dstack([pixel[None], np.full((1, 3, 1), 2)]).tolist()
    results = load([instance(joints[0])])
    results['img'] = np.zeros((60, 80, 3), np.uint8)
    for channel, (x, y) in enumerate(pixel):
        results['img'][y - 1 : y + 2, x - 1 : x + 2, channel] = 250
    steps = [Resize(scale_factor=scale), WarpKeypoints()]
    if mirror:
        steps.insert(1, flip('horizontal'))
    results = Compose(steps)(results)
    weight = results['img'].astype(float)
    rows, columns = np.indices(weight.shape[:2]) + 0.5
    total = weight.sum((0, 1))
    found = np.stack(
        [
            (weight * columns[..., None]).sum((0, 1)) / total,
            (weight * rows[..., None]).sum((0, 1)) / total,
        ],
        -1,
    )
    # The channel of the image does not know of left and right.
    found = found[SWAP] if mirror else found
    assert np.allclose(results['gt_keypoints'][0, :, :2], found, atol=0.1)


# -- Filtering ---------------------------------------------------------------


def make_persons(boxes, masks=BitmapMasks):
    """Annotations in which person i is told by its number everywhere."""
    n = len(boxes)
    number = np.arange(n)
    if masks is BitmapMasks:
        bitmaps = np.zeros((n, 6, 8), np.uint8)
        bitmaps[number, 0, number] = 1
        gt_masks = BitmapMasks(bitmaps, 6, 8)
    else:
        corners = np.array([0, 0, 1, 0, 0, 1.0])
        gt_masks = PolygonMasks([[corners + i] for i in number], 6, 8)
    keypoints = np.zeros((n, 3, 3), np.float32)
    keypoints[..., 0] = number[:, None]
    return dict(
        img=np.zeros((6, 8, 3), np.uint8),
        img_shape=(6, 8),
        gt_bboxes=HorizontalBoxes(np.reshape(boxes, (-1, 4)).astype('f4')),
        gt_bboxes_labels=number,
        gt_ignore_flags=number % 2 == 1,
        gt_masks=gt_masks,
        gt_keypoints=keypoints,
    )


BOXES = [
    (0, 0, 5, 5),
    (0, 0, 0.9, 5),
    (1, 1, 2, 2),
    (0, 3, 5, 3),
    (2, 0, 4, 1.5),
    (4, 4, 3, 3),
]


@pytest.mark.parametrize('masks', [BitmapMasks, PolygonMasks])
@pytest.mark.parametrize(
    ('min_size', 'kept'), [(1.0, [0, 2, 4]), (1.2, [0, 4]), (9, [])]
)
def test_filter_drops_the_same_persons_everywhere(masks, min_size, kept):
    results = make_persons(BOXES, masks)
    after = FilterMultiTask(min_size)(results)
    assert after['gt_bboxes'].tensor.tolist() == [list(BOXES[i]) for i in kept]
    assert after['gt_bboxes_labels'].tolist() == kept
    assert after['gt_ignore_flags'].tolist() == [i % 2 == 1 for i in kept]
    assert after['gt_keypoints'][:, 0, 0].tolist() == kept
    assert len(after['gt_masks']) == len(kept)
    expected = make_persons(BOXES, masks)['gt_masks'][np.array(kept, int)]
    assert np.array_equal(
        after['gt_masks'].to_ndarray(), expected.to_ndarray()
    )


def test_filter_of_nobody_and_of_arrays():
    results = FilterMultiTask()(make_persons([]))
    assert len(results['gt_bboxes']) == len(results['gt_masks']) == 0
    results = make_persons(BOXES)
    results['gt_bboxes'] = results['gt_bboxes'].numpy()
    del results['gt_masks'], results['gt_keypoints']
    after = FilterMultiTask()(results)
    assert isinstance(after['gt_bboxes'], np.ndarray)
    assert after['gt_bboxes_labels'].tolist() == [0, 2, 4]


@pytest.mark.parametrize('min_size', [0, -1, float('nan')])
def test_filter_wants_a_positive_size(min_size):
    with pytest.raises(ValueError, match=f'min_size .* {min_size}'):
        FilterMultiTask(min_size)


# -- Packing -----------------------------------------------------------------


def test_packing_splits_off_the_crowds():
    sample = PackMultiTaskInputs()(make_persons(BOXES[:3]))['data_samples']
    for instances, numbers in [
        (sample.gt_instances, [0, 2]),
        (sample.ignored_instances, [1]),
    ]:
        n = len(numbers)
        assert instances.labels.tolist() == numbers
        assert len(instances.masks) == len(instances.bboxes) == n
        assert instances.keypoints.shape == (n, 3, 2)
        assert instances.keypoints[:, 0, 0].tolist() == numbers
        assert instances.keypoints_visible.shape == (n, 3)
        assert instances.keypoints.dtype == torch.float32
        assert instances.keypoints_visible.dtype == torch.float32


def test_packing_flags_and_nobody():
    results = make_persons(BOXES[:1])
    results['gt_keypoints'][0, :, 2] = [0, 1, 2]
    sample = PackMultiTaskInputs()(results)['data_samples']
    assert sample.gt_instances.keypoints_visible.tolist() == [[0, 1, 2]]
    assert sample.ignored_instances.keypoints.shape == (0, 3, 2)

    packed = PackMultiTaskInputs()(make_persons([]))
    instances = packed['data_samples'].gt_instances
    assert instances.keypoints.shape == (0, 3, 2)
    assert instances.keypoints_visible.shape == (0, 3)
    assert packed['inputs'].shape == (3, 6, 8)


def test_packing_without_keypoints_is_mmdets():
    results = make_persons(BOXES)
    del results['gt_keypoints']
    sample = PackMultiTaskInputs(meta_keys=('img_shape',))(results)
    instances = sample['data_samples'].gt_instances
    assert sorted(instances.keys()) == ['bboxes', 'labels', 'masks']
    assert sample['data_samples'].metainfo == dict(img_shape=(6, 8))


@pytest.mark.parametrize(
    'key', ['gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_keypoints']
)
@pytest.mark.parametrize('transform', [PackMultiTaskInputs, FilterMultiTask])
def test_other_numbers_of_persons_raise(key, transform):
    results = make_persons(BOXES)
    results[key] = results[key][np.array([0, 2])]
    with pytest.raises(ValueError, match=f'2 {key}'):
        transform()(results)


def test_persons_lost_in_a_crop_raise():
    joints = [[12, 12, 2]] * 3
    results = load(
        [instance(joints), instance(joints, bbox=(60, 40, 70, 50))],
        with_mask=True,
    )
    results['img'] = np.zeros((60, 80, 3), np.uint8)
    crop = RandomCrop((30, 30))
    crop._rand_offset = lambda margin: (0, 0)
    results = WarpKeypoints()(crop(results))
    assert len(results['gt_bboxes']) == 1
    with pytest.raises(ValueError, match=r'1 gt_bboxes.* 2 gt_keypoints'):
        PackMultiTaskInputs()(results)


def test_stale_keypoints_raise():
    warp, pack = WarpKeypoints(), PackMultiTaskInputs()
    resize = Resize(scale_factor=2.0)

    def run(*steps):
        results = make_persons(BOXES)
        results['flip_indices'] = SWAP
        return Compose(steps)(results)

    for steps in ([resize, pack], [resize, warp, flip('vertical'), pack]):
        with pytest.raises(ValueError, match='WarpKeypoints'):
            run(*steps)
    run(resize, flip('vertical'), warp, pack)


def test_loaded_behind_a_resize_as_in_mmdets_test_pipelines():
    results = dict(
        img=np.zeros((60, 80, 3), np.uint8),
        ori_shape=(60, 80),
        instances=[instance([[30, 20, 2]] * 3)],
        flip_indices=SWAP,
    )
    steps = [
        Resize(scale_factor=2.0),
        LoadMultiTaskAnnotations(),
        PackMultiTaskInputs(),
    ]
    instances = Compose(steps)(results)['data_samples'].gt_instances
    assert instances.keypoints[0, 0].tolist() == [30.5, 20.5]
    assert instances.bboxes.tensor.tolist() == [[10, 10, 20, 20]]


def test_repr():
    assert 'with_keypoints=True)' in repr(LoadMultiTaskAnnotations())
    assert 'with_mask=True' in repr(LoadMultiTaskAnnotations(with_mask=True))
    assert repr(WarpKeypoints()) == 'WarpKeypoints()'
    assert repr(FilterMultiTask(2)) == 'FilterMultiTask(min_size=2)'
    assert repr(PackMultiTaskInputs()).startswith('PackMultiTaskInputs(')


# -- The whole pipeline ------------------------------------------------------

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMultiTaskAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(200, 150), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='WarpKeypoints'),
    dict(type='FilterMultiTask'),
    dict(type='PackMultiTaskInputs'),
]


def check_agreement(dataset):
    """Boxes, masks and visible joints of the packed persons fit together.

    Returns how many persons and joints there were.
    """
    people = joints = inside = overlap = 0
    flips = set()
    for i in range(len(dataset)):
        packed = dataset[i]
        sample = packed['data_samples']
        flips.add(sample.flip)
        height, width = sample.img_shape
        assert packed['inputs'].shape == (3, height, width)
        both = (sample.gt_instances, sample.ignored_instances)
        count = len(dataset.get_data_info(i)['instances'])
        assert sum(map(len, both)) <= count
        assert not sample.ignored_instances.keypoints_visible.any()
        people += len(sample.gt_instances)
        for person in sample.gt_instances:
            x1, y1, x2, y2 = person.bboxes.tensor[0].tolist()
            visible = person.keypoints[0][person.keypoints_visible[0] == 2]
            visible = visible.numpy()
            assert (visible >= 0).all()
            assert (visible <= (width, height)).all()
            joints += len(visible)
            mask = person.masks.masks[0]
            x, y = np.minimum(visible, (width - 1, height - 1)).astype(int).T
            inside += mask[y, x].sum()
            rows, columns = np.nonzero(mask)
            if len(rows):
                box = [
                    columns.min(),
                    rows.min(),
                    columns.max() + 1,
                    rows.max() + 1,
                ]
                overlap += np.allclose(box, [x1, y1, x2, y2], atol=2.5)
    assert flips == {False, True}
    assert inside > 0.8 * joints
    assert overlap > 0.9 * people
    return people, joints


def test_toy_persons_fit_together(toy_persons):
    np.random.seed(0)
    dataset = CocoPersonDataset(
        data_root=str(toy_persons),
        ann_file='annotations/person_keypoints_train.json',
        data_prefix=dict(img='train/'),
        pipeline=PIPELINE,
    )
    people, joints = check_agreement(dataset)
    assert people > 12 and joints > 100


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason='no COCO images')
def test_coco_persons_fit_together():
    np.random.seed(0)
    dataset = CocoPersonDataset(
        data_root=str(COCO_MINI),
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        filter_cfg=dict(min_keypoints=1),
        pipeline=PIPELINE,
    )
    people, joints = check_agreement(dataset)
    assert people > 80 and joints > 500
