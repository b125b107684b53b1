"""The sequential comparison of two fleets: valid at every look, and fast for a bad fleet."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_runtime.rollout.fleet_comparison import ComparisonRule, Evidence, Minute, compare
from mlops_runtime.rollout.live_history import Counts

RULE = ComparisonRule()


def minutes(*rows: tuple[int, int, int, int]) -> list[Minute]:
    """Return minutes of (old calls, old failures, new calls, new failures)."""
    return [Minute(new=Counts(calls=n, failed=x), old=Counts(calls=m, failed=y)) for m, y, n, x in rows]


def test_an_outage_of_both_is_no_evidence() -> None:
    """Half of both fleets' responses fail for 18 minutes."""
    found = compare(minutes(*[(5400, 27, 600, 3)] * 12, *[(5350, 4450, 590, 494)] * 18))
    assert found.against == pytest.approx(0.01666684314489411)
    assert (found.stopped_at, found.highest) == (0, 1.0)


def test_ten_times_the_errors_are_stopped_in_three_minutes() -> None:
    """The first minute is the warm-up, the next two count."""
    found = compare(minutes(*[(5400, 8, 600, 9)] * 3))
    assert (found.stopped_at, found.good_at) == (3, 0)
    assert 100 < found.highest < 225


def test_a_dead_fleet_is_stopped_in_its_first_minute() -> None:
    """Neither the cap nor the warm-up protects it."""
    assert compare(minutes((2700, 0, 300, 300))).stopped_at == 1
    assert compare(minutes((200, 0, 20, 20))).stopped_at == 1
    assert compare(minutes((200, 0, 19, 19))).stopped_at == 0


def test_a_burst_of_one_minute_is_not_enough() -> None:
    """A fifth of one minute's responses fail."""
    quiet = (2700, 0, 300, 0)
    found = compare(minutes(*[quiet] * 9, (2700, 0, 300, 60), *[quiet] * 10))
    assert found.against == pytest.approx(3.4032611660519905)
    assert found.stopped_at == 0


def test_ten_calls_an_hour_show_nothing() -> None:
    """They prove neither a bad fleet nor a good one."""
    found = compare(minutes(*[(1, 0, 1, 0) if minute % 12 == 0 else (0, 0, 0, 0) for minute in range(360)]))
    assert found.against == pytest.approx(0.9878447207805406)
    assert (found.stopped_at, found.good_at) == (0, 0)


@pytest.mark.parametrize(("old", "call"), [(19, 4), (9, 5), (1, 12)])
def test_all_answers_failing_is_found_at_any_volume(old: int, call: int) -> None:
    """At one call a minute; at a share of 50 % each failure is as likely as not."""
    assert compare(minutes(*[(old, 0, 1, 1)] * call)).stopped_at == call


def test_calls_that_fall_into_other_minutes_are_compared() -> None:
    """Of ten calls an hour each fleet gets every second one, and all of the new fleet fail."""

    def hours(failed: int) -> list[Minute]:
        hour = [(1, 0, 0, 0), *[(0, 0, 0, 0)] * 5, (0, 0, 1, failed), *[(0, 0, 0, 0)] * 5] * 5
        return minutes(*hour * 4)

    assert 0 < compare(hours(1)).stopped_at <= 180
    assert compare(hours(0)).highest < 2


SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3).filter(
    lambda sizes: math.prod((m + 1) * (n + 1) for m, n in sizes) <= 600
)


@settings(max_examples=40, deadline=None)
@given(
    sizes=SIZES,
    shares=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
    ratio=st.floats(1.0, 2.0),
    extra=st.floats(0.0, 0.2),
    is_cut=st.booleans(),
    noise=st.booleans(),
)
def test_the_mean_of_the_evidence_is_at_most_one_exactly(
    sizes: list[tuple[int, int]], shares: list[float], ratio: float, extra: float, *, is_cut: bool, noise: bool
) -> None:
    """Sums every outcome of up to three minutes at the edge of tolerance, leaving nothing to chance."""
    cut, warm_up = (15.0, 1) if is_cut else (1e9, 0)
    rule = replace(RULE, ratio=ratio, extra=extra, cut=cut, warm_up=warm_up)
    # overdispersion is estimated by minute and takes too long here
    history = [Counts(calls=100_000, failed=1500 if at % 2 else 500) for at in range(62)] if noise else []
    outcomes = [
        [
            ((m, y, n, x), _chance(m, y, p) * _chance(n, x, min(1.0, ratio * (p + extra))))
            for y in range(m + 1)
            for x in range(n + 1)
        ]
        for (m, n), p in zip(sizes[: 1 if noise else None], shares, strict=False)
    ]
    mean = math.fsum(
        math.prod(chance for _, chance in each)
        * compare(minutes(*(row for row, _ in each)), history=history, rule=rule).against
        for each in itertools.product(*outcomes)
    )
    assert mean <= 1 + 1e-9


def _chance(n: int, x: int, p: float) -> float:
    return math.comb(n, x) * p**x * (1 - p) ** (n - x)


