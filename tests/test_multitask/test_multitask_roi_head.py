import copy

import pytest
import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from mmpose_ext.multitask import MultiTaskRoIHead
from mmpose_ext.multitask.keypoint_heatmaps import gaussian_heatmaps

HEIGHT, WIDTH = 96, 128
KEYPOINTS_ONLY = 'keypoint-rcnn-rbh_r50-dcn_fpn-c3c5_4xb3-90k_coco'
LOSSES = {
    'loss_rpn_cls',
    'loss_rpn_bbox',
    'loss_cls',
    'loss_bbox',
    'loss_mask',
    'loss_keypoint',
}


def image(number=1):
    torch.manual_seed(3)
    return torch.randn(number, 3, HEIGHT, WIDTH) * 50


def total(losses):
    return sum(
        value if isinstance(value, torch.Tensor) else sum(value)
        for key, value in losses.items()
        if 'loss' in key
    )


def proposals_of(boxes):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.ones(len(boxes)),
        labels=torch.zeros(len(boxes), dtype=torch.long),
    )


def assert_all_have_gradients(module):
    for name, p in module.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


def no_person(sample):
    sample.gt_instances = sample.gt_instances[:0]


def no_keypoints(sample):
    sample.gt_instances.keypoints_visible[:] = 0


def some_without_keypoints(sample):
    sample.gt_instances.keypoints_visible[0] = 0


def all_joints_outside(sample):
    sample.gt_instances.keypoints += 500


def no_masks(sample):
    sample.gt_instances.masks.masks[:] = 0


def some_without_masks(sample):
    sample.gt_instances.masks.masks[0] = 0


def crowd_only(sample):
    crowd = sample.gt_instances
    sample.ignored_instances = InstanceData(
        bboxes=crowd.bboxes, labels=crowd.labels
    )
    sample.gt_instances = crowd[:0]


CASES = [
    no_person,
    no_keypoints,
    some_without_keypoints,
    all_joints_outside,
    no_masks,
    some_without_masks,
    crowd_only,
]
ZERO_KEYPOINT_LOSS = {no_person, no_keypoints, all_joints_outside, crowd_only}
ZERO_MASK_LOSS = {no_person, no_masks, crowd_only}


@pytest.mark.parametrize('spoil', [None, *CASES])
def test_every_parameter_learns_from_every_batch(
    spoil, make_model, make_sample
):
    """Or gets a gradient of 0, so that distributed training goes on."""
    model = make_model().train()
    sample = make_sample(3)
    if spoil:
        spoil(sample)
    losses = model.loss(image(), [sample])
    assert LOSSES.issubset(losses)
    loss = total(losses)
    assert loss.isfinite()
    assert (losses['loss_keypoint'] == 0) == (spoil in ZERO_KEYPOINT_LOSS)
    assert (losses['loss_mask'] == 0) == (spoil in ZERO_MASK_LOSS)
    loss.backward()
    assert_all_have_gradients(model)


def test_a_batch_of_persons_and_none(make_model, make_sample):
    model = make_model().train()
    losses = model.loss(image(2), [make_sample(2), make_sample(0)])
    total(losses).backward()
    assert losses['loss_keypoint'] > 0
    assert_all_have_gradients(model)


@pytest.mark.parametrize('number', [0, 2])
def test_no_proposals_at_all(number, make_model, make_sample):
    """Without persons, there is no RoI; with some, their boxes are RoIs."""
    model = make_model().train()
    feats = model.extract_feat(image())
    losses = model.roi_head.loss(
        feats, [proposals_of([])], [make_sample(number)]
    )
    total(losses).backward()
    assert (total(losses) == 0) == (number == 0)
    assert_all_have_gradients(model.roi_head)


def test_rois_without_area(make_model, make_sample):
    model = make_model().train()
    feats = model.extract_feat(image())
    flat = [[10, 10, 10, 30], [20, 20, 40, 20], [5, 5, 5, 5]]
    losses = model.roi_head.loss(feats, [proposals_of(flat)], [make_sample(2)])
    assert total(losses).isfinite()
    total(losses).backward()
    assert_all_have_gradients(model.roi_head)


