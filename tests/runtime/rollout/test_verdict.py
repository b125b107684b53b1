"""The verdict of a rollout's evidence, as a word and as a sentence."""

from dataclasses import replace

import pytest

from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.verdict import Action, Compared, error_rule, judge, slow_rule


def compared(*rows: tuple[int, int, int, int], **more: object) -> Compared:
    """Return minutes of (old calls, old failures, new calls, new failures) as failed responses."""
    minutes = [Minute(new=Counts(calls=n, failed=x), old=Counts(calls=m, failed=y)) for m, y, n, x in rows]
    return replace(Compared(minutes=minutes, history=(), rule=ComparisonRule()), **more)  # type: ignore[arg-type]


def test_a_bad_fleet_is_stopped_with_both_counts_and_a_probability() -> None:
    """The probability is rounded up, never understated."""
    found = judge(compared(*[(5400, 8, 600, 9)] * 3))
    assert (found.action, found.calls, found.minutes) == (Action.STOP, 1773, 3)
    assert found.evidence >= 100
    assert found.sentence == (
        "after 3 minutes: 27 of 1,800 answers failed against 24 of 16,200 of the live model; "
        "false alarm probability below 1.0 %"
    )


def test_the_sentence_is_of_the_minute_that_stopped_it() -> None:
    """Later calls return the same result."""
    rows = [(5400, 8, 600, 9)] * 3
    assert judge(compared(*rows, *[(6000, 9, 0, 0)] * 8)).sentence == judge(compared(*rows)).sentence


def test_failing_answers_are_no_evidence_for_a_promotion() -> None:
    """None of twenty calls succeeded."""
    assert judge(compared(*[(1, 0, 1, 1)] * 3)).calls == 0


def test_a_dead_fleet_is_stopped_in_one_minute() -> None:
    """Probabilities below a tenth of a percent are not printed."""
    assert judge(compared((2700, 0, 300, 300))).sentence == (
        "after 1 minute: 300 of 300 answers failed against 0 of 2,700 of the live model; "
        "false alarm probability below 0.1 %"
    )


def test_a_fleet_that_is_shown_good_has_enough() -> None:
    """It fails less than one point more."""
    found = judge(compared(*[(5400, 5, 600, 1)] * 20))
    assert (found.action, found.good_at > 0) == (Action.ENOUGH, True)
    assert found.sentence == (
        "after 20 minutes: 20 of 12,000 answers failed against 100 of 108,000 of the live model; "
        "shown to fail less than one percentage point more often"
    )


def test_thin_traffic_says_what_it_cannot_exclude() -> None:
    """Thirty-two responses without a failure leave 15 %."""
    found = judge(compared(*[(1, 0, 1, 0)] * 32))
    assert found.action is Action.CONTINUE
    assert found.sentence == (
        "after 32 minutes: 0 of 32 answers failed against 0 of 32 of the live model; "
        "a failing share of up to 15 % cannot be excluded"
    )


def test_one_answer_excludes_nothing() -> None:
    """In digits, not in powers of ten."""
    assert judge(compared((1, 0, 1, 0))).sentence.endswith("; a failing share of up to 100 % cannot be excluded")


def test_no_answer_is_no_evidence() -> None:
    """Without calls there is no claim."""
    found = judge(compared())
    assert (found.action, found.calls, found.evidence) == (Action.CONTINUE, 0, 1.0)
    assert found.sentence == "after 0 minutes: 0 of 0 answers failed against 0 of 0 of the live model"


def test_slow_answers_stop_a_fleet_that_does_not_fail() -> None:
    """The sentence describes the comparison that stopped it."""
    errors = compared(*[(5400, 0, 600, 0)] * 6)
    slow = compared(
        *[(5400, 54, 600, 120)] * 6,
        rule=slow_rule(false_alarm=0.01, limits=1),
        did="took longer than 180 ms",
        old_did=" longer than 120 ms",
    )
    found = judge(errors, (slow,))
    assert (found.action, found.calls, found.minutes) == (Action.STOP, 2400, 4)
    assert found.sentence == (
        "after 4 minutes: 480 of 2,400 answers took longer than 180 ms against 216 of 21,600 of the live model "
        "longer than 120 ms; false alarm probability below 0.1 %"
    )


def test_slow_answers_are_never_a_dead_fleet() -> None:
    """Cold caches slow all responses of the first minute."""
    errors = compared((5400, 0, 600, 0))
    slow = compared((5400, 54, 600, 600), rule=slow_rule(false_alarm=0.01, limits=2))
    assert judge(errors, (slow,)).action is Action.CONTINUE


def test_false_alarms_are_shared() -> None:
    """With latency compared, errors have half of them, and each limit its part of the other half."""
    assert error_rule(false_alarm=0.01, extra=0.001, is_latency_compared=False) == ComparisonRule(extra=0.001)
    assert error_rule(false_alarm=0.01, extra=0.001, is_latency_compared=True).false_alarm == 0.005
    assert slow_rule(false_alarm=0.01, limits=2).false_alarm == pytest.approx(0.0025)


def test_a_doubtful_fleet_has_not_enough() -> None:
    """Twenty good minutes, but three to one against it since."""
    good, bad = (5400, 5, 600, 0), (5400, 5, 600, 18)
    shown = compared(*[good] * 20)
    assert judge(shown).action is Action.ENOUGH
    doubtful = judge(compared(*[good] * 60, *[bad] * 4, rule=ComparisonRule(false_alarm=1e-9)))
    assert (doubtful.good_at > 0, doubtful.evidence >= 3) == (True, True)
    assert doubtful.action is Action.CONTINUE


def test_a_fleet_that_serves_alone_is_said_to() -> None:
    """The record has its reference."""
    rows = [*[(900, 9, 100, 1)] * 5, *[(0, 0, 1000, 10)] * 5]
    found = judge(compared(*rows, history=[Counts(calls=1000, failed=10)] * 240, alone_from=6))
    assert found.sentence.endswith("; at the end compared with the live model's hours before")
    assert "against 45 of 4,500 of the live model" in found.sentence
    alone = judge(compared((0, 0, 1000, 10), history=[Counts(calls=1000, failed=10)] * 240, alone_from=1))
    assert "against no call of the live model" in alone.sentence
    unknown = judge(compared((0, 0, 1000, 10), alone_from=1))
    assert unknown.sentence.endswith("; at the end compared with a failing share of 1 %, as there were no calls before")
