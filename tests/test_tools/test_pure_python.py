"""Configs in pure Python work with every option as names do."""

import json

import mmengine
import pytest
import torch
from mmengine.config import Config
from pure_python import write_pure_python
from run_tools import evaluate, train

AP = 'coco/AP'


@pytest.fixture(scope='module', params=['mmpose', None])
def pure(request, toy_persons, tmp_path_factory):
    """The config, and the checkpoint of an epoch."""
    folder = tmp_path_factory.mktemp('pure')
    path = write_pure_python(folder / 'cfg', toy_persons, request.param)
    train(path, '--work-dir', folder, '--auto-scale-lr',
        '--show-dir', 'pictures')  # fmt: skip
    # MMPose's hook has a folder for tests only.
    assert list(folder.glob('*/vis_data/vis_image/*.png'))
    return path, folder / 'epoch_1.pth'


def test_training_goes_on(pure, tmp_path):
    config, checkpoint = pure
    train(config, '--work-dir', tmp_path, '--no-validate',
        '--resume', checkpoint, **{'train_cfg.max_epochs': 2})  # fmt: skip
    after = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    assert after['meta']['epoch'] == 2
    assert after['random_states']
    # What the run leaves can be read as a config.
    dumped = Config.fromfile(tmp_path / 'pure.py')
    assert dumped.model.head.loss.type.endswith('KeypointMSELoss')


def test_results_are_those_of_the_plain_test(pure, tmp_path):
    config, checkpoint = pure
    dumps = []
    for name, args in (('fast', []), ('plain', ['--plain'])):
        out, dump = tmp_path / f'{name}.json', tmp_path / f'{name}.pkl'
        metrics = evaluate(
            config, checkpoint, '--work-dir', tmp_path,
                '--out', out, '--dump', dump, '--show-dir', name, *args,
        )  # fmt: skip
        assert list(tmp_path.glob(f'*/{name}/*.jpg'))
        assert json.loads(out.read_text())[AP] == pytest.approx(metrics[AP])
        dumps.append(mmengine.load(dump))
    for fast, plain in zip(*dumps):
        torch.testing.assert_close(
            fast['pred_instances']['keypoint_scores'],
            plain['pred_instances']['keypoint_scores'],
            rtol=1e-3,
            atol=1e-4,
        )


# Without a scope, every name that is still looked up fails.
NO_SCOPE = pytest.mark.parametrize('pure', [None], indirect=True)


@NO_SCOPE
@pytest.mark.parametrize('options', [[], [1, 2, '--plain']])
def test_augmentation(options, pure, tmp_path):
    config, checkpoint = pure
    dump = tmp_path / 'all.pkl'
    metrics = evaluate(
        config, checkpoint, '--work-dir', tmp_path, '--dump', dump,
        '--tta', *options,
    )  # fmt: skip
    assert 0 <= metrics[AP] <= 1
    assert len(mmengine.load(dump)) > 0


@NO_SCOPE
def test_bad_cases(pure, tmp_path):
    config, checkpoint = pure
    evaluate(config, checkpoint, '--work-dir', tmp_path, '--badcase',
        **{'default_hooks.badcase.badcase_thr': 0})  # fmt: skip
    (results,) = tmp_path.glob('**/badcase/results.json')
    assert set(json.loads(results.read_text())[0]) >= {'img', 'bbox'}


@NO_SCOPE
@pytest.mark.parametrize('tta', [False, True])
def test_no_detection(tta, pure, tmp_path):
    config, checkpoint = pure
    (tmp_path / 'boxes.json').write_text('[]')
    metrics = evaluate(
        config, checkpoint, '--work-dir', tmp_path,
        *(['--tta'] if tta else []),
        **{'test_dataloader.dataset.bbox_file': tmp_path / 'boxes.json'},
    )  # fmt: skip
    assert metrics[AP] == metrics['coco/AR'] == 0


@NO_SCOPE
def test_no_detection_in_the_validation(pure, tmp_path):
    config, _ = pure
    (tmp_path / 'boxes.json').write_text('[]')
    train(config, '--work-dir', tmp_path,
        **{'val_dataloader.dataset.bbox_file': tmp_path / 'boxes.json'},
        )  # fmt: skip
    assert (tmp_path / 'epoch_1.pth').exists()
