import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpose.registry import MODELS
from torch import nn

from mmpose_ext.checks import checkpoint
from mmpose_ext.errors import InputError


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))


def test_weights_that_fit_are_loaded(tmp_path):
    model, path = network(), tmp_path / 'a.pth'
    weights = {f'module.{k}': v for k, v in network().state_dict().items()}
    torch.save(dict(state_dict=weights, meta=dict(epoch=3)), path)
    loaded = checkpoint.load_checkpoint_strictly(model, str(path))
    assert loaded['meta'] == dict(epoch=3)
    torch.testing.assert_close(model[0].weight, weights['module.0.weight'])
    # a bare state dict
    torch.save(network().state_dict(), path)
    checkpoint.load_checkpoint_strictly(model, str(path))


def test_weights_of_another_architecture_are_listed(tmp_path):
    weights = network(8).state_dict()
    del weights['0.bias'], weights['1.running_mean']
    weights.update({f'neck.{i}.weight': torch.zeros(1) for i in range(7)})
    torch.save(weights, tmp_path / 'b.pth')
    with pytest.raises(InputError) as e:
        checkpoint.load_checkpoint_strictly(network(), str(tmp_path / 'b.pth'))
    lines = str(e.value).splitlines()
    assert lines[0].endswith("b.pth' is of another architecture than the "
                             "config's Sequential:")  # fmt: skip
    assert lines[1:] == [
        '  2 missing from the checkpoint: 0.bias, 1.running_mean',
        '  7 unknown to the model: neck.0.weight, neck.1.weight, '
        'neck.2.weight, neck.3.weight, neck.4.weight, ...',
        '  4 of another shape: 0.weight [8, 3, 1, 1] for [4, 3, 1, 1], '
        '1.weight [8] for [4], 1.bias [8] for [4], 1.running_var [8] for [4]',
    ]


def test_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / 'a.pth'
    with pytest.raises(InputError, match=r"checkpoint '.*a\.pth' does not"):
        checkpoint.load_checkpoint_strictly(network(), str(path))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match='expected weights by name, got list'):
        checkpoint.load_checkpoint_strictly(network(), str(path))
    torch.save(dict(model=dict(network().state_dict())), path)
    with pytest.raises(InputError, match='unknown to the model: model'):
        checkpoint.load_checkpoint_strictly(network(), str(path))
    checkpoint.check_checkpoint_file('https://host/a.pth')


def test_weights_that_a_training_begins_with(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    made_by = {str(path): 'make a.pth'}

    def check(init_cfg, **kwargs):
        backbone = dict(type='ResNet', init_cfg=init_cfg)
        parts = dict(type='Several', parts=[dict(backbone=backbone)])
        checkpoint.check_pretrained(Config(dict(model=parts, **kwargs)))

    weights = dict(type='Pretrained', checkpoint=str(path))
    place = r'model\.parts\[0\]\.backbone\.init_cfg'
    message = rf"^checkpoint \({place}\.checkpoint\) '{path}' does not exist"
    with pytest.raises(InputError, match=message + '$'):
        check(weights)
    with pytest.raises(InputError, match=message + '; make it by: make a.pth'):
        check(weights, made_by=made_by)
    place += r'\[1\]'
    message = rf"^checkpoint \({place}\.checkpoint\) '{path}' is empty$"
    path.touch()
    with pytest.raises(InputError, match=message):
        check([dict(type='Normal'), dict(weights, type='mmengine.Pretrained')])
    path.write_text('content is looked at when it is loaded')
    check(weights)
    monkeypatch.setenv('HOME', str(tmp_path))
    check(dict(weights, checkpoint='~/a.pth'))
    check(dict(weights, checkpoint='torchvision://resnet50'))
    check(dict(type='Normal', checkpoint='no.pth'))
    check(None)


def test_last_whole_checkpoint(tmp_path):
    find = checkpoint.find_whole_checkpoint
    assert find(str(tmp_path / 'none')) is None
    assert find(str(tmp_path)) is None

    paths = [tmp_path / f'epoch_{i}.pth' for i in (1, 2, 10)]
    for path in paths:
        torch.save(network().state_dict(), path)
    torch.save({}, tmp_path / 'best_coco_AP_epoch_11.pth')
    last = tmp_path / 'last_checkpoint'
    last.write_text(str(paths[1]))
    assert find(str(tmp_path)) == str(paths[1])
    # killed while the file was written again, or before it was
    last.write_text(str(paths[2]))
    paths[2].write_bytes(paths[2].read_bytes()[:1000])
    assert find(str(tmp_path)) == str(paths[1])
    # killed between the removal of the old file and the writing of the new
    paths[1].unlink()
    assert find(str(tmp_path)) == str(paths[0])
    last.write_text('')
    assert find(str(tmp_path)) == str(paths[0])
    last.write_text('s3://bucket/epoch_3.pth')
    assert find(str(tmp_path)) == 's3://bucket/epoch_3.pth'


def test_official_checkpoints_keep_their_conversions():
    """MMPose converts ``keypoint_head`` of 0.x while it loads."""
    model = Runner.build_model(
        None,
        MODELS.build(
            dict(
                type='TopdownPoseEstimator',
                backbone=dict(type='ResNet', depth=18, base_channels=4,
                              stem_channels=4),
                head=dict(type='HeatmapHead', in_channels=32, out_channels=17,
                          deconv_out_channels=None),
            )
        ),
    )  # fmt: skip
    old = {
        key.replace('head.', 'keypoint_head.'): value
        for key, value in model.state_dict().items()
    }
    assert any(key.startswith('keypoint_head') for key in old)
    checkpoint.check_state_dict(model, old, 'old.pth')
