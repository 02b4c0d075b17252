"""Packages that do not fit each other."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from mmpose_ext.compat import environment

FITTING = {
    'torch': '2.13.0+cpu',
    'torchvision': '0.28.0',
    'numpy': '2.3.5',
    'opencv-python': '4.11.0.86',
    'mmengine': '0.10.7',
    'mmcv-lite': '2.1.0',
    'mmpose': '1.3.2',
    'mmdet': '3.3.0',
}
REQUIREMENTS = {
    'mmpose': ['numpy', "mmcv<3.0.0,>=2.0.0; extra == 'mim'"],
    'mmdet': ['numpy', "mmcv<2.2.0,>=2.0.0rc4; extra == 'mim'"],
}
MODULES = {
    'opencv-python': 'cv2',
    'mmcv-lite': 'mmcv',
    'onedl-mmcv': 'mmcv',
    'onedl-mmdetection': 'mmdet',
}
LITE = "pip install 'mmcv-lite<2.2.0,>=2.0.0rc4'"
COMPILED = (
    "pip install 'setuptools<82' && MMCV_WITH_OPS=1 pip install "
    "--no-build-isolation --no-cache-dir 'mmcv<2.2.0,>=2.0.0rc4'"
)


@pytest.fixture
def packages(monkeypatch):
    """What is installed, by name, to be changed."""
    there = dict(FITTING)

    def version(name):
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    def find_spec(name):
        modules = [MODULES.get(package, package) for package in there]
        return ModuleSpec(name, None, origin='.') if name in modules else None

    monkeypatch.setattr(environment, 'version', version)
    monkeypatch.setattr(environment, 'requires', REQUIREMENTS.get)
    monkeypatch.setattr(importlib.util, 'find_spec', find_spec)
    return there


@pytest.fixture
def refused(packages):
    """The message of the ``ImportError`` for what is installed."""

    def message():
        with pytest.raises(ImportError) as error:
            environment.check()
        return str(error.value)

    return message


@pytest.fixture
def warned(packages, recwarn):
    """The only warning for what is installed."""

    def message():
        environment.check()
        (warning,) = recwarn
        return str(warning.message)

    return message


def test_nothing_is_said_of_what_fits(packages, recwarn):
    environment.check()
    # Of one version, as albumentations brings it; a fork of MMDet.
    packages['opencv-python-headless'] = packages['opencv-python']
    packages['onedl-mmcv'] = '2.3.6'
    packages['onedl-mmdetection'] = '3.5.1'
    # One whose metadata is lost.
    packages['opencv-contrib-python'] = None
    del packages['mmcv-lite'], packages['mmdet']
    environment.check()
    assert not recwarn.list


@pytest.mark.parametrize(
    'torch, command',
    [
        ('2.13.0+cpu', "pip install torch==2.13.0 'torchvision==0.28.*'"),
        ('2.1.2', "pip install torch==2.1.2 'torchvision==0.16.*'"),
        ('3.0.0', 'pip install torchvision'),
    ],
)
def test_a_torchvision_is_missing(packages, refused, torch, command):
    packages['torch'] = torch
    del packages['torchvision']
    assert refused() == (
        'mmpose_ext needs torchvision, which is not installed. Type: '
        f'{command}'
    )


@pytest.mark.parametrize(
    'name, command',
    [
        ('torch', 'pip install torch torchvision'),
        ('mmengine', 'pip install mmengine'),
        ('mmcv-lite', LITE),
        (
            'mmpose',
            "pip install --no-deps 'mmpose>=1.3,<2' && pip install "
            'json-tricks munkres scipy',
        ),
        ('mmdet', "pip install 'mmdet>=3.0,<4'"),
        ('opencv-python', 'pip install opencv-python'),
    ],
)
def test_a_package_is_missing(packages, refused, name, command):
    del packages[name]
    assert refused().endswith(f', which is not installed. Type: {command}')


def test_an_mmcv_is_too_new_for_mmdet(packages, refused, monkeypatch):
    packages['mmcv-lite'] = '2.2.0'
    environment.check()  # by an MMDet whose bounds have been edited
    import_module = importlib.import_module

    def refuse(name):
        if name == 'mmdet':
            raise AssertionError(f'{culprit}==2.2.0 is used but incompatible.')
        return import_module(name)

    monkeypatch.setattr(importlib, 'import_module', refuse)
    culprit = 'MMEngine'
    with pytest.raises(AssertionError, match='MMEngine'):
        environment.check()
    culprit = 'MMCV'
    remove = 'pip uninstall -y mmcv-lite && '
    assert refused() == (
        'mmdet 3.3.0 does not take mmcv-lite 2.2.0: MMCV==2.2.0 is used but '
        f'incompatible. Type: {remove}{LITE}, or for compiled operators, '
        f'with a compiler: {remove}{COMPILED}'
    )


def test_mmdet_may_be_missing(packages, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    environment.check()


def test_two_mmcvs_share_a_folder(packages, warned):
    packages['mmcv'] = '2.1.0'
    message = warned()
    assert message.startswith(
        'mmcv 2.1.0 and mmcv-lite 2.1.0 are both installed'
    )
    remove = 'pip uninstall -y mmcv mmcv-lite && '
    assert f'Type: {remove}{LITE}, or' in message
    assert message.endswith(f'{remove}{COMPILED}')


def test_two_opencvs_share_a_folder(packages, warned):
    packages['opencv-contrib-python'] = '4.9.0.80'
    message = warned()
    assert message.startswith(
        'opencv-python 4.11.0.86 and opencv-contrib-python 4.9.0.80 are both'
    )
    assert message.endswith(
        'Type: pip uninstall -y opencv-python opencv-contrib-python && '
        'pip install --no-deps opencv-python==4.11.0.86'
    )


def test_the_files_of_opencv_are_gone(packages, refused, monkeypatch):
    monkeypatch.setitem(MODULES, 'opencv-python', 'no module')
    assert refused() == (
        'the files of opencv-python 4.11.0.86 are gone, as after another of '
        'the packages of OpenCV was uninstalled. Type: pip uninstall -y '
        'opencv-python && pip install --no-deps opencv-python==4.11.0.86'
    )


@pytest.mark.parametrize(
    'numpy, broken, names, command',
    [
        (
            '2.3.5',
            ['cv2', 'pycocotools.mask'],
            'opencv-python 4.11.0.86 and pycocotools 2.0.7',
            'opencv-python pycocotools',
        ),
        ('1.22.4', ['cv2'], 'opencv-python 4.11.0.86', "'numpy<2'"),
        (
            '2.3.5',
            ['torch', 'cv2'],
            'torch 2.13.0+cpu and opencv-python 4.11.0.86',
            "'numpy<2'",
        ),
    ],
)
def test_numpy_was_moved(
    packages, refused, monkeypatch, numpy, broken, names, command
):
    packages['pycocotools'] = '2.0.7'
    monkeypatch.setattr('numpy.__version__', numpy)

    def import_module(name):
        if name in broken:
            raise ImportError('\nnumpy.core.multiarray failed to import\n...')
        if name == 'matplotlib.path':
            raise ImportError('libfreetype.so: no such file')
        return sys.modules[name]

    monkeypatch.setattr(importlib, 'import_module', import_module)
    assert refused() == (
        f'{names} cannot work with numpy {numpy} (numpy.core.multiarray '
        f'failed to import). Type: pip install -U {command}'
    )


def test_torch_does_not_know_numpy(packages, refused, monkeypatch):
    monkeypatch.setattr('torch.zeros', torch.nn.Identity)  # without numpy()
    assert refused().startswith('torch 2.13.0+cpu cannot work with numpy ')
