import errno
import io
import logging

import pytest

from mmpose_ext.errors import InputError, did_you_mean, run_tool


def test_did_you_mean_ignores_case():
    known = ['GPRNeck', 'RAMNeck', 'Cutout']
    assert did_you_mean('gprneck', known) == (
        "; did you mean 'GPRNeck' or 'RAMNeck'?"
    )
    assert did_you_mean('HeatmapHead', known) == ''


def raise_(error):
    raise error


@pytest.mark.parametrize(
    'error, status, line',
    [
        (InputError("folder 'a' does not exist"), 2,
         "error: folder 'a' does not exist"),
        (OSError(errno.ENOSPC, 'No space left on device', 'x.json'), 2,
         "error: cannot write 'x.json': No space left on device"),
        (OSError(errno.ENOSPC, 'No space'), 2,
         'error: cannot write: No space'),
        (OSError(errno.EACCES, 'Permission denied', 'a/x'), 2,
         "error: cannot access 'a/x': Permission denied"),
        (KeyboardInterrupt(), 130, 'interrupted'),
    ],
)  # fmt: skip
def test_what_ends_with_one_line(error, status, line, capsys):
    with pytest.raises(SystemExit) as exit_:
        run_tool(lambda: raise_(error))
    assert exit_.value.code == status
    assert capsys.readouterr().err == f'{line}\n'


def test_a_defect_keeps_its_traceback():
    for error in (
        ZeroDivisionError(),
        ChildProcessError(errno.ECHILD, 'No child processes'),
    ):
        with pytest.raises(type(error)):
            run_tool(lambda error=error: raise_(error))


def test_a_log_that_cannot_be_written_adds_no_traceback(monkeypatch, capsys):
    monkeypatch.setattr(logging, 'raiseExceptions', True)

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, 'No space left on device')

    def main():
        logger = logging.Logger('a')
        logger.addHandler(logging.StreamHandler(Full()))
        logger.warning('some news')
        raise InputError('at last')

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err == 'error: at last\n'
