"""Coverage of a decision: the features that count as tested, the required number, and the report on the rest."""

from dataclasses import replace

import pytest

from mlops_runtime.contracts.monitor import Baseline, Condition, FeatureBaseline, Stratum
from mlops_runtime.contracts.monitor_report import FeatureDrift, Scrutiny
from mlops_runtime.monitor.monitors.drift.scrutiny import (
    compared_features,
    is_enough,
    scrutinise,
    to_inspect,
    untested_words,
)
from mlops_runtime.monitor.spec import MonitorSpec

PRICE = FeatureBaseline(name="price", type="number", counts=(9, 0))
STORE = FeatureBaseline(name="store", type="category", levels=("a",), counts=(9, 0, 0))
BASELINE = Baseline(
    features=(PRICE, STORE),
    rows=9,
    training_set_id="t",
    created="2017-08-01T00:00:00Z",
    prediction=replace(PRICE, name="prediction"),
)


def drift(name: str, **options: object) -> FeatureDrift:
    """Return a stable feature."""
    return FeatureDrift(name=name, psi=0.0, p_value=1.0, drifted=False, **options)  # type: ignore[arg-type]


def enough(*features: FeatureDrift, baseline: Baseline = BASELINE, spec: MonitorSpec | None = None) -> bool:
    """Return whether these verdicts allow the state OK."""
    return is_enough(scrutinise(baseline, features), spec or MonitorSpec())


def test_predictions_alone_count_where_they_are_all_that_was_asked_for() -> None:
    """A spec may name the prediction alone; null patterns never count as a comparison."""
    untested = drift("price", untested="too few")
    assert enough(drift("prediction"))
    assert not enough(drift("null_patterns"))
    assert not enough(untested, drift("prediction"), drift("null_patterns"))
    assert enough(untested, drift("prediction"), baseline=replace(BASELINE, left_out={"price": "identifier"}))


def test_columns_of_conditions_were_never_asked_for() -> None:
    """Columns of conditions are not tested and not counted as missing."""
    conditions = (Condition(name="store"),)
    given = replace(BASELINE, conditions=conditions, strata=(Stratum(key="a", rows=9, features=()),))
    assert [each.name for each in compared_features(given, [drift("price"), drift("store")])] == ["price"]


def test_a_category_in_part_is_known_and_a_number_is_not() -> None:
    """A category counts if the shares of all levels were tested; a number without a location test does not."""
    found = scrutinise(BASELINE, [drift(name, in_part="few") for name in ("price", "store")])
    assert (found.requested, found.in_part, found.unknown) == (2, ("price", "store"), ("price",))


@pytest.mark.parametrize(
    ("untested", "share", "expected"), [(2, 0.2, True), (3, 0.2, False), (3, 0.3, True), (10, 1.0, False)]
)
def test_more_unknown_features_than_allowed_are_no_ok(untested: int, share: float, expected: bool) -> None:
    """More untested features than allowed, or no tested feature at all, prevents OK."""
    features = [drift(f"x{i}", untested="too few" if i < untested else None) for i in range(10)]
    assert enough(*features, spec=MonitorSpec(maximum_untested=share)) is expected


def test_a_feature_with_an_alarm_must_be_tested() -> None:
    """A feature with an alarm must be tested, however many others were."""
    features = [drift("price", in_part="few"), *(drift(f"x{i}") for i in range(20))]
    assert enough(*features)
    assert not enough(*features, spec=MonitorSpec(alarm_features=("price",)))


def test_reasons_are_told_by_their_kind() -> None:
    """Reasons are grouped by kind with at most three names and the number of others."""
    features = [
        *(drift(f"x{i}", in_part="few", reason="few_clusters") for i in range(5)),
        drift("y", untested="few", reason="few_rows"),
        drift("z", untested="other", reason="condition_unknown"),
    ]
    assert untested_words(scrutinise(BASELINE, features), features) == [
        "5 tested in part: too few clusters for x0, x1, x2 and 2 more",
        "2 not tested: too few rows for y, conditions that are not in the baseline for z",
    ]
    assert untested_words(Scrutiny(requested=1), [drift("y")]) == []


def test_what_moved_far_and_was_not_tested_is_to_inspect() -> None:
    """Lists large untested shifts, farthest beyond ordinary windows first.

    Tested and excluded features, and shifts of the size of ordinary windows, are not listed.
    """
    near = drift("near", in_part="few", reason="few_clusters", raw_psi=0.5, ordinary_psi=0.4)
    far = drift("far", untested="few", reason="few_rows", raw_psi=2.4, ordinary_psi=0.4)
    ordinary = replace(far, name="ordinary", ordinary_psi=2.5)
    small = replace(far, name="small", raw_psi=0.2, ordinary_psi=0.1)
    tested = replace(far, name="tested", untested=None, reason=None)
    chosen = replace(far, name="chosen", reason="by_choice")
    drifted = replace(near, name="drifted", drifted=True)
    found = to_inspect([near, far, ordinary, small, tested, chosen, drifted])
    assert [each.name for each in found] == ["far", "near"]
