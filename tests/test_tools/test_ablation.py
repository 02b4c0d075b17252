import json
import re
import runpy
from pathlib import Path

import pytest
from mmengine.config import Config

from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]
PLANS = {path.stem: path for path in ROOT.glob('configs/*/ablations/*.py')}
METRICS = "metrics={'AP': 'coco/AP', 'mask AP': 'coco/segm_mAP'}"
VARIANTS = """
    'As it is': {},
    'wide, slow': {
        'model.backbone.base_channels': 16,
        'model.head': dict(in_channels=128),
        'optim_wrapper': dict(optimizer=dict(_delete_=True, type='SGD', lr=1)),
    },
"""


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'tools/ablation.py'))


@pytest.fixture
def make_plan(tiny_config, tmp_path):
    def make(variants=VARIANTS, seeds='[0, 3]', metrics=METRICS, more=''):
        path = tmp_path / 'plan.py'
        path.write_text(
            f"_base_ = '{tiny_config}'\ntrain_cfg = dict(max_epochs=1)\n"
            f'ablation = dict(variants={{{variants}}}, seeds={seeds}, '
            f'{metrics})\n{more}\n'
        )
        return path

    return make


@pytest.fixture
def make_runs(tool, tmp_path):
    """The runs of a plan, whose configs are written."""

    def make(path):
        plan = load_config(str(path))
        ablation = plan._cfg_dict.pop('ablation', None)
        tool['check_ablation'](ablation, plan.filename)
        runs = tool['make_runs'](plan, ablation, tmp_path / 'runs')
        tool['write_configs'](runs)
        return runs

    return make


def test_each_variant_with_each_seed(make_plan, make_runs, tmp_path):
    runs = make_runs(make_plan())
    assert [(run.variant, run.seed) for run in runs] == [
        *(('As it is', 0), ('As it is', 3)),
        *(('wide, slow', 0), ('wide, slow', 3)),
    ]
    folders = [run.folder.relative_to(tmp_path / 'runs') for run in runs]
    names = ('as-it-is/seed_0', 'as-it-is/seed_3')
    assert folders[:2] == [Path(name) for name in names]
    assert runs[3].config == tmp_path / 'runs/wide-slow/seed_3.py'
    assert runs[0].params == runs[1].params < runs[2].params == runs[3].params
    plain, wide = (Config.fromfile(runs[i].config) for i in (1, 3))
    assert plain.model.backbone.base_channels == 8
    assert wide.model.backbone.base_channels == 16
    assert wide.model.head.in_channels == 128
    assert wide.optim_wrapper.optimizer == dict(type='SGD', lr=1)
    for cfg in (plain, wide):
        assert (cfg.randomness.seed, cfg.train_cfg.max_epochs) == (3, 1)
        assert 'ablation' not in cfg


