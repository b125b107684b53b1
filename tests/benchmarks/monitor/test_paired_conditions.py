"""A tenth of the table of pairs given conditions: another mix of strata is not drift, a pair that turns round is."""

from benchmarks.monitor.paired_conditions import CASES, measured


def test_another_mix_is_quiet_and_a_pair_that_turns_round_is_found() -> None:
    """Of 20 windows."""
    found = measured(CASES[0], 2, 20)
    assert (found["quiet"], found["quiet, another mix"], found["half turned round"]) == (0, 0, 20)
