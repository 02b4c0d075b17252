"""tools/test.py, from the command line to the result."""

import json
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.config import Config
from run_tools import configure, evaluate, test_tool

AP = 'coco/AP'


# ------------------------------------------------------------------- working


def test_evaluation_writes_what_it_returns(tiny_config, trained, tmp_path):
    out, dump = tmp_path / 'out' / 'metrics.json', tmp_path / 'all.pkl'
    args = [trained / 'epoch_2.pth', '--work-dir', tmp_path, '--out', out,
            '--dump', dump, '--show-dir', 'pictures',
            '--interval', 5]  # fmt: skip
    metrics = evaluate(tiny_config, *args, '--overwrite')
    assert 0 <= metrics[AP] <= 1
    assert json.loads(out.read_text()) == pytest.approx(metrics)
    predictions = mmengine.load(dump)
    annotations = Config.fromfile(tiny_config).test_evaluator.ann_file
    persons = json.loads(Path(annotations).read_text())['annotations']
    assert len(predictions) == sum(
        p['num_keypoints'] > 0 and not p['iscrowd'] for p in persons
    )
    assert list(tmp_path.glob('*part*')) == []
    assert list(tmp_path.glob('*/pictures/*.jpg'))


def test_ways_to_test(tiny_config, trained, tmp_path):
    def run(name, *args):
        path = tmp_path / f'{name}.pkl'
        metrics = evaluate(
            tiny_config, trained / 'epoch_2.pth', '--work-dir', tmp_path,
            '--dump', path, *args, **{'model.test_cfg.flip_test': True},
        )  # fmt: skip
        assert 0 <= metrics[AP] <= 1
        return metrics, [s['pred_instances'] for s in mmengine.load(path)]

    def difference(samples, others, key='keypoints'):
        assert len(samples) == len(others) > 0
        return max(abs(a[key] - b[key]).max() for a, b in zip(samples, others))

    metrics, fast = run('fast')
    plain_metrics, plain = run('plain', '--plain')
    assert metrics == pytest.approx(plain_metrics, abs=5e-4)
    assert difference(fast, plain) < 1e-3
    assert difference(fast, plain, 'keypoint_scores') < 1e-3
    # The same network at one scale is the plain one.
    assert difference(fast, run('one', '--tta', 1)[1]) < 1e-4
    _, scales = run('scales', '--tta')
    assert difference(scales, run('same', '--tta', 0.75, 1, 1.25)[1]) == 0
    assert difference(scales, fast) > 0.1


def test_own_augmentation_comes_first(
    tiny_config, trained, tmp_path, error_of
):
    config = tmp_path / 'own.py'
    config.write_text(
        f"_base_ = '{tiny_config}'\n"
        "tta_model = dict(type='MultiScaleHeatmapTTA', flip_test=False)\n"
        "tta_pipeline = [dict(type='LoadImage'), "
        "dict(type='GetBBoxCenterScale'), dict(type='TestTimeAug', "
        "transforms=[[dict(type='TopdownAffine', input_size=(64, 96))], "
        "[dict(type='PackPoseInputs')]])]\n"
    )
    args = [trained / 'epoch_2.pth', '--work-dir', tmp_path / 'work']
    own = evaluate(config, *args, '--tta')
    assert own == pytest.approx(evaluate(tiny_config, *args))
    message = error_of(test_tool, config, *args, '--tta', 2)
    assert message.startswith('scales 2: the config has a tta_pipeline')


@pytest.mark.parametrize(
    ('boxes', 'options'),
    [
        ([], {}),
        (
            [dict(image_id=1, category_id=1, bbox=[0, 0, 9, 9], score=0.1)],
            {'test_dataloader.dataset.filter_cfg.bbox_score_thr': 0.5},
        ),
    ],
    ids=['empty', 'below the threshold'],
)
def test_no_detection_evaluates_to_zero(
    boxes, options, tiny_config, trained, tmp_path
):
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(boxes))
    options['test_dataloader.dataset.bbox_file'] = path
    options['test_dataloader.sampler.round_up'] = True
    metrics = evaluate(
        tiny_config, trained / 'epoch_2.pth', '--work-dir', tmp_path,
        '--dump', tmp_path / 'all.pkl', **options
    )  # fmt: skip
    assert metrics[AP] == metrics['coco/AR'] == 0.0
    assert len(metrics) == 10
    assert mmengine.load(tmp_path / 'all.pkl') == []


