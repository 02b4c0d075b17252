import itertools
import json
import runpy
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmcv.ops import DeformConv2dPack
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'tools/multitask_ablation.py'))


def build(cfg):
    from mmdet.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        return MODELS.build(cfg.model)


def deformable(module):
    return sum(isinstance(m, DeformConv2dPack) for m in module.modules())


def test_variants_differ_in_refinement_and_tasks_alone(tool, tmp_path):
    base = Config.fromfile(tool['TOY'])
    variants = list(itertools.product(tool['REFINEMENTS'], tool['TASKS']))
    assert len(variants) == 6
    for i, (refinement, task) in enumerate(variants):
        folder = tmp_path / str(i)
        cfg = Config.fromfile(tool['make_config'](folder, refinement, task, 3))
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 3
        assert cfg.param_scheduler[1].T_max == 3

        model = build(cfg)
        in_backbone, in_head = (
            deformable(part)
            for part in (model.backbone, model.roi_head.keypoint_head)
        )
        assert (in_backbone > 0) == (refinement != 'none')
        assert (in_head > 0) == ('head' in refinement)
        refined = model.roi_head.keypoint_head.offset_deconv is not None
        assert refined == ('head' in refinement)
        assert model.roi_head.with_mask == ('masks' in task)
        assert ('segm' in cfg.test_evaluator[0].metric) == ('masks' in task)

        # Else it is the toy network and its training.
        for key in ('bbox_head', 'bbox_roi_extractor'):
            assert cfg.model.roi_head[key] == base.model.roi_head[key]
        for key in ('neck', 'rpn_head', 'train_cfg', 'test_cfg'):
            assert cfg.model[key] == base.model[key]
        for key in ('optim_wrapper', 'randomness', 'test_dataloader'):
            assert cfg[key] == base[key]
        if 'masks' in task:
            assert cfg.train_dataloader == base.train_dataloader


def test_other_settings_do_not_go_on_with_an_old_run(tool, tmp_path):
    for _ in range(2):
        tool['make_config'](tmp_path / 'a', 'none', 'keypoints', 3)
    with pytest.raises(InputError, match='is of a run with other settings'):
        tool['make_config'](tmp_path / 'a', 'none', 'keypoints', 4)


def test_what_is_there_is_not_made_again(tool, tmp_path):
    args = Namespace(work_dir=tmp_path, epochs=2)
    folder = tmp_path / 'backbone-head_keypoints'
    folder.mkdir()
    metrics = {
        'coco/bbox_mAP': 0.5126,
        'coco/keypoints_mAP': 0.25,
        'coco/keypoints_mAP_50': 0.7,
    }
    (folder / 'epoch_2.pth').touch()
    (folder / 'metrics.json').write_text(json.dumps(metrics))
    result = tool['run_variant'](args, 'backbone + head', 'keypoints')
    assert result == metrics
    table = tool['make_table']({('backbone + head', 'keypoints'): result})
    assert table.splitlines()[-1] == (
        '| backbone + head | keypoints | 51.3 | - | 25.0 | 70.0 |'
    )


def test_missing_data_are_named(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run_script('tools/multitask_ablation.py')
    assert status == 2
    assert 'make_toy_persons' in err and 'person_keypoints_val' in err
    assert not (tmp_path / 'work_dirs').exists()