def test_training_testing_and_resuming(
    tool, make_plan, run_script, tmp_path, monkeypatch, capsys
):
    commands = []

    def run_step(title, result, python, script, *args):
        if not result.exists():
            commands.append((title, script.name))
            assert run_script(script, *args)[0] == 0

    monkeypatch.setitem(tool['main'].__globals__, 'run_step', run_step)
    plan = make_plan("'a': {}")

    def run():
        argv = ['ablation.py', str(plan), '--work-dir', str(tmp_path / 'runs')]
        monkeypatch.setattr('sys.argv', argv)
        tool['main']()
        return capsys.readouterr().out, json.loads(
            (tmp_path / 'runs/results.json').read_text()
        )

    table, results = run()
    assert commands == [
        *(('Train a, seed 0 (1 of 2)', 'train.py'),),
        *(('Test a, seed 0 (1 of 2)', 'test.py'),),
        *(('Train a, seed 3 (2 of 2)', 'train.py'),),
        *(('Test a, seed 3 (2 of 2)', 'test.py'),),
    ]
    assert (tmp_path / 'runs/table.md').read_text() == table
    assert set(results['variants']['a']['seeds']) == {'0', '3'}
    checkpoint = tmp_path / 'runs/a/seed_3/epoch_1.pth'
    assert checkpoint.exists()

    # What is there is read; a training without its last epoch goes on.
    path = tmp_path / 'runs/a/seed_0/metrics.json'
    path.write_text(json.dumps({'coco/AP': 0.25}))
    (tmp_path / 'runs/a/seed_3/metrics.json').unlink()
    del commands[:]
    _, again = run()
    assert commands == [('Test a, seed 3 (2 of 2)', 'test.py')]
    seeds = again['variants']['a']['seeds']
    assert seeds == {
        **results['variants']['a']['seeds'],
        '0': {'coco/AP': 0.25},
    }
    checkpoint.unlink()
    calls = []
    monkeypatch.setitem(
        tool['main'].__globals__, 'run_step', lambda *args: calls.append(args)
    )
    run()
    title, result, _, _, *args = calls[2]
    assert (title, result) == ('Train a, seed 3 (2 of 2)', checkpoint)
    assert args[-3:] == ['--work-dir', checkpoint.parent, '--resume']


def test_table(tool):
    seeds = {0: {'AP': 0.25}, 1: {'AP': 0.5, 'mask': 61.26}, 2: {'AP': 0.3}}
    results = {'a': dict(params=1234567, seeds=seeds)}
    table = tool['make_table'](results, {'x': 'AP', 'y': 'mask', 'z': 'no'})
    assert table.splitlines() == [
        '| variant | x | y | z | params (M) | seeds |',
        '| --- | --- | --- | --- | --- | --- |',
        '| a | 0.350 ± 0.13 | 61.3 | - | 1.235 | 3 |',
    ]


def test_other_settings_do_not_go_on_with_an_old_run(make_plan, make_runs):
    (first, _) = make_runs(make_plan("'a': {}"))
    # What no run reads may change, as may the rest of the plan.
    runs = make_runs(make_plan("'b': {}, 'a': {}", '[0, 5]', more='x = 1'))
    assert len(runs) == 4
    before = first.config.read_text()
    plan = make_plan("'c': {}, 'a': {'model.head.in_channels': 64}")
    assert len(make_runs(plan)) == 4
    plan.write_text(plan.read_text().replace('epochs=1', 'epochs=3'))
    with pytest.raises(InputError, match=r'seed_0.py.* other settings'):
        make_runs(plan)
    assert first.config.read_text().replace('x = 1', '') != before
    assert Config.fromfile(first.config).train_cfg.max_epochs == 1


@pytest.mark.parametrize(
    ('plan', 'message'),
    [
        (dict(variants=''), 'ablation.variants to be a dict with entries'),
        (dict(metrics='metrics=[1]'), r'ablation.metrics .* got \[1\]'),
        (dict(metrics='metrics={}, seed=1'), "among .*'seeds'.*, got 'seed'"),
        *(
            (dict(seeds=seeds), 'different whole numbers, got')
            for seeds in ('[]', '[0, 0]', '[True]', '[-1]', '[1.0]', '3')
        ),
        (dict(variants="'a': {}, 'a': {}"), "line 3 to .* keys, got 'a'"),
        (dict(variants="'A, b': {}, 'a b': {}"), "'a-b', as 'A, b' does"),
        (dict(variants="'!': {}"), "'!' gives the folder ''"),
        (dict(variants="'a': 3"), "'a': expected a dict of settings, got 3"),
        (dict(more='del ablation'), "a dict 'ablation', got None"),
    ],
)
def test_errors_of_a_plan(plan, message, make_plan, make_runs, tmp_path):
    with pytest.raises(InputError, match=message):
        make_runs(make_plan(**plan))
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'optim_wrapper.optimzer.lr': 1}, "mean 'optimizer'"),
        ({'modle': {}}, "no modle; did you mean 'model'"),
        ({'train_dataloader': dict(batchsize=1)}, 'mean .batch_size'),
        ({'param_scheduler.1.gamma': 1}, 'no param_scheduler.1'),
        ({'param_scheduler.0.gama': 1, 'randomness.sed': 1}, 'randomness.sed'),
        ({'model.head.width': 3}, "unexpected keyword argument 'width'"),
        ({'train_dataloader.dataset.pipelin': []}, "argument 'pipelin'"),
        ({'model.type': 'PoseEstimator'}, 'PoseEstimator'),
        ({'model.head.x.y': {}}, "'x'"),
        ({'val_dataloader.dataset.ann_file': 'no.json'}, 'no.json.*not exist'),
    ],
)
def test_errors_of_a_variant(
    settings, message, make_plan, make_runs, tmp_path
):
    plan = make_plan(f"'good': {{}}, 'bad': {settings!r}")
    with pytest.raises(InputError, match=f"^variant 'bad': .*{message}"):
        make_runs(plan)
    assert not (tmp_path / 'runs').exists()