def sampled(sample, boxes, assigned):
    """RoIs of which each is assigned to a person of an image."""
    result = copy.copy(SamplingResult.random(rng=0))
    result.pos_priors = torch.tensor(boxes, dtype=torch.float32)
    result.pos_assigned_gt_inds = torch.tensor(assigned)
    result.pos_gt_labels = torch.zeros(len(assigned), dtype=torch.long)
    return result


def test_only_rois_with_a_labelled_joint_inside_are_used(
    make_model, make_sample, monkeypatch
):
    model = make_model().eval()
    sample = make_sample(3)
    gt = sample.gt_instances
    gt.keypoints_visible[1] = 0
    far = [80.0, 50.0, 90.0, 60.0]
    boxes = [gt.bboxes[0].tolist(), gt.bboxes[1].tolist(), far]
    result = sampled(sample, boxes, [0, 1, 2])
    used = []
    head = model.roi_head.keypoint_head
    loss = head.loss
    monkeypatch.setattr(
        head, 'loss', lambda *args: used.append(args) or loss(*args)
    )
    feats = model.extract_feat(image())
    model.roi_head.keypoint_loss(feats, [result], [gt])
    ((heatmaps, rois, keypoints, visible),) = used
    assert len(heatmaps) == 1
    assert torch.equal(rois, gt.bboxes[:1])
    assert torch.equal(keypoints, gt.keypoints[:1])
    assert torch.equal(visible, gt.keypoints_visible[:1])


def test_persons_are_not_mixed_up_between_images(
    make_model, make_sample, monkeypatch
):
    model = make_model().eval()
    samples = [make_sample(2, seed=1), make_sample(3, seed=2)]
    gts = [s.gt_instances for s in samples]
    results = [
        sampled(samples[0], gts[0].bboxes[[1, 0]].tolist(), [1, 0]),
        sampled(samples[1], gts[1].bboxes[[2]].tolist(), [2]),
    ]
    used = []
    monkeypatch.setattr(
        model.roi_head.keypoint_head,
        'loss',
        lambda *args: used.append(args) or {},
    )
    feats = model.extract_feat(image(2))
    model.roi_head.keypoint_loss(feats, results, gts)
    expected = torch.cat([gts[0].keypoints[[1, 0]], gts[1].keypoints[[2]]])
    assert torch.equal(used[0][2], expected)


def test_mask_loss_leaves_persons_without_mask_out(make_model, make_sample):
    """The same loss as if their RoIs were not there."""
    model = make_model().eval()
    gt = make_sample(3).gt_instances
    gt.masks.masks[1] = 0
    feats = model.extract_feat(image())
    head = model.roi_head

    def loss(persons):
        boxes = gt.bboxes[persons].tolist()
        result = sampled(None, boxes, persons)
        found = head.mask_loss(feats, [result], None, [gt])
        return found['loss_mask']['loss_mask']

    torch.testing.assert_close(loss([0, 1, 2]), loss([0, 2]))


def predict(model, samples, images=None, rescale=True, boxes=None):
    images = image(len(samples)) if images is None else images
    with torch.no_grad():
        feats = model.extract_feat(images)
        boxes = boxes or [[[5, 5, 40, 60], [30, 10, 90, 50]]] * len(samples)
        return model.roi_head.predict(
            feats, [proposals_of(b) for b in boxes], samples, rescale=rescale
        )


@pytest.fixture
def model(make_model):
    model = make_model().eval()
    # Boxes at their proposals, all of them persons, whatever they show.
    torch.nn.init.zeros_(model.roi_head.bbox_head.fc_reg.weight)
    torch.nn.init.zeros_(model.roi_head.bbox_head.fc_cls.weight)
    model.roi_head.bbox_head.fc_cls.bias.data[:] = torch.tensor([3.0, 0.0])
    return model


