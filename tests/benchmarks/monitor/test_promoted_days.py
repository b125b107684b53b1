"""A slice of the promoted-days benchmark: a quarter of the households."""

import numpy as np
import pytest
from benchmarks.monitor.promoted_days import ALIKE, OWN, left_out, ranked, stable
from benchmarks.monitor.windows import Rows, retail

from mlops_runtime.contracts.monitor import Counts, FeatureBaseline, FeatureCounts, Stratum


@pytest.fixture(scope="module")
def rows() -> Rows:
    """A quarter of the households, the whole year."""
    return retail(4)


def test_days_of_weeks_that_the_baseline_does_not_have_are_quiet(rows: Rows) -> None:
    """Of 14 days of two weeks, Easter's among them, at most one fires, none twice in three, and no more than with equal strata."""
    weeks = int(stable(rows)[1].max()) + 1
    found = left_out(rows, np.isin(np.arange(weeks), (6, 7)), 14)
    assert found[OWN]["windows"] == 14
    assert found[OWN]["fired"] <= min(1, found[ALIKE]["fired"])
    assert found[OWN]["persisted"] == 0


def test_a_day_is_ranked_by_its_distance_from_other_weeks() -> None:
    """Of three weeks of the same two days: a day like one of them is as far as that one, and a new one is farther than all."""
    feature = FeatureBaseline(name="x", type="category", levels=("a", "b", "c"), counts=(300, 200, 100, 0, 0))

    def day(*counts: int) -> Counts:
        of = FeatureCounts(name="x", counts=(*counts, 0, 0))
        stratum = Stratum(key="sale", rows=sum(counts), features=(of,))
        more = {"rows": sum(counts), "calls": 1, "features": (), "first": "", "last": ""}
        return Counts(baseline_sha256="b", strata=(stratum,), **more)

    before = [
        (week, day(*counts)) for week, counts in enumerate(((50, 30, 20), (40, 40, 20), (45, 35, 20))) for _ in "ab"
    ]
    assert ranked(feature, "sale", day(10, 10, 80), before) == [0, 6]
    assert ranked(feature, "sale", day(45, 35, 20), before)[0] >= 4
