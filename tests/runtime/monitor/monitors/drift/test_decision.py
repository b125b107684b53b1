"""The drift decision: its false-positive rate, its power, and verdicts independent of how the window was counted."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.runtime.monitor.evidence import report_of
from tests.runtime.monitor.timeline import BASELINE, LIVE, START, Captured, Timeline

from mlops_runtime.contracts.monitor import (
    Baseline,
    Condition,
    Counts,
    FeatureBaseline,
    FeatureCounts,
    MonitorState,
    PairBaseline,
)
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.counting.baseline import fit_baseline, number_baseline
from mlops_runtime.monitor.counting.baseline_cells import number_cells
from mlops_runtime.monitor.counting.counts import count, count_columns, empty, merge
from mlops_runtime.monitor.counting.problems import ROW_WIDTH, bounded
from mlops_runtime.monitor.monitors.drift.comparison import plain
from mlops_runtime.monitor.monitors.drift.decision import (
    decide,
    examine,
    holm,
    hours_to_add,
    known,
    unreadable,
)
from mlops_runtime.monitor.monitors.drift.replay import replay
from mlops_runtime.monitor.monitors.drift.rules import Rule
from mlops_runtime.monitor.report_message import verdict
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.window import HOUR
from mlops_runtime.monitor.window_evidence import Evidence, Traffic
from mlops_runtime.monitor.wording import percent

SPAN = {"window_hours": 1, "every_hours": 1, "start": START, "end": START + timedelta(hours=1)}


def test_what_is_known_stays_as_it_is() -> None:
    """Known thresholds are kept without a problem."""
    spec = MonitorSpec(features=("price",), amounts=("price",))
    assert known(spec, BASELINE) == (spec, {})


def test_a_pair_is_known_by_its_name() -> None:
    """A pair is known by the name that the decision uses."""
    pair = PairBaseline(first="price", second="store", first_groups=(), second_groups=(), counts=())
    spec = MonitorSpec(alarm_features=("price x store",))
    assert known(spec, replace(BASELINE, pairs=(pair,))) == (spec, {})


def test_what_is_gone_is_left_out_and_named() -> None:
    """Unknown names are dropped and reported once each, wherever they occur."""
    spec, problems = known(
        MonitorSpec(features=("price", "promo", "x"), alarm_features=("promo",), amounts=("x",)), BASELINE
    )
    assert (spec.features, spec.alarm_features, spec.amounts) == (("price",), (), ())
    assert list(problems) == [
        f"the monitor names {name!r}, which the live model does not have" for name in ("promo", "x")
    ]
    assert replay(BASELINE, [], spec, **SPAN)  # type: ignore[arg-type]


FEATURES = 30
REFERENCE = 20_000
SPEC = MonitorSpec()


def shares(size: int) -> np.ndarray:
    """Return the shares of a long-tailed category."""
    weights = 1 / np.arange(1, size + 1) ** 1.1
    return weights / weights.sum()


POPULATION = [np.full(10, 0.1)] * 20 + [shares(size) for size in (2, 3, 5, 8, 10, 12, 15, 18, 20, 21)]


def baseline_of(random: np.random.Generator, rows: int = REFERENCE) -> Baseline:
    """Draw a baseline of 20 numbers in decile bins and 10 categories; the last cell is null and empty."""
    features = []
    for index, population in enumerate(POPULATION):
        counts = tuple(int(c) for c in (*random.multinomial(rows, population), 0))
        edges = tuple(float(e) for e in range(len(population) - 1))
        features.append(FeatureBaseline(name=f"f{index}", type="number", counts=counts, edges=edges))
    return Baseline(features=tuple(features), rows=rows, training_set_id="t", created="2017-08-01T00:00:00Z")


def window_of(random: np.random.Generator, rows: int, changed: dict[int, np.ndarray] | None = None) -> Counts:
    """Draw a window, with other populations for some features."""
    populations = {**dict(enumerate(POPULATION)), **(changed or {})}
    counts = []
    for index in range(FEATURES):
        cells = random.multinomial(rows, populations[index])
        cells = cells if len(cells) > len(POPULATION[index]) else np.append(cells, 0)
        counts.append(FeatureCounts(name=f"f{index}", counts=tuple(int(c) for c in cells)))
    return Counts(baseline_sha256="b", rows=rows, calls=rows, features=tuple(counts), first="", last="")


def drifted(baseline: Baseline, counts: Counts, spec: MonitorSpec = SPEC) -> list[str]:
    """Return the names of drifted features."""
    return [decision.name for decision in decide(baseline, counts, spec) if decision.drifted]


@pytest.mark.parametrize("windows", [20, pytest.param(1000, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("rows", [200, 1000, 5000, 100_000])
@pytest.mark.parametrize("spec", [SPEC, MonitorSpec(minimum_effect=0.0)])
def test_windows_without_drift_rarely_alarm(rows: int, spec: MonitorSpec, windows: int) -> None:
    """Of 30 features, at most about one window in a hundred reports any, at every size (binomial bound at 1e-4)."""
    random = np.random.default_rng(rows)
    alarms = sum(bool(drifted(baseline_of(random), window_of(random, rows), spec)) for _ in range(windows))
    assert alarms <= stats.binom.isf(1e-4, windows, SPEC.significance)
    if spec is SPEC:
        assert alarms <= windows / 100


@pytest.mark.parametrize(
    ("shift", "scale", "rows", "power"),
    [(0.2, 1.0, 5000, 1.0), (0.0, 1.3, 5000, 1.0), (0.5, 1.0, 1000, 1.0), (0.05, 1.0, 100_000, 0.0)],
)
def test_shifts_that_matter_are_found_and_others_are_not(shift: float, scale: float, rows: int, power: float) -> None:
    """At 5,000 rows, finds a fifth of a standard deviation and a third more variance; a twentieth is never drift at any size."""
    random = np.random.default_rng(7)
    edges = stats.norm.ppf(np.arange(1, 10) / 10)
    moved = np.diff(np.concatenate([[0], stats.norm.cdf(edges, shift, scale), [1]]))
    found = [drifted(baseline_of(random), window_of(random, rows, {2: moved})) for _ in range(40)]
    assert np.mean(["f2" in names for names in found]) == pytest.approx(power, abs=0.05)


def test_a_category_that_loses_ten_points_is_found() -> None:
    """Finds ten points moved from one level to another at 1,000 rows."""
    random = np.random.default_rng(7)
    moved = POPULATION[23].copy()
    moved[0], moved[4] = moved[0] - 0.1, moved[4] + 0.1
    found = ["f23" in drifted(baseline_of(random), window_of(random, 1000, {23: moved})) for _ in range(40)]
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize(("share", "rows", "expected"), [(0.05, 1000, 1.0), (0.001, 5000, 0.0)])
def test_nulls_that_the_baseline_never_saw_are_found(share: float, rows: int, expected: float) -> None:
    """Finds 5 % nulls where the baseline had none; 0.1 % is below the minimum effect."""
    random = np.random.default_rng(7)
    moved = np.append(POPULATION[2] * (1 - share), share)
    results = []
    for _ in range(40):
        decisions = decide(baseline_of(random), window_of(random, rows, {2: moved}), SPEC)
        results.append(decisions[2].drifted and decisions[2].rule == Rule.NULL_SHARE)
    assert np.mean(results) == pytest.approx(expected, abs=0.05)


def test_clustered_rows_do_not_alarm_with_the_overdispersion_measured() -> None:
    """Households of ten equal rows raise alarms if taken as independent, and none with the measured design effect."""
    random = np.random.default_rng(11)
    spec = MonitorSpec(minimum_effect=0.0)

    def rows(households: int) -> np.ndarray:
        return np.repeat(random.normal(size=households), 10).astype(np.float32)

    naive, honest = 0, 0
    for _ in range(60):
        train, live = rows(1000), rows(100)
        for clusters in (None, np.repeat(np.arange(1000), 10)):
            feature = number_baseline("x", train, clusters=clusters)
            cells = np.bincount(number_cells(live, np.array(feature.edges, np.float32)), minlength=len(feature.counts))
            wide = live.astype(np.float64)
            counts = FeatureCounts(
                name="x",
                counts=tuple(map(int, cells)),
                sum=float(wide.sum()),
                sum_squares=float((wide**2).sum()),
            )
            p_value = examine(plain(feature, counts), spec).p_value
            if clusters is None:
                naive += p_value <= 0.01
            else:
                honest += p_value <= 0.01
    assert naive > 30
    assert honest <= 3


WEEK = np.timedelta64(7, "D")


def weeks(
    random: np.random.Generator, number: int, *, rows: int = 700, apart: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Return prices of weeks with a level each, and their times, a minute apart from the start of the week."""
    prices = np.concatenate([random.normal(level, 1.0, rows) for level in random.normal(0, apart, number)])
    begins = np.repeat(np.datetime64("2017-01-02T00:00:00") + np.arange(number) * WEEK, rows)
    return prices, begins + np.tile(np.arange(rows), number) * np.timedelta64(60, "s")


