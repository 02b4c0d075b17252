import itertools
import json
import runpy
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'tools/gccpm_ablation.py'))


def test_variants_differ_in_context_and_masking_alone(tool, tmp_path):
    init_default_scope('mmpose')
    base = Config.fromfile(tool['TOY'])
    variants = list(itertools.product(tool['CONTEXTS'], tool['MASKINGS']))
    assert len(variants) == 12
    counts = set()
    for i, (context, masking) in enumerate(variants):
        folder = tmp_path / str(i)
        cfg = Config.fromfile(tool['make_config'](folder, context, masking, 3))
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 3
        assert cfg.param_scheduler[0].T_max == 3

        pipeline = cfg.train_dataloader.dataset.pipeline
        names = {'none': [], 'body': ['BodyMasking']}.get(
            masking, ['KeypointMasking']
        )
        assert [t.type for t in pipeline if 'Masking' in t.type] == names
        others = base.train_dataloader.dataset.pipeline
        assert [t for t in pipeline if 'Masking' not in t.type] == [
            t for t in others if 'Masking' not in t.type
        ]
        module = tool['CONTEXTS'][context]
        assert cfg.model.head.context == module
        model = MODELS.build(cfg.model).eval()
        counts.add(sum(p.numel() for p in model.parameters()))
        assert model(torch.rand(1, 3, 128, 128), None)[-1].isfinite().all()

        cfg.model.head.context = base.model.head.context
        assert cfg.model == base.model
        for key in ('optim_wrapper', 'randomness', 'test_dataloader'):
            assert cfg[key] == base[key]
    assert len(counts) == 4


def test_other_settings_do_not_go_on_with_an_old_run(tool, tmp_path):
    for _ in range(2):
        tool['make_config'](tmp_path / 'a', 'none', 'none', 3)
    with pytest.raises(InputError, match='is of a run with other settings'):
        tool['make_config'](tmp_path / 'a', 'none', 'none', 4)


def test_what_is_there_is_not_made_again(tool, tmp_path):
    args = Namespace(work_dir=tmp_path, epochs=2, images=4)
    folder = tmp_path / 'u-shaped_body'
    folder.mkdir()
    metrics = {'lip/PCKh': 61.26, 'lip/Hip': 50.0, 'lip/Head': 90.04}
    (folder / 'epoch_2.pth').touch()
    (folder / 'metrics.json').write_text(json.dumps(metrics))
    (folder / 'area_4.json').write_text('12.34')
    result = tool['run_variant'](args, 'U-shaped', 'body')
    assert result == dict(metrics, area=12.34)
    table = tool['make_table']({('U-shaped', 'body'): result})
    assert table.splitlines()[-1] == (
        '| U-shaped | body | 90.0 | 50.0 | 61.3 | 12.3 |'
    )


def test_area_of_a_trained_variant(tool, toy_persons, tmp_path):
    path = tool['make_config'](tmp_path / 'a', 'none', 'none', 1)
    text = path.read_text() + (
        f"test_dataloader = dict(dataset=dict(data_root='{toy_persons}/lip/'))"
    )
    path.write_text(text)
    init_default_scope('mmpose')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(path).model)
    checkpoint = tmp_path / 'random.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
    area = tool['measure_area'](path, checkpoint, 1)
    assert 0 < area <= 100


def test_missing_data_are_named(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_script('tools/gccpm_ablation.py')
    assert status == 2
    assert 'make_toy_persons' in err and 'lip_val_set.csv' in err
    assert not (tmp_path / 'work_dirs').exists()
