import json
import os
import re
import runpy
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mmengine.config import Config
from mmpose.registry import TRANSFORMS

from mmpose_ext.engine.config import load_config
from mmpose_ext.errors import InputError

ROOT = Path(__file__).parents[2]
METRICS = "metrics={'AP': 'coco/AP'}"
WIDE = """'Wide, slow': {
    'model.backbone.base_channels': 16,
    'model.head': dict(in_channels=128),
    'optim_wrapper': dict(optimizer=dict(_delete_=True, type='SGD', lr=1)),
}"""


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'tools/ablation.py'))


@pytest.fixture
def make_plan(tiny_config, tmp_path):
    def make(variants="'a': {}", seeds='[0, 3]', metrics=METRICS, more=''):
        path = tmp_path / 'plan.py'
        path.write_text(
            f"_base_ = '{tiny_config}'\ntrain_cfg = dict(max_epochs=1)\n"
            f'ablation = dict(variants={{{variants}}}, seeds={seeds}, '
            f'{metrics})\n{more}\n'
        )
        return path

    return make


@pytest.fixture
def run(tool, tmp_path, monkeypatch):
    """Run the tool with another function in the place of run_step."""

    def run(plan, run_step):
        monkeypatch.setitem(tool['main'].__globals__, 'run_step', run_step)
        args = ('ablation.py', plan, '--work-dir', tmp_path / 'runs')
        monkeypatch.setattr('sys.argv', list(map(str, args)))
        tool['main']()
        return json.loads((tmp_path / 'runs/results.json').read_text())

    return run


def pretend(title, result, *command):
    """A step that is done at once."""
    result.parent.mkdir(exist_ok=True)
    result.write_text(json.dumps({'coco/AP': 0.25}))


def test_each_variant_with_each_seed(make_plan, run, tmp_path, capsys):
    no_validation = 'val_cfg = val_dataloader = val_evaluator = None'
    plan = make_plan(f"'plain': {{}}, {WIDE}", more=no_validation)
    variants = run(plan, pretend)['variants']
    seeds = {'0': {'coco/AP': 0.25}, '3': {'coco/AP': 0.25}}
    assert [v['seeds'] for v in variants.values()] == [seeds, seeds]
    plain, wide = variants['plain'], variants['Wide, slow']
    assert plain['params'] < wide['params'] and plain['macs'] < wide['macs']
    plain, wide = (
        Config.fromfile(tmp_path / f'runs/{name}/seed_3.py')
        for name in ('plain', 'wide-slow')
    )
    assert plain.model.backbone.base_channels == 8
    assert wide.model.backbone.base_channels == 16
    assert wide.model.head.in_channels == 128
    assert wide.optim_wrapper.optimizer == dict(type='SGD', lr=1)
    for cfg in (plain, wide):
        assert (cfg.randomness.seed, cfg.train_cfg.max_epochs) == (3, 1)
        assert 'ablation' not in cfg
    table = capsys.readouterr().out
    assert (tmp_path / 'runs/table.md').read_text() == table
    assert '| Wide, slow | 0.250 ± 0 |' in table


def test_training_testing_and_going_on(make_plan, run, run_script, tmp_path):
    titles = []

    def run_step(title, result, python, script, *args):
        if not result.exists():
            titles.append(title)
            assert run_script(script, *args)[0] == 0

    plan = make_plan()
    first = run(plan, run_step)
    tail = ['a, seed 0 (1 of 2)', 'a, seed 3 (2 of 2)']
    steps = ('Train', 'Test')
    assert titles == [f'{step} {t}' for t in tail for step in steps]
    (tmp_path / 'runs/a/seed_3/metrics.json').unlink()
    assert run(plan, run_step) == first
    assert titles[4:] == ['Test a, seed 3 (2 of 2)']

    commands = []
    run(plan, lambda *args: commands.append(args))
    folder = tmp_path / 'runs/a/seed_3'
    _, result, _, script, *args = commands[2]
    assert (result, script.name) == (folder / 'epoch_1.pth', 'train.py')
    config = tmp_path / 'runs/a/seed_3.py'
    assert args == [config, '--work-dir', folder, '--resume']


def test_tables(tool):
    seeds = {0: {'AP': 0.25}, 1: {'AP': 0.5, 'mask': 61.26}, 2: {'AP': 0.3}}
    results = {'a': dict(params=1234567, macs=2 * 10**9, seeds=seeds)}
    content = dict(
        metrics={'x': 'AP', 'y': 'mask', 'z': 'no'},
        baseline=None,
        variants=results,
    )
    table = [
        '| variant | x | y | z | params (M) | GMACs | seeds |',
        '| --- | --- | --- | --- | --- | --- | --- |',
        '| a | 0.350 ± 0.13 | 61.3 | - | 1.235 | 2.000 | 3 |',
    ]
    assert tool['make_tables'](content).splitlines() == table

    content['baseline'] = 'b'
    assert tool['make_tables'](content).splitlines() == table
    seeds = {0: {'AP': 0.1, 'mask': 0}, 1: {'AP': 0.3, 'mask': 60}, 2: {}}
    results['b'] = dict(results['a'], seeds=seeds)
    # Of two values d1 and d2, half of the interval is 12.706 |d1 - d2| / 2.
    assert tool['make_tables'](content).splitlines()[5:] == [
        '| minus b | x | y | z | seeds |',
        '| --- | --- | --- | --- | --- |',
        '| a | +0.175 (-0.143 to +0.493) | +1.260 | - | 2 |',
    ]