@pytest.mark.parametrize("times_as_many", [1, 8, 40])
@pytest.mark.parametrize("how", ["again", "more"])
def test_a_week_stays_one_week_however_often_it_is_requested(times_as_many: int, how: str) -> None:
    """Repeated rows and a busier week cause no drift in unchanged windows."""
    random, spec, drifted = np.random.default_rng(44), MonitorSpec(minimum_rows=200), 0
    trained, at = weeks(random, 40)
    baseline = fit_baseline(
        {"price": trained},
        types={"price": "number"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        clusters=np.arange(40).repeat(700),
        times=at,
    )
    for _ in range(30):
        if how == "again":
            (live, _), seconds = weeks(random, 1), np.arange(700) * 60
            live, seconds = np.tile(live, times_as_many), np.tile(seconds, times_as_many)
        else:
            live, _ = weeks(random, 1, rows=700 * times_as_many)
            seconds = np.arange(len(live)) * 60 // times_as_many
        window = count_columns({"price": live}, baseline, times=at[0] + 40 * WEEK + seconds * np.timedelta64(1, "s"))
        drifted += decide(baseline, window, spec)[0].drifted
    assert drifted <= 2


@pytest.mark.parametrize("conditions", [(), (Condition(name="promo"),)])
def test_rows_of_one_cluster_that_are_sent_again_add_nothing(conditions: tuple[Condition, ...]) -> None:
    """Also given conditions, for pairs and tails, every p-value and interval is that of the rows sent once."""
    random = np.random.default_rng(47)
    trained, at = weeks(random, 40, apart=0.05)
    promo = np.where(random.random(len(trained)) < 0.4, "yes", "no")
    amount = np.exp(trained) + random.random(len(trained))
    baseline = fit_baseline(
        {"price": trained, "promo": promo, "amount": amount},
        types={"price": "number", "promo": "category", "amount": "number"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        clusters=np.arange(40).repeat(700),
        times=at,
        pairs=[("price", "amount")],
        conditions=conditions,
    )
    some = {"price": trained[:700] + 0.5, "promo": promo[:700], "amount": amount[:700] * 1.2}
    once, often = (
        decide(
            baseline,
            count_columns(
                {name: np.tile(of, times) for name, of in some.items()}, baseline, times=at[:1].repeat(700 * times)
            ),
            MonitorSpec(minimum_effect=0.0, minimum_share=0.0, minimum_rows=200),
        )
        for times in (1, 9)
    )

    assert [each.p_value for each in often] == pytest.approx([each.p_value for each in once])
    assert sum(each.p_value < 1 for each in once) >= 2
    assert [each.ordinary_psi for each in often] == pytest.approx([each.ordinary_psi for each in once])


def test_the_sentence_has_the_rows_that_came() -> None:
    """The sentence counts the rows sent, and the effective rows of the weeks: ten times one week, and four weeks."""
    random = np.random.default_rng(45)
    trained, at = weeks(random, 40, apart=2.0)
    options = {"types": {"price": "number"}, "training_set_id": "t", "created": "2017-08-01T00:00:00Z"}
    baseline = fit_baseline({"price": trained}, clusters=np.arange(40).repeat(700), times=at, **options)
    often = np.tile(weeks(random, 1, apart=2.0)[0], 10)
    windows = [(often, np.tile(at[:700], 10)), (weeks(random, 4, apart=2.0)[0], at[:2800])]
    reported = [
        str(decide(baseline, count_columns({"price": live}, baseline, times=when), MonitorSpec())[0].in_part)
        for live, when in windows
    ]

    assert [each.partition(" in clusters")[0] for each in reported] == [
        "7000 values of the window come",
        "2800 values of the window come",
    ]
    once, four = (int(re.findall(r"count as (\d+)", each)[0]) for each in reported)
    assert four == pytest.approx(4 * once, abs=4)


def test_drift_is_found_in_weeks_that_are_requested_often() -> None:
    """Finds prices that rose by three standard deviations of weekly levels in four weeks with eight times the traffic."""
    random, found = np.random.default_rng(46), 0
    trained, at = weeks(random, 40)
    options = {"types": {"price": "number"}, "training_set_id": "t", "created": "2017-08-01T00:00:00Z"}
    baseline = fit_baseline({"price": trained}, clusters=np.arange(40).repeat(700), times=at, **options)
    for _ in range(20):
        live = np.tile(weeks(random, 4)[0] + 1.5, 8)
        window = count_columns({"price": live}, baseline, times=np.tile(at[:2800], 8))
        found += decide(baseline, window, MonitorSpec())[0].drifted
    assert found >= 15


def test_too_few_values_of_a_feature_are_not_tested() -> None:
    """A feature with too few readable rows in the window, or without rows in the baseline, is not tested."""
    feature = FeatureBaseline(name="x", type="number", counts=(500, 500, 0), edges=(0.0,))
    result = examine(plain(feature, FeatureCounts(name="x", counts=(199, 0, 0))), SPEC)
    assert (result.p_value, result.untested, result.reason) == (1.0, "199 values are fewer than 200", "few_rows")
    nothing = replace(feature, counts=(0, 0, 0))
    result = examine(plain(nothing, FeatureCounts(name="x", counts=(400, 0, 0))), SPEC)
    assert (result.untested, result.reason) == ("the baseline has no rows", "few_rows")


def test_too_few_independent_values_are_tested_in_part() -> None:
    """Shares of clustered rows with few effective rows get exact tests; tests that need many independent rows are skipped."""
    feature = FeatureBaseline(
        name="x", type="number", counts=(0, *[400] * 10, 0, 0), edges=tuple(range(11)), mean=5.0, standard_deviation=2.9
    )
    clustered = replace(feature, overdispersion=10.0, cell_jumps=(10.0,) * 13)
    moved = FeatureCounts(name="x", counts=(0, *[30] * 9, 90, 0, 40), sum=1e9)
    result = examine(plain(clustered, moved), SPEC)
    assert result.in_part == "400 values of the window come in clusters and count as 40 independent ones, fewer than 50"
    assert (result.untested, result.reason) == (None, "few_clusters")
    assert result.rule in (Rule.NULL_SHARE, Rule.VALUE_SHARE)
    jumped = examine(plain(clustered, replace(moved, counts=(0, *[8] * 10, 0, 320))), SPEC)
    assert (jumped.rule, jumped.description) == (Rule.NULL_SHARE, "nulls: from 0 % to 80 % of the rows")
    assert jumped.p_value < 1e-9
    few = replace(feature, counts=(0, *[4] * 10, 0, 0))
    assert examine(plain(few, moved), SPEC).in_part == "40 values of the baseline are fewer than 50"


@pytest.mark.parametrize("clusters", [None, np.arange(4000) // 100])
@pytest.mark.parametrize("conditions", [(), (Condition(name="promo"),)])
@pytest.mark.parametrize("broken", [1.0, 0.05])
def test_values_of_another_type_drift(
    clusters: np.ndarray | None, conditions: tuple[Condition, ...], broken: float
) -> None:
    """A price such as "12,50" is of another type: reported without any valid price, with clusters and with unknown conditions."""
    random = np.random.default_rng(5)
    rows = 4000
    columns = {"price": random.lognormal(size=rows), "promo": ["no"] * rows}
    baseline = fit_baseline(
        columns,
        types={"price": "number", "promo": "category"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
        conditions=conditions,
        clusters=clusters,
    )
    price = ["12,50" if value < broken else "12.50" for value in random.random(2000)]
    for promo in ("no", "flash"):
        counts = count_columns({"price": price, "promo": [promo] * 2000}, baseline)
        [found] = [one for one in decide(baseline, counts, SPEC) if one.name == "price"]
        assert (found.drifted, found.untested) == (True, None)
        if broken == 1.0 or (conditions and promo == "flash"):
            assert found.rule == "type"
            assert found.description == f"{percent(price.count('12,50') / 2000)} of the values are not of type number"
    counts = count_columns({"price": price, "promo": ["no"] * 2000}, baseline)
    few = replace(counts, features=(replace(counts.features[0], counts=(0,) * 17, invalid=2), counts.features[1]))
    if broken == 1.0:
        assert decide(baseline, few, SPEC)[0].untested is not None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_what_adjusted_p_values_reject(p_values: list[float], significance: float) -> None:
    """The step-down procedure rejects the same features as Holm's adjusted p-values."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, p_values[index] / (significance / (len(p_values) - rank)))
        adjusted[index] = largest
    assert holm(p_values, significance) == [value <= 1 for value in adjusted]


def test_only_the_named_features_are_tested() -> None:
    """If the spec names features, only these are tested and counted by Holm's method."""
    random = np.random.default_rng(1)
    decisions = decide(baseline_of(random), window_of(random, 1000), MonitorSpec(features=("f3", "f20")))
    assert [decision.name for decision in decisions] == ["f3", "f20"]


def test_fails_for_a_feature_that_the_baseline_lacks() -> None:
    """Rejects a feature that the baseline lacks, because it would never raise an alarm."""
    random = np.random.default_rng(1)
    with pytest.raises(ValueError, match="the monitor names features 'f99', 'g'; the baseline has 'f0', 'f1'"):
        decide(baseline_of(random), window_of(random, 1000), MonitorSpec(features=("f99", "g")))


@given(st.lists(st.floats(-3, 3, width=32), min_size=200, max_size=300), st.integers(1, 20), st.randoms())
def test_the_decision_is_the_same_in_one_pass_or_merged(values: list[float], parts: int, shuffle: object) -> None:
    """The PSI, p-value and verdict are bit-equal for any split of a window and any order of merging."""
    reference = np.random.default_rng(1).normal(size=2000).astype(np.float32)
    baseline = Baseline(features=(number_baseline("x", reference),), rows=2000, training_set_id="t", created="")
    lines = [
        json.dumps(
            {
                "captureData": {
                    "endpointInput": {
                        "observedContentType": "text/csv",
                        "mode": "INPUT",
                        "data": repr(v),
                        "encoding": "CSV",
                    }
                },
                "eventMetadata": {"eventId": "e"},
            }
        )
        for v in values
    ]
    pieces = [count(lines[i::parts], baseline) for i in range(parts)]
    shuffle.shuffle(pieces)  # type: ignore[attr-defined]  # hypothesis gives random.Random
    whole, merged = count(lines, baseline), merge(empty(baseline), pieces)
    one, other = (decide(baseline, counts, SPEC)[0] for counts in (whole, merged))
    assert (one.psi, one.p_value, one.drifted) == (other.psi, other.p_value, other.drifted)


@given(st.integers(1, 400), st.lists(st.integers(0, 100), max_size=30), st.integers(0, 20))
def test_the_fewest_hours_that_are_enough(rows: int, before: list[int], limit: int) -> None:
    """The number of hours agrees with trying every number."""
    spec = MonitorSpec(minimum_rows=300, merge_hours=limit)
    allowed = before[:limit]
    enough = [added for added in range(len(allowed) + 1) if rows + sum(allowed[:added]) >= 300]
    assert hours_to_add(rows, before, spec) == (enough[0] if enough else len(allowed))


def test_silence_is_not_filled_up() -> None:
    """A window without rows is not extended by earlier hours."""
    assert hours_to_add(0, [1000], MonitorSpec()) == 0


SHORT = "row has 2 values instead of 1"


def feed(timeline: Timeline, hour: int, *, good: int, broken: int) -> MonitorReport:
    """Capture an object with some readable calls and some of two columns, and decide in the following hour."""
    captured = Captured(hour=hour, rows=good)
    timeline.call(hour, good + broken)
    timeline.land(f"o{hour}", captured)
    key = ("captures", timeline.key(f"o{hour}", captured))
    record: Any = json.loads(timeline.s3.objects[key].splitlines()[0])
    record["captureData"]["endpointInput"]["data"] = "1,2"
    timeline.s3.objects[key] = b"\n".join(
        [*timeline.s3.objects[key].splitlines()[:good], *[json.dumps(record).encode()] * broken]
    )
    timeline.count(f"o{hour}", captured)
    return timeline.run(hour + 1)


@pytest.mark.parametrize(
    ("good", "broken", "expected"),
    [
        (1, 5000, MonitorState.VIOLATION),
        (300, 9700, MonitorState.VIOLATION),
        (940, 60, MonitorState.OK),  # 6 % of too few rows to exceed 5 % with confidence
        (9300, 700, MonitorState.VIOLATION),
        (960, 40, MonitorState.OK),
        (100, 50, MonitorState.INSUFFICIENT_DATA),
    ],
)
def test_many_rows_that_cannot_be_read_are_a_violation(good: int, broken: int, expected: MonitorState) -> None:
    """Many unreadable rows are a violation whatever the rest is; a few are only listed as problems."""
    timeline = Timeline(window=1, every=1, spec=MonitorSpec(merge_hours=0))
    report = feed(timeline, 0, good=good, broken=broken)
    assert report.drift.state is expected
    assert report.problems == {SHORT: broken}
    found = [feature.description for feature in report.drift.features if feature.name == "unreadable_rows"]
    if expected is not MonitorState.VIOLATION:
        assert found == []
        return
    [reported] = found
    assert str(reported).endswith(f"of {good + broken:,} rows cannot be read, most often: {SHORT}")
    assert f"e: {reported}" in str(report.verdict)
    [result] = timeline.bus.received_events
    assert result["outcome"] == "VIOLATION"
    assert result["attributes"]["advice"].startswith("ask the callers what they changed")
    lines = [
        json.loads(line)["constraint_check_type"]
        for (_, key), body in timeline.s3.objects.items()
        if key.endswith("violations.jsonl")
        for line in body.splitlines()
    ]
    assert sorted(lines) == ["extra_column_check", "unreadable_rows_check"]


def test_rows_of_hours_before_do_not_hide_it() -> None:
    """A window has enough rows if they arrived, readable or not; rows of earlier hours do not hide the fault."""
    timeline = Timeline(window=1, every=1)
    for hour in range(30):
        assert feed(timeline, hour, good=400, broken=0).drift.state is MonitorState.OK
    report = feed(timeline, 30, good=100, broken=900)
    assert (report.drift.state, report.hours_merged) == (MonitorState.VIOLATION, 0)


def test_rows_of_any_number_of_widths_are_all_counted() -> None:
    """Names of problems are bounded; the number of affected rows is exact."""
    widths = {ROW_WIDTH(width, 1): 10 for width in range(2, 402)}
    [found] = unreadable(replace(empty(BASELINE), rows=4000, problems=bounded(widths)), MonitorSpec())
    assert str(found.description).startswith("50 % of 8,000 rows cannot be read, most often: row has ")
    assert "another reason" not in str(found.description)


def test_a_call_of_many_rows_counts_by_its_rows() -> None:
    """One line of a thousand short rows counts as a thousand rows."""
    side = {"observedContentType": "text/csv", "mode": "INPUT", "encoding": "CSV", "data": "\n".join(["1,2"] * 1000)}
    line = {
        "captureData": {"endpointInput": side},
        "eventMetadata": {"eventId": "e", "inferenceTime": f"{START + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"},
    }
    [found] = unreadable(count([json.dumps(line)], BASELINE), MonitorSpec())
    assert found.description == f"100 % of 1,000 rows cannot be read, most often: {SHORT}"


WITHOUT_MERGE = MonitorSpec(merge_hours=0)
TRAINED = 20_000
START = datetime(2017, 8, 7, tzinfo=UTC)
TYPES = {"price": "number", "promo": "category"}
TIMES = np.datetime64("2017-01-02T00:00:00") + np.arange(TRAINED) * np.timedelta64(600, "s")


def prices(rows: int, *, clusters: int | None = None) -> np.ndarray:
    """Return prices that vary by row, or only by cluster."""
    random = np.random.default_rng(rows)
    return (
        random.lognormal(size=rows)
        if clusters is None
        else np.repeat(random.lognormal(size=clusters), rows // clusters)
    )


def states_of(baseline: Baseline, counts: Counts) -> tuple[MonitorState, str]:
    """Return the state and its message; asserts that a replay of the hour gives the same state."""
    traffic = Traffic(invocations=9, counted=1, rows=counts.rows)
    live = replace(LIVE, training_set_id=baseline.training_set_id)
    evidence = Evidence(
        live=live,
        baseline=baseline,
        traffic=traffic,
        rows=counts.rows,
        counts=counts,
    )
    report = report_of(evidence, WITHOUT_MERGE)
    [replayed] = replay(
        baseline, [(START, counts)], WITHOUT_MERGE, window_hours=1, every_hours=1, start=START, end=START + HOUR
    )
    assert replayed.state is report.drift.state
    return report.drift.state, verdict(report).removeprefix("demand-forecast: ")


def fit(**options: object) -> Baseline:
    """Return a baseline of prices, half of them promoted."""
    columns = {"price": prices(TRAINED), "promo": ["yes", "no"] * (TRAINED // 2), **options.pop("columns", {})}  # type: ignore[dict-item]
    return fit_baseline(columns, types=TYPES, training_set_id="t", created="2017-08-01T00:00:00Z", **options)  # type: ignore[arg-type]


def test_clusters_that_are_worth_too_few_rows() -> None:
    """Five stores with a thousand equal rows each are too few effective rows."""
    clustered = {"price": prices(TRAINED, clusters=20), "promo": np.repeat(["yes", "no"] * 10, 1000).tolist()}
    baseline = fit(columns=clustered, clusters=np.arange(TRAINED) // 1000)
    counts = count_columns({"price": prices(5000, clusters=5) * 100, "promo": ["new"] * 5000}, baseline)
    state, reported = states_of(baseline, counts)
    assert state is MonitorState.INSUFFICIENT_DATA
    assert reported.startswith(
        "no result for 1 of 2 features, more than 20 %, in 5,000 rows; 2 tested in part: too few clusters for price, promo"
    )


@pytest.mark.parametrize(
    ("unknown", "expected", "message"),
    [
        (5000, MonitorState.INSUFFICIENT_DATA, "5,000 of 5,000 rows have conditions that are not in the baseline: the "),
        (4900, MonitorState.INSUFFICIENT_DATA, "4,900 of 5,000 rows have conditions that are not in the baseline: the "),
        (3000, MonitorState.OK, "no drift in 2,000 rows, 3,000 more have conditions that are not in the baseline"),
        (0, MonitorState.OK, "no drift in 5,000 rows; no labels yet"),
    ],
)  # fmt: skip
def test_conditions_that_the_baseline_does_not_know(unknown: int, expected: MonitorState, message: str) -> None:
    """The message reports only compared features as compared."""
    baseline = fit(conditions=[Condition(name="promo")])
    promo = ["flash"] * unknown + ["yes", "no"] * ((5000 - unknown) // 2)
    state, found = states_of(baseline, count_columns({"price": prices(5000), "promo": promo}, baseline))
    assert state is expected
    assert found.startswith(message)


def test_a_drift_among_few_that_can_be_compared_names_the_others() -> None:
    """If at least half of the rows were not compared, the drift message names them."""
    baseline = fit(conditions=[Condition(name="promo")])
    price = np.append(prices(3000), 3 * prices(2000))
    counts = count_columns({"price": price, "promo": ["flash"] * 3000 + ["yes", "no"] * 1000}, baseline)
    state, reported = states_of(baseline, counts)
    assert state is MonitorState.OK
    assert reported.startswith("drift in this window, not yet in 2 of 3: price")
    assert "; 3,000 of 5,000 rows have conditions that are not in the baseline; no labels yet" in reported


def test_hours_of_the_week_without_times() -> None:
    """Captures without times belong to no hour."""
    baseline = fit(conditions=[Condition(name="hour", kind="hour_of_week")], times=TIMES)
    counts = count_columns({"price": prices(5000), "promo": ["yes"] * 5000}, baseline)
    state, reported = states_of(baseline, counts)
    assert state is MonitorState.INSUFFICIENT_DATA
    assert reported.startswith("5,000 of 5,000 rows have conditions")


def test_few_clusters_of_the_baseline_are_named() -> None:
    """Names fewer than twenty clusters; with one cluster, whose variation is unknown, features are tested partly."""
    random = np.random.default_rng(4)
    for number, expected in ((19, 19), (20, None), (1, 1)):
        rows = random.normal(size=number * 100)
        baseline = fit_baseline(
            {"x": rows},
            types={"x": "number"},
            training_set_id="t",
            created="2017-01-01T00:00:00Z",
            clusters=np.repeat(np.arange(number), 100),
        )
        found = decide(baseline, count_columns({"x": random.normal(size=500)}, baseline), SPEC)[0]
        assert (found.few_clusters, found.reason) == (expected, "few_clusters" if number == 1 else None)