def test_bad_cases_can_be_analysed(tiny_config):
    cfg = configure(test_tool, tiny_config, 'x.pth', '--badcase', '--show')
    hook = cfg.default_hooks.badcase
    assert hook.enable and hook.show and hook.metric.type == 'KeypointMSELoss'


def test_detector_is_evaluated(detector, tmp_path):
    out, dump = tmp_path / 'metrics.json', tmp_path / 'all.pkl'
    metrics = evaluate(
        detector, detector.with_name('iter_2.pth'), '--work-dir', tmp_path,
        '--out', out, '--dump', dump, '--show-dir', 'pictures',
    )  # fmt: skip
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    assert 0 <= metrics['coco/segm_mAP'] <= 1
    assert json.loads(out.read_text()) == metrics
    samples = mmengine.load(dump)
    assert [len(s['pred_instances']['bboxes']) for s in samples] == [4] * 6
    assert len(list(tmp_path.glob('*/pictures/*.jpg'))) == 6


# ----------------------------------------------------------------- bad input


def test_wrong_scales_end_the_evaluation(
    tiny_config, trained, tmp_path, error_of
):
    args = [trained / 'epoch_2.pth', '--tta', 1, 0.1]
    message = error_of(test_tool, tiny_config, *args)
    assert 'scale 0.1 leaves nothing of the input of 64x96' in message
    assert not (tmp_path / 'work').exists()


def test_augmentation_of_weights_that_do_not_fit(
    tiny_config, trained, tmp_path, error_of
):
    checkpoint = torch.load(trained / 'epoch_2.pth', weights_only=False)
    checkpoint['state_dict'].pop('head.final_layer.bias')
    torch.save(checkpoint, tmp_path / 'part.pth')
    message = error_of(test_tool, tiny_config, tmp_path / 'part.pth', '--tta')
    assert 'missing from the checkpoint: head.final_layer.bias' in message


def test_wrong_detections_end_the_evaluation(
    tiny_config, trained, tmp_path, error_of
):
    def error(content=None, **options):
        if content is not None:
            boxes.write_text(content)
        options['test_dataloader.dataset.bbox_file'] = boxes
        checkpoint = trained / 'epoch_1.pth'
        return error_of(test_tool, tiny_config, checkpoint, **options)

    boxes = tmp_path / 'boxes.json'
    assert f"'{boxes}' does not exist" in error()
    box = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)
    other = dict(box, image_id=397133)
    assert '(397133): it is probably one of another' in error(
        json.dumps([box, other])
    )
    flat = dict(box, bbox=[1, 2, 0, 4])
    assert 'entry 1: bbox [1, 2, 0, 4], expected' in error(
        json.dumps([box, flat])
    )
    assert 'must be a list' in error('{}')
    message = error('[]', **{'test_evaluator.type': 'PCKAccuracy'})
    assert 'leaves no box to evaluate, which PCKAccuracy cannot' in message
    assert not (tmp_path / 'work').exists()


def test_existing_results_are_kept(tiny_config, trained, tmp_path, error_of):
    for flag, name in (('--out', 'a.json'), ('--dump', 'a.pkl')):
        path = tmp_path / name
        path.write_text('old')
        args = test_tool, tiny_config, trained / 'epoch_1.pth', flag
        message = error_of(*args, path)
        assert f"output file '{path}' exists already" in message
        assert path.read_text() == 'old'
        assert f"{flag} 'a.txt' must end in ." in error_of(*args, 'a.txt')


def test_weights_of_another_detector(detector, error_of):
    message = error_of(
        test_tool, detector, detector.with_name('iter_2.pth'),
        **{'model.roi_head.bbox_head.fc_out_channels': 4}
    )  # fmt: skip
    assert "another architecture than the config's MaskRCNN" in message
    assert 'roi_head.bbox_head.fc_cls.weight [2, 8] for [2, 4]' in message
