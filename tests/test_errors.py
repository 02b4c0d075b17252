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
