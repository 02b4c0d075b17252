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


def test_a_wrong_input_ends_with_one_line(capsys):
    def main():
        raise InputError("folder 'a' does not exist")

    with pytest.raises(SystemExit) as exit_:
        run_tool(main)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "error: folder 'a' does not exist\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 / 0)


@pytest.mark.parametrize(
    'error, message',
    [
        (
            OSError(errno.ENOSPC, 'No space left on device', 'x.json'),
            "cannot write 'x.json': No space left on device",
        ),
        (OSError(errno.ENOSPC, 'No space'), 'cannot write: No space'),
        (
            OSError(errno.EACCES, 'Permission denied', 'a/x'),
            "cannot access 'a/x': Permission denied",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line(error, message, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_tool(main)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f'error: {message}\n'


def test_other_errors_of_the_system_are_defects():
    def main():
        raise ChildProcessError(errno.ECHILD, 'No child processes')

    with pytest.raises(ChildProcessError):
        run_tool(main)


def test_ctrl_c_ends_with_one_line(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exit_:
        run_tool(main)
    assert exit_.value.code == 130
    assert capsys.readouterr().err == 'interrupted\n'


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
