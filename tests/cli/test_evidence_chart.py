"""The chart of a verdict's evidence per minute."""

from dataclasses import replace

from mlops_cli.evidence_chart import chart, rows
from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Minute
from mlops_runtime.rollout.kept_minutes import running_evidence
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.verdict import Compared

GOOD = Minute(new=Counts(calls=600), old=Counts(calls=5400, failed=5))
BAD = Minute(new=Counts(calls=600, failed=19), old=Counts(calls=5400, failed=6))
EMPTY = Minute(new=Counts(), old=Counts())
COMPARED = Compared(minutes=(GOOD, EMPTY, EMPTY, BAD, BAD, BAD), history=(), rule=ComparisonRule())


def lines(compared: Compared, width: int = 80) -> list[str]:
    """Return the printed chart."""
    return list(chart(compared, running_evidence(compared), width))


def test_each_minute_has_both_fleets_and_the_evidence_at_its_end() -> None:
    """Minutes without a call share a row; the bar reaches the mark where the rollout is stopped."""
    title, _, heads, *drawn = lines(COMPARED)
    assert title == "answers that failed; evidence of 100 against the new fleet stops it"
    assert heads.split() == ["minute", "answers", "failed", "answers", "failed", "evidence"]
    assert [line.split()[:5] for line in drawn] == [
        ["1", "600", "0", "5,400", "5"],
        ["2-3", "0", "0", "0", "0"],
        ["4", "600", "19", "5,400", "6"],
        ["5", "600", "19", "5,400", "6"],
        ["6", "600", "19", "5,400", "6"],
    ]
    assert drawn[0].endswith("│")
    assert drawn[-2].endswith("█ │")
    assert drawn[-1].endswith("█│ stopped")


def test_it_fits_into_eighty_columns_and_uses_a_hundred_and_twenty() -> None:
    """Covers marks and large evidence."""
    alone = replace(COMPARED, minutes=(BAD,) * 60, alone_from=3)
    assert max(map(len, lines(alone, 80))) <= 80
    assert max(map(len, lines(alone, 120))) <= 120
    assert max(map(len, lines(COMPARED, 120))) > max(map(len, lines(COMPARED, 80)))


def test_slow_answers_are_named_as_such() -> None:
    """Slow is defined by the new fleet's limit."""
    title, _, heads, *_ = lines(replace(COMPARED, did="took longer than 9 ms", old_did=" longer than 6 ms"))
    assert title.startswith("answers that took longer than 9 ms; evidence of 100")
    assert heads.split()[2] == "slow"


def test_a_long_rollout_has_several_minutes_a_row() -> None:
    """Sums lose nothing."""
    minutes = (GOOD,) * 480
    found = rows(minutes, running_evidence(replace(COMPARED, minutes=minutes)))
    assert len(found) == 60
    assert found[0].minutes == "1-8"
    assert sum(row.new.calls for row in found) == 480 * 600
    assert found[-1].last == 480


def test_marks_say_when_it_was_shown_good_and_when_the_old_fleet_was_asked_no_more() -> None:
    """Marks are in the row of that minute."""
    alone = Minute(new=Counts(calls=6000), old=Counts())
    drawn = lines(replace(COMPARED, minutes=(GOOD, GOOD, GOOD, alone, alone), alone_from=4))[3:]
    (good,) = [number for number, line in enumerate(drawn, 1) if "shown good" in line]
    assert good <= 3
    assert drawn[3].endswith("alone")


def test_no_minute_is_no_row() -> None:
    """Covers a verdict before the first call."""
    assert len(lines(replace(COMPARED, minutes=()))) == 3