def variants_of(name, tool):
    """The configs of a plan of the project, without a look at its data."""
    plan = load_config(str(PLANS[name]))
    ablation = plan._cfg_dict.pop('ablation')
    tool['check_ablation'](ablation, plan.filename)
    for variant, settings in ablation['variants'].items():
        tool['check_settings'](settings, plan._cfg_dict)
        cfg = Config(plan.to_dict())
        cfg.merge_from_dict(settings)
        assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].T_max
        yield variant, cfg, plan


def test_context_and_masking(tool):
    found = set()
    for variant, cfg, plan in variants_of('gccpm_context_masking_toy', tool):
        context, masking = variant.removesuffix(' masking').split(' context, ')
        steps = cfg.train_dataloader.dataset.pipeline
        types = [step.type for step in steps if 'Masking' in step.type]
        names = dict(no=[], body=['BodyMasking'])
        assert types == names.get(masking, ['KeypointMasking'])
        assert len(steps) == 8 + (masking != 'no')
        module = cfg.model.head.context
        if module:
            start = re.sub(r'\W', '', context).lower()
            assert module.type.lower().startswith(start)
        assert (module is None) == (context == 'no')
        cfg.model.head.context = plan.model.head.context
        assert cfg.model == plan.model
        found.add(variant)
    assert len(found) == 12


def test_refinement_and_tasks(tool):
    found = set()
    name = 'multitask_refinement_tasks_toy'
    for variant, cfg, plan in variants_of(name, tool):
        refinement, tasks = variant.split(', ')
        head, masks = cfg.model.roi_head.keypoint_head, 'masks' in tasks
        assert (cfg.model.backbone.dcn is None) == ('no ' in refinement)
        assert any(cfg.model.backbone.stage_with_dcn) != ('no ' in refinement)
        assert (head.conv_cfg is not None) == ('head' in refinement)
        assert head.heatmap_refine == ('head' in refinement)
        assert (cfg.model.type == 'MaskRCNN') == masks
        assert cfg.model.data_preprocessor.pad_mask == masks
        roi_head = cfg.model.roi_head
        assert (roi_head.mask_head is not None) == masks
        assert (roi_head.mask_roi_extractor is not None) == masks
        for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
            assert ('segm' in evaluator[0].metric) == masks
            assert evaluator[1] == plan.val_evaluator[1]
        load = cfg.train_dataloader.dataset.pipeline[1]
        assert load.get('with_mask', False) == masks
        found.add(variant)
    assert len(found) == 6


def test_missing_data_are_named(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = ('tools/ablation.py', 'gccpm_context_masking_toy')
    status, _, err = run_script(*script)
    assert status == 2
    assert 'data/toy_persons/lip/' in err and 'no context, no masking' in err
    assert not (tmp_path / 'work_dirs').exists()
