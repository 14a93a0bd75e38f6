"""What is shown of long work where standard error is no terminal."""

from __future__ import annotations

from sslbench.reports.progress import scoring_progress


def test_nothing_is_shown_of_protocols_that_do_not_train(capsys):
    with scoring_progress("simclr-s0"):
        pass
    assert capsys.readouterr() == ("", "")


def test_every_fit_in_turn_is_told_at_each_tenth(capsys):
    with scoring_progress("simclr-s0") as progress:
        for _ in range(2):
            for step in range(1, 41):
                progress(step, 40, {"loss": 0.5})
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0] == "simclr-s0  step 1/40  loss 0.500"
    assert sum(line.startswith("simclr-s0  step 40/40") for line in lines) == 2
    assert len(lines) == 22
