"""Exported files that say what only a program may say: nothing of it runs.

Each description is put into a file that works. The same file is opened without
the check, too, which must leave the trace that the check keeps from being
left.
"""

import sys
from contextlib import suppress

import numpy as np
import pytest
from exported_description import put

from mmpose_ext.deploy import PoseModel, runtimes
from mmpose_ext.errors import InputError

FORMATS = ('.onnx', '.xml')


@pytest.fixture(autouse=True)
def evil(tmp_path, monkeypatch):
    """A module ``evil`` can be imported, which leaves a trace."""
    trace = f'open({str(tmp_path / "trace")!r}, "w").close()\n'
    package = tmp_path / 'evil'
    package.mkdir()
    (package / '__init__.py').write_text(
        f'def run(*args, **kwargs):\n    {trace}'
    )
    (package / 'registry.py').write_text(trace)
    (tmp_path / 'evilmodule.py').write_text(trace)
    (tmp_path / 'evil.py').write_text(f'{trace}dataset_info = dict()\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ('evil', 'evil.registry', 'evilmodule'):
        monkeypatch.delitem(sys.modules, name, raising=False)


SYSTEM = dict(type='os.system', command='touch trace')
RUN = dict(type='evil.run')
HEAD, STEP = 'model.head', 'pipeline.1'

# What runs something, and where the message says that it stands.
RUNNING = {
    'head': (HEAD, SYSTEM, r'model\.head\.type'),
    'loss': (f'{HEAD}.loss', SYSTEM, r'model\.head\.loss\.type'),
    'decoder': (f'{HEAD}.decoder', SYSTEM, r'head\.decoder\.type'),
    'layer': (f'{HEAD}.final_layer', RUN, r'head\.final_layer\.type'),
    'losses': (
        f'{HEAD}.loss',
        dict(type='CombinedLoss', losses=dict(a=SYSTEM)),
        r'head\.loss\.losses\.a\.type',
    ),
    'inner head': (
        HEAD,
        dict(
            type='VisPredictHead',
            pose_cfg=dict(RUN, in_channels=1, out_channels=17),
            loss=dict(type='BCELoss'),
        ),
        r'head\.pose_cfg\.type',
    ),
    'preprocessor': (
        'model.data_preprocessor',
        SYSTEM,
        r'model\.data_preprocessor\.type',
    ),
    'batch augmentation': (
        'model.data_preprocessor.batch_augments',
        [SYSTEM],
        r'batch_augments\[0\]\.type',
    ),
    'neck': ('model.neck', SYSTEM, "model is 'neck'"),
    'transform': (STEP, SYSTEM, r'pipeline\[1\]\.type'),
    'in RandomApply': (
        STEP,
        dict(type='RandomApply', transforms=[SYSTEM]),
        r'pipeline\[1\]\.transforms\[0\]\.type',
    ),
    'in RandomChoice': (
        STEP,
        dict(type='RandomChoice', transforms=[[SYSTEM]]),
        r'pipeline\[1\]\.transforms\[0\]\[0\]\.type',
    ),
    'in Compose, twice': (
        STEP,
        dict(
            type='Compose',
            transforms=(dict(type='Compose', transforms=SYSTEM),),
        ),
        r'transforms\[0\]\.transforms\.type',
    ),
    'in KeyMapper': (
        STEP,
        dict(type='KeyMapper', transforms=SYSTEM),
        "type is 'KeyMapper'",
    ),
    'in TestTimeAug': (
        STEP,
        dict(type='TestTimeAug', transforms=[[SYSTEM]]),
        "type is 'TestTimeAug'",
    ),
    'encoder': (
        STEP,
        dict(type='GenerateTarget', encoder=[SYSTEM]),
        r'encoder\[0\]\.type',
    ),
    'name of a class in another argument': (
        STEP,
        dict(type='RandomResize', scale=1, resize_type='evil.run'),
        r'pipeline\[1\]\.resize_type',
    ),
    'module in another argument': (
        STEP,
        dict(type='RandomResize', scale=1, resize_type='evilmodule'),
        r"resize_type is 'evilmodule'",
    ),
    'scope': (f'{HEAD}._scope_', 'evil', "'_scope_'"),
    'scope in a name': (f'{HEAD}.type', 'evil.Head', r"'evil\.Head'"),
    'name that is a module': (f'{HEAD}.type', 'evilmodule', "'evilmod"),
    'config with the metainfo of a loss': (
        f'{HEAD}.loss',
        dict(type='OKSLoss', metainfo='evil.py'),
        r'loss\.metainfo',
    ),
    'config with the metainfo of the model': (
        'model.metainfo',
        dict(from_file='evil.py'),
        "model is 'metainfo'",
    ),
}


@pytest.mark.parametrize('suffix', FORMATS)
def test_what_was_not_changed_works(suffix, described, write_file, samples):
    image, boxes = samples[0]
    path = write_file(described, suffix)
    expected = PoseModel(path, num_threads=1)(image, boxes)
    # As in files of version 0.1.0 of configs that build on MMPose's.
    described['pipeline'] = [
        dict(step, _scope_='mmpose') for step in described['pipeline']
    ]
    described['pipeline'].insert(
        1,
        dict(
            type='RandomApply',
            transforms=[dict(type='RandomFlip', prob=0.0)],
            prob=0.5,
        ),
    )
    write_file(described, suffix)
    found = PoseModel(path, num_threads=1)(image, boxes)
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)


@pytest.mark.parametrize('suffix', FORMATS)
def test_texts_in_files(suffix, write_file, tmp_path):
    path = write_file('__import__("os").system("touch trace")', suffix)
    with pytest.raises(InputError, match='is broken: its description'):
        PoseModel(path)
    assert not (tmp_path / 'trace').exists()


@pytest.mark.parametrize('suffix', FORMATS)
@pytest.mark.parametrize('name', RUNNING)
def test_nothing_runs(
    name, suffix, described, write_file, tmp_path, monkeypatch
):
    place, value, message = RUNNING[name]
    path = write_file(put(place, value, described), suffix)
    with pytest.raises(InputError, match=message) as caught:
        PoseModel(path)
    assert f"exported file '{path}' is refused" in str(caught.value)
    assert not (tmp_path / 'trace').exists()
    monkeypatch.setattr(runtimes, 'check_declaration', lambda *_: None)
    with suppress(InputError):
        PoseModel(path)
    assert (tmp_path / 'trace').exists()