def test_interval_is_students(tool):
    """As in table A.2 of any textbook: t is 4.303 for three values."""
    low, high = tool['find_interval']([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx(
        (2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3
    )


def test_a_terminated_job_ends_its_step(make_plan, run):
    """Python ends a subprocess that it waits for when it is to exit."""

    def run_step(*args):
        subprocess.run(['kill', str(os.getpid())], check=True)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit, match='143'):
            run(make_plan(), run_step)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_other_settings_do_not_go_on_with_an_old_run(make_plan, run, tmp_path):
    run(make_plan(), pretend)
    # The plan may grow, and what no run reads may change.
    plan = make_plan(f"{WIDE}, 'a': {{}}", '[0, 5]', more='x = 1')
    run(plan, pretend)
    plan.write_text(plan.read_text().replace('epochs=1', 'epochs=2'))
    with pytest.raises(InputError, match=r'seed_0.py.* other settings'):
        run(plan, pretend)
    config = Config.fromfile(tmp_path / 'runs/a/seed_0.py')
    assert config.train_cfg.max_epochs == 1


@pytest.mark.parametrize(
    ('plan', 'message'),
    [
        (dict(variants=''), 'ablation.variants to be a dict with entries'),
        (dict(metrics='metrics=[1]'), r'ablation.metrics .* got \[1\]'),
        (
            dict(metrics="metrics={'AP': dict(a=1)}"),
            "of metrics, got {'a': 1}",
        ),
        (dict(metrics='metrics={}, seed=1'), "among .*'seeds'.*, got 'seed'"),
        (
            dict(metrics="metrics={'AP': 'coco/AP'}, baseline='A'"),
            "ablation.baseline to be a variant, got 'A'",
        ),
        *(
            (dict(seeds=seeds), 'different whole numbers, got')
            for seeds in ('[]', '[0, 0]', '[True]', '[-1]', '[1.0]', '3')
        ),
        (dict(variants="'a': {}, 'a': {}"), "line 3 to .* keys, got 'a'"),
        (dict(variants="'A, b': {}, 'a b': {}"), "'a-b', as 'A, b' does"),
        (dict(variants="'!': {}"), "'!' gives the folder ''"),
        (dict(variants="'a': 3"), "'a': expected a dict of settings, got 3"),
        (dict(more='del ablation'), "a dict 'ablation', got None"),
        *(
            (dict(variants=f"'a': {{}}, 'bad': {settings!r}"), message)
            for settings, message in [
                ({'optim_wrapper.optimzer.lr': 1}, "bad.* mean 'optimizer'"),
                ({'modle': {}}, "no modle; did you mean 'model'"),
                ({'train_dataloader': dict(batchsize=1)}, 'mean .batch_size'),
                ({'param_scheduler.1.gamma': 1}, 'no param_scheduler.1'),
                ({'randomness.sed': 1}, "mean 'seed'"),
                ({'model.head.width': 3}, "unexpected .* argument 'width'"),
                ({'val_dataloader.dataset.pipes': []}, "argument 'pipes'"),
                ({'val_dataloader.dataset.ann_file': 'n.json'}, 'n.json.*not'),
            ]
        ),
    ],
)
def test_errors_before_any_training(plan, message, make_plan, run, tmp_path):
    with pytest.raises(InputError, match=message):
        run(make_plan(**plan), pretend)
    assert not (tmp_path / 'runs').exists()


def variants_of(name, tool):
    """The plan and the variants of a README, without a look at their data."""
    plan = load_config(name)
    ablation = plan._cfg_dict.pop('ablation')
    tool['check_ablation'](ablation, plan.filename)
    yield plan
    readme = (Path(plan.filename).parents[1] / 'README.md').read_text()
    columns = ' | '.join(ablation['metrics'])
    assert f'| variant | {columns} | params (M) | GMACs | seeds |' in readme
    for variant, settings in ablation['variants'].items():
        tool['check_settings'](settings, plan._cfg_dict)
        assert f'\n| {variant} | ' in readme
        cfg = Config(plan.to_dict())
        cfg.merge_from_dict(settings)
        assert cfg.train_cfg.max_epochs == cfg.param_scheduler[-1].T_max
        yield variant, cfg


def test_context_and_masking(tool):
    plan, *variants = variants_of('gccpm_context_masking_toy', tool)
    assert len(dict(variants)) == 12
    for variant, cfg in variants:
        context, masking = re.split(' context, | masking', variant)[:2]
        types = [step.type for step in cfg.train_dataloader.dataset.pipeline]
        masks = [type_ for type_ in types if 'Masking' in type_]
        assert len(types) == 8 + len(masks)
        assert masks == (
            [] if masking == 'no' else [f'{masking.title()}Masking']
        )
        module = cfg.model.head.context
        start = re.sub(r'\W', '', context).lower()
        assert (module.type.lower() if module else 'no').startswith(start)
        cfg.model.head.context = plan.model.head.context
        assert cfg.model == plan.model


def test_refinement_and_tasks(tool):
    plan, *variants = variants_of('multitask_refinement_tasks_toy', tool)
    assert len(dict(variants)) == 6
    for variant, cfg in variants:
        in_backbone, in_head = 'backbone' in variant, 'head' in variant
        masks = 'masks' in variant
        roi_head = cfg.model.roi_head
        head = roi_head.keypoint_head
        assert (cfg.model.backbone.dcn is not None) == in_backbone
        assert any(cfg.model.backbone.stage_with_dcn) == in_backbone
        assert (head.conv_cfg is not None) == head.heatmap_refine == in_head
        assert (cfg.model.type == 'MaskRCNN') == masks
        assert cfg.model.data_preprocessor.pad_mask == masks
        assert (roi_head.mask_head is not None) == masks
        assert (roi_head.mask_roi_extractor is not None) == masks
        for boxes, keypoints in (cfg.val_evaluator, cfg.test_evaluator):
            assert ('segm' in boxes.metric) == masks
            assert keypoints == plan.val_evaluator[1]
        load = cfg.train_dataloader.dataset.pipeline[1]
        assert load.get('with_mask', False) == masks


@pytest.mark.parametrize(
    'path', sorted(ROOT.glob('configs/*/ablations/*_lspet.py'))
)
def test_plans_on_photographs(path, tool):
    """Variants differ in what their names say, and in nothing else."""
    plan = load_config(str(path))
    ablation = plan._cfg_dict.pop('ablation')
    tool['check_ablation'](ablation, plan.filename)
    assert ablation['seeds'] == [0, 1, 2]
    assert plan.train_cfg.max_epochs == plan.param_scheduler[-1].T_max
    # What the hook that resumes a run demands.
    assert dict(type='RandomStateHook') in plan.custom_hooks
    for loader in (plan.train_dataloader, plan.test_dataloader):
        assert not loader.num_workers and not loader.persistent_workers
    pieces = {
        'GPR': 'GPRNeck',
        'RAM': "'RAM",
        'PSM': 'PSMNeck',
        'deconvolution': "'deconv_out_channels': (",
        'U-shaped': 'UShapedContext',
        'ASPP': 'ASPPContext',
        'pyramid pooling': 'PyramidPoolingContext',
        'body': 'BodyMasking',
        'keypoint': 'KeypointMasking',
        'cutout': 'Cutout',
    }
    may_change = re.compile(
        r'(model\.(neck|head\.(context|decoder|deconv_out_channels)|backbone\.'
        r'(type|out_indices|extra\.stage4\.multiscale_output))|'
        r'train_dataloader\.dataset\.pipeline)'
    )

    def common_steps(cfg):
        others = (*pieces.values(), 'GenerateTarget')
        steps = cfg.train_dataloader.dataset.pipeline
        return [step for step in steps if step.type not in others]

    for variant, settings in ablation['variants'].items():
        tool['check_settings'](settings, plan._cfg_dict)
        cfg = Config(plan.to_dict())
        cfg.merge_from_dict(settings)
        pipeline = cfg.train_dataloader.dataset.pipeline
        text = f'{cfg.model.to_dict()} {pipeline}'
        for word, piece in pieces.items():
            assert (word in variant) == (piece in text), (variant, word)
        steps = {step.type: step for step in pipeline}
        assert steps['GenerateTarget'].encoder == cfg.model.head.decoder
        maskings = {'BodyMasking', 'KeypointMasking', 'Cutout'} & steps.keys()
        for masking in (TRANSFORMS.build(steps[type_]) for type_ in maskings):
            assert (masking.prob, masking.fill) == (0.5, 128)
        assert all(may_change.match(key) for key in settings)
        assert common_steps(cfg) == common_steps(plan)


def test_missing_data_are_named(run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = ('tools/ablation.py', 'gccpm_context_masking_toy')
    status, _, err = run_script(*script)
    assert status == 2
    assert 'data/toy_persons/lip/' in err and 'no context, no masking' in err
    assert not (tmp_path / 'work_dirs').exists()
