"""Drift that is diluted over the whole window, in one stratum or in opposite directions in several; simulated hours."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mlops_runtime.contracts.monitor import Baseline, Condition, FeatureBaseline
from mlops_runtime.contracts.monitor_report import FeatureDrift
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import place_scores
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.comparison import Comparison, conditioned
from mlops_runtime.monitor.monitors.drift.decision import decide, examine
from mlops_runtime.monitor.monitors.drift.rules import Rule, distribution
from mlops_runtime.monitor.monitors.drift.strata import smallest, together
from mlops_runtime.monitor.spec import MonitorSpec

SPEC = MonitorSpec()
# for one of thirty features
FOUND = 0.01 / 30
HOURS = np.arange(24)
EVERY, ONE, BOTH_WAYS = np.full(24, 0.3), np.eye(24)[8] * 1.5, np.where(HOURS % 2, 0.5, -0.5)


def rows(
    random: np.random.Generator, days: int, shift: np.ndarray | float = 0.0, *, each: int = 200
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return normal values with a daily cycle and hourly levels: columns, times and clusters."""
    hours = np.arange(24 * days)
    level = (
        np.sin(2 * np.pi * hours / 24) + random.normal(0, 0.1, len(hours)) + np.tile(np.broadcast_to(shift, 24), days)
    )
    cluster = np.repeat(hours, each)
    times = np.datetime64("2017-08-01T00:30:00") + cluster.astype("timedelta64[h]")
    values = random.normal(level[cluster]).astype(np.float32)
    flags = np.where(random.random(len(values)) < 0.5, "yes", "no").astype(object)
    return {"x": values, "flag": flags}, times.astype("datetime64[s]"), cluster


def baseline(random: np.random.Generator, *, each: int = 200) -> Baseline:
    """Return a baseline of three weeks, given the hour of the day."""
    columns, times, clusters = rows(random, 21, each=each)
    return fit_baseline(
        columns,
        types={"x": "number", "flag": "category"},
        training_set_id="t",
        created="2017-09-01T00:00:00Z",
        clusters=clusters,
        times=times,
        conditions=[Condition(name="hour", kind="hour_of_day")],
    )


def day(random: np.random.Generator, of: Baseline, shift: np.ndarray | float = 0.0) -> FeatureDrift:
    """Return the verdict on a day."""
    columns, times, _ = rows(random, 1, shift)
    return decide(of, count_columns(columns, of, times=times), SPEC)[0]


def test_drift_at_some_hours_is_found_and_quiet_days_are_quiet() -> None:
    """Finds a small change at all hours, a large one at one hour, and half up and half down.

    Design effects over the whole day would hide all three.
    """
    random = np.random.default_rng(7)
    found: dict[str, list[bool]] = {}
    for _ in range(4):
        known = baseline(random)
        feature = known.features[0]
        assert feature.overdispersion > 4
        assert feature.given is not None
        assert feature.given.overdispersion < 1.5
        for name, shift in (("quiet", 0.0), ("every", EVERY), ("one", ONE), ("both ways", BOTH_WAYS)):
            for _ in range(5 if name == "quiet" else 1):
                found.setdefault(name, []).append(day(random, known, shift).p_value < FOUND)
    assert {name: np.mean(of) for name, of in found.items()} == {"quiet": 0, "every": 1, "one": 1, "both ways": 1}


def test_the_stratum_that_decided_is_named() -> None:
    """Names the deciding stratum by its key."""
    random = np.random.default_rng(8)
    known = baseline(random)
    assert str(day(random, known, ONE).description).endswith(", at 08h")
    assert "h among others" in str(day(random, known, BOTH_WAYS).description)


def test_nulls_new_levels_and_types_of_one_hour_are_found() -> None:
    """Exact tests of one stratum find changes in a fortieth of the day, which is more than half of an hour."""
    random = np.random.default_rng(9)
    known = baseline(random)
    columns, times, _ = rows(random, 1)
    at_three = np.flatnonzero(times.astype("datetime64[h]").astype(np.int64) % 24 == 3)[:120]
    values = columns["x"].astype(object)
    for broken, number, rule in ((None, 40, Rule.NULL_SHARE), ("12,50", 120, Rule.TYPE)):
        values[at_three[:number]] = broken
        counts = count_columns({"x": values, "flag": columns["flag"]}, known, times=times)
        [compared] = [one for one in conditioned(known, counts) if one.feature.name == "x"]
        finding = smallest(compared, compared.cells, SPEC)
        assert (finding.rule, finding.p_value < FOUND) == (rule, True)
        assert finding.words().endswith(", at 03h")
    flags = columns["flag"].copy()
    flags[at_three] = "perhaps"
    compared = conditioned(known, count_columns({"x": columns["x"], "flag": flags}, known, times=times))[1]
    finding = smallest(compared, compared.cells, SPEC)
    assert (finding.rule, finding.p_value < FOUND) == (Rule.NEW_LEVEL, True)
    assert finding.words() == "levels never seen before: from 0 % to 60 % of the rows, at 03h"