def test_keypoints_are_in_pixels_of_the_original_image(
    model, make_sample, monkeypatch
):
    """The peak of every heatmap in the middle of its RoI."""
    head = model.roi_head.keypoint_head

    def middle(feats):
        cells = torch.full((len(feats), 17, 2), 27.5)
        return gaussian_heatmaps(cells, torch.ones(len(feats), 17) > 0, 56)

    monkeypatch.setattr(head, 'forward', middle)
    sample = make_sample(0, scale_factor=(0.5, 0.25))
    (result,) = predict(model, [sample], rescale=True)
    assert len(result) == 2
    boxes = sorted(result.bboxes.tolist())
    assert boxes == [[10, 20, 80, 240], [60, 40, 180, 200]]
    centres = (result.bboxes[:, :2] + result.bboxes[:, 2:]) / 2
    torch.testing.assert_close(
        result.keypoints, centres[:, None].expand(-1, 17, -1)
    )
    assert result.keypoint_scores.shape == (2, 17)
    assert result.masks.shape == (2, HEIGHT * 4, WIDTH * 2)

    (result,) = predict(model, [sample], rescale=False)
    centres = (result.bboxes[:, :2] + result.bboxes[:, 2:]) / 2
    assert sorted(result.bboxes.tolist())[0] == [5, 5, 40, 60]
    torch.testing.assert_close(
        result.keypoints, centres[:, None].expand(-1, 17, -1)
    )


def test_raw_heatmaps_are_those_of_the_first_100_rois(model):
    torch.manual_seed(0)
    start = torch.rand(103, 2) * 40
    boxes = torch.cat([start, start + 10 + torch.rand(103, 2) * 40], dim=1)
    with torch.no_grad():
        feats = model.extract_feat(image())
        *_, masks, found = model.roi_head.forward(
            feats, [proposals_of(boxes.tolist())]
        )
        rois = torch.cat([torch.zeros(103, 1), boxes], dim=1)
        expected = model.roi_head._keypoint_forward(feats, rois)
    assert len(masks) == len(found) == 100
    torch.testing.assert_close(found, expected[:100])


@pytest.mark.parametrize('rescale', [True, False])
def test_boxes_and_keypoints_are_the_same_without_masks(
    model, make_model, make_sample, rescale
):
    alone = make_model(KEYPOINTS_ONLY).eval()
    weights = model.state_dict()
    alone.load_state_dict(
        {k: v for k, v in weights.items() if 'mask_head' not in k}
    )
    sample = make_sample(0, scale_factor=(0.5, 0.25))
    (both,) = predict(model, [sample], rescale=rescale)
    (one,) = predict(alone, [sample], rescale=rescale)
    assert 'masks' in both and 'masks' not in one
    for key in ('bboxes', 'scores', 'labels', 'keypoints', 'keypoint_scores'):
        torch.testing.assert_close(both[key], one[key])


@pytest.mark.parametrize('name', [None, KEYPOINTS_ONLY])
@pytest.mark.parametrize(
    'boxes, threshold', [([], 0.05), ([[9, 9, 9, 30]], 0.05), (None, 1.1)]
)
def test_nothing_found(name, boxes, threshold, make_model, make_sample):
    """No proposals, one without area, or no score that is high enough."""
    model = make_model(*([name] if name else [])).eval()
    model.roi_head.test_cfg.score_thr = threshold
    given = None if boxes is None else [boxes]
    (result,) = predict(model, [make_sample(0)], boxes=given)
    number = len(result.bboxes)
    assert number == 0 or boxes
    assert result.keypoints.shape == (number, 17, 2)
    assert result.keypoint_scores.shape == (number, 17)
    assert result.keypoints.isfinite().all()
    if name is None:
        assert result.masks.shape == (number, HEIGHT, WIDTH)


def test_one_image_of_a_batch_without_proposals(model, make_sample):
    boxes = [[], [[5, 5, 40, 60]]]
    none, one = predict(model, [make_sample(0)] * 2, boxes=boxes)
    assert none.keypoints.shape == (0, 17, 2)
    assert one.keypoints.shape == (1, 17, 2)


