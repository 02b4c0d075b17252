"""MMEngine's search of packages, with and without setuptools' module."""

import importlib
import os.path as osp
import sys

import mmpose
import pytest
from mmengine.utils import get_installed_path, is_installed

from mmpose_ext.compat import environment
from mmpose_ext.compat.stand_ins import provide_pkg_resources


@pytest.fixture(params=['ours', 'theirs'])
def module(request, monkeypatch):
    """``pkg_resources``, as MMEngine imports it."""
    if request.param == 'theirs':
        return pytest.importorskip(
            'pkg_resources', reason="needs 'setuptools<82'"
        )
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)
    repair = provide_pkg_resources()
    if repair.done:
        mim = 'openmim' in environment.installed('openmim')
        assert ("type: pip install 'setuptools<82'" in repair.done) == mim
    return importlib.import_module('pkg_resources')


def test_packages_are_found(module, monkeypatch, tmp_path):
    is_theirs = module.__name__ == 'pkg_resources'
    info = tmp_path / 'of_tests-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Name: of-tests\nVersion: 1.0\n')
    (info / 'top_level.txt').write_text('its_module\n')
    # Pytest calls a function of the module here.
    monkeypatch.syspath_prepend(str(tmp_path))

    assert is_installed('mmpose')
    assert get_installed_path('mmpose') == osp.dirname(mmpose.__file__)
    assert is_installed('of-tests')
    assert get_installed_path('of-tests') == str(tmp_path / 'its_module')
    (info / 'top_level.txt').unlink()
    with pytest.raises(ValueError, match='of-tests'):
        get_installed_path('of-tests')
    # A module that no installed package has, and what is not there at all.
    (tmp_path / 'plain_of_tests').mkdir()
    (tmp_path / 'plain_of_tests/__init__.py').touch()
    assert is_installed('plain_of_tests')
    assert get_installed_path('plain_of_tests') == str(
        tmp_path / 'plain_of_tests'
    )
    assert not is_installed('no_such_package')
    with pytest.raises(module.DistributionNotFound):
        get_installed_path('no_such_package')
    assert (sys.modules['pkg_resources'].__name__ == 'pkg_resources') == (
        is_theirs
    )


def test_a_working_module_is_kept():
    theirs = pytest.importorskip(
        'pkg_resources', reason="needs 'setuptools<82'"
    )
    provide_pkg_resources()
    assert sys.modules['pkg_resources'] is theirs