COUNTS = st.integers(0, 500)
ROWS = st.lists(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), min_size=1, max_size=12).map(
    lambda rows: minutes(*((m, min(m, y), n, min(n, x)) for m, y, n, x in rows))
)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS, at=st.integers(0, 11))
def test_one_more_failure_speaks_more_against_a_fleet(rows: list[Minute], at: int) -> None:
    """A failure of the old fleet is weaker evidence; each changes it in one direction only."""
    minute = rows[at % len(rows)]
    if minute.new.failed < minute.new.calls:
        worse = [*rows]
        worse[at % len(rows)] = replace(minute, new=replace(minute.new, failed=minute.new.failed + 1))
        assert compare(worse).highest >= compare(rows).highest * (1 - 1e-9)
        assert compare(worse).good <= compare(rows).good * (1 + 1e-9)
    if minute.old.failed < minute.old.calls:
        better = [*rows]
        better[at % len(rows)] = replace(minute, old=replace(minute.old, failed=minute.old.failed + 1))
        assert compare(better).highest <= compare(rows).highest * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_more_minutes_change_nothing_that_was_found(rows: list[Minute]) -> None:
    """The maximum evidence never falls, and a stop stays at its minute."""
    shorter = [compare(rows[:upto]) for upto in range(1, len(rows) + 1)]
    highest = [found.highest for found in shorter]
    assert highest == sorted(highest)
    stops = [found.stopped_at for found in shorter if found.stopped_at]
    assert len(set(stops)) <= 1


@settings(max_examples=50, deadline=None)
@given(rows=ROWS)
def test_a_minute_without_both_fleets_says_nothing(rows: list[Minute]) -> None:
    """Whatever failures the single fleet had."""
    only_new = [replace(minute, old=Counts()) for minute in rows]
    found = compare(only_new)
    assert found.highest == pytest.approx(1.0)
    assert (found.stopped_at, found.good) == (0, 1.0)


def test_a_fleet_may_turn_bad_later() -> None:
    """Twenty good minutes do not offset later evidence."""
    good, bad = (5400, 5, 600, 0), (5400, 5, 600, 60)
    assert compare(minutes(*[good] * 20, *[bad] * 4)).stopped_at <= 24
    assert compare(minutes(*[good] * 20, *[bad] * 4)).stopped_at > 20


def test_a_cold_start_is_no_evidence() -> None:
    """Cap and warm-up tolerate 10 % failures in the first minute and 3 % in the second."""
    rows = minutes((5400, 5, 600, 60), (5400, 5, 600, 18), *[(5400, 5, 600, 1)] * 18)
    assert compare(rows).stopped_at == 0
    assert compare(rows, rule=replace(RULE, warm_up=0)).highest > compare(rows).highest
    assert compare(rows, rule=replace(RULE, cut=1e9, warm_up=0)).stopped_at == 1


def test_own_noise_of_the_fleets_weakens_evidence() -> None:
    """The new fleet's share may vary as the live fleet's does."""
    wild = [Counts(calls=100_000, failed=failed) for failed in (500, 1500) * 120]
    rows = minutes(*[(900_000, 9000, 100_000, 1300)] * 5)
    assert compare(rows).stopped_at == 4
    assert compare(rows, history=wild).stopped_at == 0


def test_a_fleet_that_serves_alone_is_held_to_the_history() -> None:
    """Twice the usual share is tolerated, more is not; a dead fleet is stopped at once."""
    usual = [Counts(calls=1000, failed=10)] * 240
    together, alone = (900, 9, 100, 1), (0, 0, 1000, 10)
    quiet = minutes(*[together] * 5, *[alone] * 10)
    assert compare(quiet, history=usual, alone_from=6).stopped_at == 0
    bad = minutes(*[together] * 5, *[(0, 0, 1000, 60)] * 10)
    assert 6 < compare(bad, history=usual, alone_from=6).stopped_at <= 9
    dead = minutes(*[together] * 5, (0, 0, 1000, 900))
    assert compare(dead, history=usual, alone_from=6).stopped_at == 6


def test_a_fleet_alone_without_a_history_is_held_to_one_percent() -> None:
    """Finds gross failure; minutes without calls of the old fleet in between do not count as alone."""
    alone = minutes(*[(900, 9, 100, 1)] * 5, *[(0, 0, 1000, 100)] * 5)
    assert compare(alone, alone_from=6).stopped_at == 8
    assert compare(minutes(*[(0, 0, 1000, 15)] * 20), alone_from=1).stopped_at == 0
    assert compare(minutes(*[(0, 0, 2, 2)] * 10), alone_from=1).stopped_at <= 5
    assert compare(alone, history=[Counts(calls=1000)] * 240).stopped_at == 0


@pytest.mark.parametrize(("base", "calls"), [(0.0, 600), (0.01, 4000)])
def test_a_good_fleet_is_shown_to_be_good(base: float, calls: int) -> None:
    """With a tenth of the calls; the warm-up does not count."""
    rng = np.random.default_rng(3)
    rows = minutes(
        *((900, int(rng.binomial(900, base)), 100, int(rng.binomial(100, base))) for _ in range(1 + calls // 100))
    )
    found = compare(rows)
    assert found.good >= 20
    assert 1 < found.good_at <= len(rows)


def test_a_fleet_at_the_margin_is_rarely_shown_good() -> None:
    """Fifty failures in a thousand against 35 is worse by more than a point."""
    rng = np.random.default_rng(4)
    shown = 0
    for _ in range(200):
        rows = minutes(*((900, int(rng.binomial(900, 0.035)), 100, int(rng.binomial(100, 0.0485))) for _ in range(30)))
        shown += any(compare(rows[:upto]).good_at for upto in (5, 10, 20, 30))
    assert shown <= 20


def test_no_minute_is_no_evidence() -> None:
    """No call has been made yet."""
    assert compare([]) == Evidence()
