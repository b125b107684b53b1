"""A tenth of the paired-conditions benchmark: another mix of strata is not drift, an inverted correlation is."""

from benchmarks.monitor.paired_conditions import CASES, measured


def test_another_mix_is_quiet_and_a_pair_that_turns_round_is_found() -> None:
    """In 20 windows."""
    found = measured(CASES[0], 2, 20)
    assert (found["quiet"], found["quiet, another mix"], found["half turned round"]) == (0, 0, 20)