def test_a_number_that_lies_elsewhere_in_one_thin_hour_is_found() -> None:
    """Finds a moved hour of thirty rows, which fill two distribution cells, by normal scores; quiet hours stay quiet."""
    random = np.random.default_rng(11)
    hours = np.repeat(np.arange(24), 30)

    def hourly(values: np.ndarray, of: Baseline) -> Comparison:
        counts = count_columns({"x": values, "hour": hours.astype(str)}, of)
        return next(one for one in conditioned(of, counts) if one.feature.name == "x")

    draws: dict[str, Callable[[int], np.ndarray]] = {
        "normal": lambda rows: random.normal(size=rows),
        "mostly zero": lambda rows: np.where(random.random(rows) < 0.6, 0.0, random.lognormal(1, 1, rows)),
        "counts": lambda rows: random.poisson(0.7, rows).astype(np.float64),
    }
    for draw in draws.values():
        known = fit_baseline(
            {"x": draw(8 * len(hours)), "hour": np.tile(hours.astype(str), 8)},
            types={"x": "number", "hour": "category"},
            training_set_id="t",
            created="2017-09-01T00:00:00Z",
            conditions=[Condition(name="hour")],
        )
        quiet = [hourly(draw(len(hours)), known) for _ in range(100)]
        # with no tolerated effect, where the level is nearest to its nominal value
        strict = MonitorSpec(minimum_effect=1e-9)
        p_values = np.array([smallest(one, one.cells, strict).p_value for one in quiet])
        assert (p_values < 0.05).mean() <= 0.08
    random = np.random.default_rng(12)
    known = baseline(random, each=30)
    for shift, verb in ((2.0, "rose"), (-2.0, "fell")):
        columns, times, _ = rows(random, 1, np.eye(24)[8] * shift, each=30)
        compared = conditioned(known, count_columns(columns, known, times=times))[0]
        finding = smallest(compared, compared.cells, SPEC)
        assert (finding.rule, finding.p_value < FOUND / 3) == (Rule.QUANTILE, True)
        assert finding.words().startswith(f"median {verb}")
        # repeated requests add no information
        held = compared.held_to(12)
        assert 2 * held.window_rows == compared.window_rows
        assert smallest(held, held.cells, SPEC).p_value > 100 * finding.p_value
        assert finding.words().endswith(", at 08h")


def _tilted(shares: np.ndarray, scores: np.ndarray, mean: float) -> np.ndarray:
    """Return the shares nearest to the given ones with a given mean score."""
    low, high = -60.0, 60.0
    for _ in range(60):
        by = (low + high) / 2
        weights = shares * np.exp(by * (scores - (scores.max() if by > 0 else scores.min())))
        low, high = (by, high) if weights @ scores < mean * weights.sum() else (low, by)
    return np.asarray(weights / weights.sum())


TENTHS = np.diff([0, 0.01, 0.025, 0.05, *np.arange(0.1, 0.95, 0.1), 0.95, 0.975, 0.99, 1])


