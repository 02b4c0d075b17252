import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample

from mmpose_ext.models.necks import SequentialNeck

MAPPER = dict(
    type='ChannelMapper',
    in_channels=[4, 6, 5],
    out_channels=4,
    kernel_size=1,
    norm_cfg=dict(type='BN'),
)
RAM = dict(type='RAMNeck', in_channels=[4] * 3)
GPR = dict(type='GPRNeck', in_channels=[4] * 3)
NECKS = [MAPPER, RAM, GPR]


def make_maps(size=9, dtype=torch.double):
    torch.manual_seed(0)
    sizes = [-(-size // 2**k) for k in range(3)]
    return [
        torch.randn(2, c, s, s, dtype=dtype)
        for c, s in zip(MAPPER['in_channels'], sizes)
    ]


def test_is_its_necks_one_by_one(randomise):
    neck = randomise(SequentialNeck(NECKS))
    feats = make_maps()
    prefixes = []
    for i, cfg in enumerate(NECKS):
        alone = MODELS.build(cfg).double().eval()
        prefix = f'necks.{i}.'
        prefixes.append(prefix)
        alone.load_state_dict(
            {
                key[len(prefix) :]: value
                for key, value in neck.state_dict().items()
                if key.startswith(prefix)
            }
        )
        feats = alone(feats)
    found = neck(make_maps())
    assert isinstance(found, tuple) and len(found) == len(feats) == 1
    assert torch.equal(found[0], feats[0])
    assert found[0].std() > 0.01
    assert all(key.startswith(tuple(prefixes)) for key in neck.state_dict())


def test_gradients_reach_all():
    neck = SequentialNeck(NECKS)
    maps = [x.requires_grad_() for x in make_maps(dtype=torch.float)]
    neck(maps)[0].square().mean().backward()
    for name, x in (*neck.named_parameters(), *enumerate(maps)):
        assert x.grad.abs().max() > 0, name


def test_one_neck_and_configs_as_a_config_file_has_them():
    necks = Config(dict(necks=[RAM])).necks
    neck = SequentialNeck(necks)
    maps = [x[:, :4] for x in make_maps(dtype=torch.float)]
    assert [x.shape for x in neck(maps)] == [x.shape for x in maps]
    assert list(necks[0]) == ['type', 'in_channels']  # not changed


@pytest.mark.parametrize('necks', [[], (), None, 5, 'RAMNeck', RAM, [RAM, 1]])
def test_refuses_what_are_no_configs(necks):
    with pytest.raises(
        ValueError, match=r'^necks must be a list .* got '
    ) as e:
        SequentialNeck(necks)
    assert repr(necks) in str(e.value)


def test_each_neck_begins_as_its_init_cfg_says(tmp_path):
    pretrained = MODELS.build(RAM)
    for value in pretrained.state_dict().values():
        value.fill_(7)
    path = str(tmp_path / 'ram.pth')
    torch.save(pretrained.state_dict(), path)
    neck = SequentialNeck(
        [
            dict(
                MAPPER, init_cfg=dict(type='Constant', val=2, layer='Conv2d')
            ),
            dict(RAM, init_cfg=dict(type='Pretrained', checkpoint=path)),
            GPR,
        ]
    )
    neck.init_weights()
    mapper, ram, _ = neck.necks
    assert all((conv.conv.weight == 2).all() for conv in mapper.convs)
    assert all((value == 7).all() for value in ram.state_dict().values())


def test_all_of_it_begins_as_a_checkpoint_of_an_estimator(tmp_path):
    source = SequentialNeck(NECKS)
    for value in source.state_dict().values():
        value.fill_(7)
    path = str(tmp_path / 'model.pth')
    weights = {f'neck.{k}': v for k, v in source.state_dict().items()}
    torch.save(dict(state_dict=weights), path)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix='neck.')
    neck = SequentialNeck(NECKS, init_cfg=init_cfg)
    neck.init_weights()
    assert all((value == 7).all() for value in neck.state_dict().values())


def test_an_estimator_trains_with_it():
    codec = dict(
        type='MSRAHeatmap',
        input_size=(64, 64),
        heatmap_size=(16, 16),
        sigma=1,
    )
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='TopdownPoseEstimator',
            data_preprocessor=dict(
                type='PoseDataPreprocessor', mean=[128] * 3, std=[64] * 3
            ),
            backbone=dict(
                type='MobileNetV1', widen_factor=0.125, out_indices=(1, 2, 3)
            ),
            neck=dict(
                type='SequentialNeck',
                necks=[dict(MAPPER, in_channels=[16, 32, 64]), RAM, GPR],
            ),
            head=dict(
                type='HeatmapHead',
                in_channels=4,
                out_channels=3,
                deconv_out_channels=None,
                decoder=codec,
            ),
        )
    )
    model.init_weights()
    sample = PoseDataSample(
        gt_fields=PixelData(heatmaps=torch.rand(3, 16, 16)),
        gt_instance_labels=InstanceData(keypoint_weights=torch.ones(1, 3)),
    )
    batch = dict(
        inputs=[torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)] * 2,
        data_samples=[sample] * 2,
    )
    optim_wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='Adam', lr=1e-2))
    )
    losses = [
        float(model.train_step(batch, optim_wrapper)['loss'])
        for _ in range(10)
    ]
    assert 0 < losses[-1] < 0.5 * losses[0]


class _Maps(torch.nn.Module):
    """An image as its own map, and halves of it, through a neck."""

    def __init__(self, neck):
        super().__init__()
        self.neck = neck

    def forward(self, x):
        return self.neck([x, x[..., ::2, ::2], x[..., ::4, ::4]])


@pytest.mark.slow
def test_exported_with_open_sizes(tmp_path, randomise):
    for package in ('onnxscript', 'onnxruntime', 'openvino'):
        pytest.importorskip(package)
    from mmpose_ext.deploy.formats import export_network
    from mmpose_ext.deploy.runtimes import open_network

    necks = [dict(MAPPER, in_channels=[3] * 3), RAM, GPR]
    network = _Maps(randomise(SequentialNeck(necks)).float())
    path = tmp_path / 'necks.xml'
    example = torch.rand(2, 3, 18, 26)
    export_network(network, example, path, '', {0: 1, 2: 2, 3: 2})
    runtime = open_network(path, num_threads=1)
    for shape in ((2, 3, 18, 26), (3, 3, 16, 24)):
        x = torch.rand(shape)
        with torch.inference_mode():
            (expected,) = network(x)
        (found,) = runtime(x.numpy())
        torch.testing.assert_close(
            torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5
        )
