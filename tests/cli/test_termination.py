"""SIGTERM in the middle of a command."""

import os
import signal

import pytest

from mlops_cli.termination import ended_by_sigterm


def test_sigterm_leaves_the_block_and_a_second_one_does_not_cut_its_end_short() -> None:
    """Afterwards the previous signal handler is restored."""
    before, cleaned = signal.getsignal(signal.SIGTERM), []

    with pytest.raises(SystemExit) as ended, ended_by_sigterm():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned.append("all")

    assert (ended.value.code, cleaned) == (128 + signal.SIGTERM, ["all"])
    assert signal.getsignal(signal.SIGTERM) is before