@pytest.mark.parametrize(
    ("shares", "known_rows", "rows", "sign"),
    [
        (TENTHS, 240, 30, 1),
        (TENTHS, 50, 10, -1),
        (np.concatenate([[0.8], 0.2 * TENTHS]), 50, 10, 1),
        (np.array([0.497, 0.348, 0.122, 0.028, 0.005]), 240, 30, 1),
    ],
    ids=["normal", "normal, few rows", "mostly zero, few rows", "counts"],
)
def test_one_in_a_million_is_one_in_a_million(shares: np.ndarray, known_rows: int, rows: int, sign: int) -> None:
    """At the margin the level holds down to one in a million, by importance sampling with samples tilted towards rejection."""
    random, level, draws = np.random.default_rng(13), 1e-6, 1_500
    scores = place_scores(shares)
    mean = float(shares @ scores)
    deviation = np.sqrt(shares @ scores**2 - mean**2)
    margin = sign * np.sqrt(SPEC.minimum_effect) * deviation
    step = sign * stats.norm.isf(level) * deviation / np.sqrt(1 / known_rows + 1 / rows)
    lowest, highest = (mean + 0.98 * (end - mean) for end in (scores.min(), scores.max()))
    null = _tilted(shares, scores, mean + margin)
    before = _tilted(shares, scores, np.clip(mean - step / known_rows, lowest, highest))
    after = _tilted(shares, scores, np.clip(mean + margin + step / rows, lowest, highest))
    known, found = random.multinomial(known_rows, before, draws), random.multinomial(rows, after, draws)
    weights = np.exp(known @ np.log(shares / before) + found @ np.log(null / after))
    feature = FeatureBaseline(
        name="x", type="number", edges=tuple(range(1, len(shares))), counts=(*[1] * len(shares), 0)
    )

    def rejects(a: np.ndarray, b: np.ndarray) -> bool:
        cells = {"expected": np.append(a, 0.0), "observed": np.append(b, 0.0)}
        alone = Comparison(feature=feature, **cells)
        whole = Comparison(feature=feature, strata={"only": alone}, finer=(a[None], b[None]), **cells)
        finding = smallest(whole, whole.cells, SPEC)
        # its weight of a stratum's significance is 0.7
        return finding.rule is Rule.QUANTILE and finding.p_value * 0.7 <= level

    rejected = np.array([rejects(a.astype(float), b.astype(float)) for a, b in zip(known, found, strict=True)])
    assert rejected.any()
    assert (weights * rejected).mean() <= 1.7 * level


def test_the_strata_together_are_the_sum_of_the_tables() -> None:
    """For a single stratum the sum over strata is the rule of the whole window."""
    random = np.random.default_rng(10)
    known = baseline(random)
    columns, times, _ = rows(random, 1, EVERY)
    compared = conditioned(known, count_columns(columns, known, times=times))[0]
    key, stratum = next(iter(compared.strata.items()))
    alone = type(compared)(
        feature=compared.feature, expected=stratum.expected, observed=stratum.observed, strata={key: stratum}
    )
    whole = distribution(stratum, compared.cells, SPEC).p_value
    assert together(alone, compared.cells, SPEC).p_value == pytest.approx(whole, rel=1e-9)


def test_looks_share_the_significance_by_weights() -> None:
    """Half of the significance goes to single strata, a sixth to their sum."""
    random = np.random.default_rng(14)
    known = baseline(random)
    for shift, look, part in ((ONE, smallest, 1 / 2), (BOTH_WAYS, together, 1 / 6)):
        columns, times, _ = rows(random, 1, 0.7 * shift)
        compared = conditioned(known, count_columns(columns, known, times=times))[0]
        within = look(compared, compared.cells, SPEC).p_value
        assert 0 < within < 1e-3
        assert examine(compared, SPEC).p_value == pytest.approx(within / part)


def _deals(random: np.random.Generator, days: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return goods of days in eight depths of discount, the deepest with its own shares each day: columns, clusters."""
    goods = random.integers(0, 10, (days, 200, 8))
    for day, share in enumerate(random.dirichlet(np.full(10, 2.0), days)):
        goods[day, :, 7] = random.choice(10, 200, p=share)
    depth = np.broadcast_to(np.arange(8.0), goods.shape).ravel()
    names = np.array([f"good {at}" for at in range(10)], dtype=object)
    return {"goods": names[goods.ravel()], "depth": depth}, np.repeat(np.arange(days), 1_600)


def test_deals_of_the_day_are_as_wide_as_deals_are() -> None:
    """At the deepest discount goods vary more between days: no quiet day raises an alarm, as most would with a common variance.

    A good that rises to half of the rows at another depth is still found.
    """
    random = np.random.default_rng(7)
    columns, clusters = _deals(random, 80)
    of = fit_baseline(
        columns,
        types={"goods": "category", "depth": "number"},
        training_set_id="t",
        created="2017-09-01T00:00:00Z",
        clusters=clusters,
        conditions=[Condition(name="depth")],
    )
    given = of.features[0].given
    assert given is not None
    alike = replace(of, features=(replace(of.features[0], given=replace(given, strata=None)), of.features[1]))
    days = [_deals(random, 1)[0] for _ in range(60)]

    def fired(baseline: Baseline, day: dict[str, np.ndarray]) -> bool:
        return decide(baseline, count_columns(day, baseline), SPEC)[0].p_value <= FOUND

    assert not any(fired(of, day) for day in days)
    assert sum(fired(alike, day) for day in days) >= 15
    for day in days[:10]:
        moved = (day["depth"] == 2) & (random.random(1_600) < 0.5)
        assert fired(of, day | {"goods": np.where(moved, "good 3", day["goods"])})