def test_results_do_not_depend_on_the_batch(make_model):
    """Of the keypoints, in double precision, which MMDet's NMS cannot."""
    model = make_model().double().eval()
    for name, weights in model.named_parameters():
        if 'offset' in name:
            torch.nn.init.normal_(weights, std=0.05)
    images, meta = image(3).double(), dict(scale_factor=(0.5, 0.25))
    boxes = torch.rand(3, 4, 4, dtype=torch.float64) * 40
    boxes[..., 2:] += 45

    def keypoints_of(part):
        results = [InstanceData(bboxes=b) for b in boxes[part]]
        with torch.no_grad():
            model.roi_head.predict_keypoints(
                model.extract_feat(images[part]),
                [meta] * len(results),
                results,
                rescale=True,
            )
        return results

    together = keypoints_of(slice(0, 3))
    for i in range(3):
        (alone,) = keypoints_of(slice(i, i + 1))
        for key in ('keypoints', 'keypoint_scores'):
            torch.testing.assert_close(alone[key], together[i][key])


def test_samples_without_keypoints_are_named(make_model, make_sample):
    model = make_model().train()
    sample = make_sample(2)
    del sample.gt_instances.keypoints
    with pytest.raises(ValueError, match='LoadMultiTaskAnnotations'):
        model.loss(image(), [sample])


def test_samplers_that_choose_hard_rois(make_model, make_sample):
    model = make_model().train()
    model.roi_head.bbox_sampler = TASK_UTILS.build(
        dict(type='OHEMSampler', num=8, pos_fraction=0.25),
        default_args=dict(context=model.roi_head),
    )
    samples = [make_sample(2), make_sample(3, seed=1)]
    assert total(model.loss(image(2), samples)).isfinite()


def test_extractors_that_may_be_shared(make_model):
    """Keypoints take that of the boxes, masks need another."""
    assert make_model().roi_head.with_keypoint
    cfg = dict(
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7),
            out_channels=8,
            featmap_strides=[8],
        ),
        bbox_head=dict(type='Shared2FCBBoxHead', in_channels=8, num_classes=1),
    )
    assert not MultiTaskRoIHead(**cfg).with_keypoint
    keypoints = dict(type='OffsetKeypointHead', in_channels=8)
    head = MultiTaskRoIHead(**cfg, keypoint_head=keypoints)
    assert head.keypoint_roi_extractor is head.bbox_roi_extractor
    with pytest.raises(ValueError, match='mask_roi_extractor'):
        MultiTaskRoIHead(
            **cfg, mask_head=dict(type='FCNMaskHead', in_channels=8)
        )


@pytest.mark.parametrize('step', ['loss', 'predict', 'forward'])
def test_rois_keep_their_precision_under_autocast(
    step, model, make_sample, monkeypatch
):
    """In bfloat16, an RoI could not begin at 257 px."""
    head, seen = model.roi_head, []
    for extractor in (
        head.bbox_roi_extractor,
        head.mask_roi_extractor,
        head.keypoint_roi_extractor,
    ):

        def extract(feats, rois, forward=extractor.forward):
            seen.append((feats[0].dtype, rois))
            return forward(feats, rois)

        monkeypatch.setattr(extractor, 'forward', extract)
    sample = make_sample(1)
    sample.gt_instances.bboxes = torch.tensor([[257.0, 1, 301, 61]])
    sample.set_metainfo(dict(img_shape=(500, 500), ori_shape=(500, 500)))
    proposals = proposals_of([[257, 1, 301, 61]])
    feats = tuple(
        torch.randn(1, 8, 128 >> i, 128 >> i, dtype=torch.bfloat16)
        for i in range(5)
    )
    with torch.autocast('cpu', dtype=torch.bfloat16):
        getattr(head, step)(feats, [proposals], [sample])
    assert len(seen) >= 3
    assert all(dtype == torch.float32 for dtype, _ in seen)
    assert seen[0][1].dtype == torch.float32
    assert [0, 257, 1, 301, 61] in seen[0][1].tolist()
