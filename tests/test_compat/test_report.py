"""What the repairs found and did, as a table."""

import platform
import runpy
import subprocess
import sys
from importlib.metadata import version

from mmpose_ext.compat import report


def test_the_table_has_versions_and_repairs(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '1000')
    runpy.run_module('mmpose_ext.compat', run_name='__main__')
    lines = [
        [cell.strip() for cell in line.split('│')[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert ['Python', platform.python_version(), ''] in lines
    assert ['torch', version('torch'), ''] in lines
    assert ['mmpose', version('mmpose'), ''] in lines
    assert len(report.repairs) > 9
    for repair in report.repairs:
        assert list(repair) in lines
        assert repair.found


def test_errors_that_end_nothing_are_printed_as_ever(capsys):
    error = AttributeError('_ARRAY_API not found')
    report.report_failed_import(type(error), error, None)
    out, err = capsys.readouterr()
    assert err == 'AttributeError: _ARRAY_API not found\n' and out == ''


def report_beside(mmpose, source):
    """The lines of the command where MMPose is another file."""
    mmpose.write_text(source)
    done = subprocess.run(
        [sys.executable, '-m', 'mmpose_ext.compat'],
        env=dict(PYTHONPATH=f'{mmpose.parent}:.', COLUMNS='100'),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr == ''
    return done.stdout.splitlines()


def test_the_command_answers_where_the_import_fails(tmp_path):
    *table, message = report_beside(
        tmp_path / 'mmpose.py', 'assert False, "MMCV==9 is no good."'
    )
    assert any('torchvision' in line for line in table)
    assert message.startswith('ImportError: mmpose 1')
    assert ': MMCV==9 is no good. Type: pip uninstall -y mmcv' in message


def test_an_error_of_another_package_is_told_with_its_place(tmp_path):
    broken = tmp_path / 'mmpose.py'
    assert report_beside(broken, 'import mmpose_needs_this')[-2:] == [
        "ModuleNotFoundError: No module named 'mmpose_needs_this'",
        f'(in {broken}, line 1)',
    ]
