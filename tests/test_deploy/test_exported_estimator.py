import shutil

import pytest
import torch
from exported_description import put
from mmpose.models.heads import HeatmapHead
from mmpose.registry import MODELS

from mmpose_ext.deploy import PoseModel, exported_estimator, runtimes
from mmpose_ext.deploy.formats import part_path
from mmpose_ext.errors import InputError


def test_images_of_whole_networks(exported):
    network = runtimes.open_network(exported['onnx'])
    module = exported_estimator._ExportedModule(network, bottomup=True)
    assert module(torch.rand(1, 3, 96, 64))[0].shape == (1, 17, 24, 16)
    with pytest.raises(InputError, match=r"tiny\.onnx' have .* = \(64, 90\)"):
        module(torch.rand(1, 3, 90, 64))


HEAD = 'model.head'
# What cannot be built, or is not of this network.
REFUSED = {
    'large layers': (
        f'{HEAD}.deconv_out_channels',
        (2**14, 2**14, 2**14),
        'layers exceed the size limit',
    ),
    'argument that is none': (
        f'{HEAD}.nonsense',
        1,
        "cannot be built: .*'nonsense'",
    ),
    'layer of 10^300 bins': (
        HEAD,
        dict(
            type='SimCCHead',
            in_channels=3,
            out_channels=3,
            input_size=(8, 8),
            in_featuremap_size=(2, 2),
            simcc_split_ratio=1e300,
        ),
        'cannot be built: .*Overflow',
    ),
    'step that cannot be made': (
        'pipeline.2.nonsense',
        1,
        "cannot be built: .*'nonsense'",
    ),
    'part that the head has not': (
        'parts',
        ['forward'],
        r"parts \['forward'\], but a HeatmapHead has \[\]",
    ),
    'other input': (
        f'{HEAD}.decoder.input_size',
        (96, 64),
        r"input_size is \(96, 64\), expected the network's \[\(64, 96\)\]",
    ),
    'other heatmap': (
        f'{HEAD}.decoder.heatmap_size',
        (24, 16),
        r"_size is \(24, 16\), expected the network's \[\(16, 24\)\]",
    ),
    'mean of one channel': (
        'model.data_preprocessor.mean',
        [1],
        r'mean is \[1\]',
    ),
}


@pytest.mark.parametrize('name', REFUSED)
def test_refused(name, described, write_file):
    place, value, message = REFUSED[name]
    path = write_file(put(place, value, described))
    with pytest.raises(InputError, match=message) as caught:
        PoseModel(path, num_threads=1)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


OUTPUTS = {
    'structure': ('structure', 'list'),
    'flip': ('model.test_cfg.flip_mode', 'nonsense'),
    'decoder': (
        f'{HEAD}.decoder',
        dict(type='SPR', input_size=(64, 96), heatmap_size=(16, 24)),
    ),
}


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs_of_another_model(
    name, described, write_file, samples, monkeypatch
):
    path = write_file(put(*OUTPUTS[name], described))
    message = r"of '.*a\..*' do not fit what it"
    with pytest.raises(InputError, match=message):
        PoseModel(path, num_threads=1)
    # Its network's outputs are seen by MMPose's runner, too.
    monkeypatch.setattr(PoseModel, '_try_out', lambda *_: None)
    model = PoseModel(path, num_threads=1)
    with pytest.raises(InputError, match=message):
        model(*samples[0])


class HeadWithPart(HeatmapHead):
    """One that calls a layer behind its ``forward``."""

    exported_parts = ('extra',)


@pytest.mark.parametrize('suffix', ['.onnx', '.xml'])
def test_parts_are_files_beside_the_network(
    suffix, described, write_file, tmp_path, monkeypatch
):
    monkeypatch.setitem(MODELS.module_dict, 'HeadWithPart', HeadWithPart)
    described['model']['head']['type'] = 'HeadWithPart'
    path = write_file(described, suffix)
    with pytest.raises(InputError, match=r"a HeadWithPart has \['extra'\]"):
        PoseModel(path)

    described['parts'] = ['extra']
    path = write_file(described, suffix)
    part = write_file(described, suffix, 'a.extra')
    assert part == part_path(path, 'extra')
    head = PoseModel(path, num_threads=1).model.head
    assert head.extra.network.path == str(part)
    assert torch.is_tensor(head.extra(torch.rand(1, 3, 96, 64)))

    described['weights'] += 1
    write_file(described, suffix, 'a.extra')
    with pytest.raises(InputError, match='are of different checkpoints'):
        PoseModel(path)
    shutil.move(part, tmp_path / 'elsewhere')
    with pytest.raises(InputError, match=rf"'.*a\.extra\{suffix}' does not"):
        PoseModel(path)
    part.symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(InputError, match=r"'.*extra.*' refers, is a link"):
        PoseModel(path)
