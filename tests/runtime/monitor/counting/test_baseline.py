"""Whole baselines: identifiers, null patterns, clusters and strata; all column problems are reported together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.monitor.counting.baseline import BaselineError, Predicted, cluster_codes, fit_baseline
from mlops_runtime.monitor.counting.conditions import ConditionError
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.counting.pairs import PairError
from mlops_runtime.monitor.counting.tail_cells import tenths


def test_cluster_codes_follow_equality() -> None:
    """Equal values of any type share a code."""
    assert cluster_codes(["b", "a", "b", None]).tolist() == [2, 1, 2, 0]


def test_the_same_rows_give_the_same_baseline_in_any_order() -> None:
    """The order of rows changes nothing: ties are broken by name, and sums are exact."""
    random = np.random.default_rng(2)
    columns: dict[str, Any] = {
        "price": random.lognormal(0, 2, 3000).astype(np.float32),
        "store": np.array([f"store {n}" for n in random.integers(0, 300, 3000)], dtype=object),
    }
    types: dict[str, Any] = {"price": "number", "store": "category"}
    order = random.permutation(3000)
    shuffled = {name: values[order] for name, values in columns.items()}
    assert canonical_json(fit(columns, types)) == canonical_json(fit(shuffled, types))


def fit(columns: dict[str, Any], types: dict[str, Any], **more: Any) -> Baseline:
    """Return a baseline."""
    return fit_baseline(columns, types=types, training_set_id="t", created="2017-08-01T00:00:00Z", **more)


def test_closed_lists_are_recognised_or_named() -> None:
    """A column is a closed list if every level occurs in several rows and clusters, none came late and there is no tail.

    A column that the plan names is always closed.
    """
    rows = 400
    columns = {
        "payment": ["card", "cash"] * (rows // 2),
        "late": ["a"] * (rows - 20) + ["b"] * 20,
        "once": ["a"] * (rows - 1) + ["b"],
        "many": [f"level {index % 25}" for index in range(rows)],
        "price": np.random.default_rng(1).random(rows),
    }
    types = {name: "number" if name == "price" else "category" for name in columns}
    times = np.datetime64("2017-08-01T00") + np.arange(rows).astype("timedelta64[h]")

    def closed(**more: Any) -> list[str]:
        return [feature.name for feature in fit(columns, types, **more).features if feature.closed]

    assert closed() == ["payment", "late"]
    assert closed(times=times) == ["payment"]
    assert closed(times=times, clusters=np.arange(rows) // 20) == ["payment"]
    assert closed(times=times, closed_levels=["many"]) == ["payment", "many"]
    with pytest.raises(BaselineError, match=r"closed_levels must name inputs of text, got 'price'"):
        closed(closed_levels=["price"])


def test_identifiers_are_left_out_with_their_reason() -> None:
    """Excludes identifiers with their reason: only present and null counts are stored; declared identifiers always count."""
    columns = {
        "order": [f"order {index}" for index in range(500)],
        "row": np.arange(500),
        "store": ["north", None] * 250,
        "price": np.random.default_rng(1).random(500),
    }
    types = {"order": "category", "row": "number", "store": "category", "price": "number"}
    baseline = fit(columns, types, identifiers=["store"])
    assert baseline.left_out == {
        "order": "500 of 500 values are distinct",
        "row": "500 different whole numbers",
        "store": "declared as an identifier",
    }
    assert [feature.counts for feature in baseline.features[:3]] == [(500, 0), (500, 0), (250, 250)]
    assert b"north" not in canonical_json(baseline)
    counts = count_columns(columns, baseline)
    assert [feature.counts for feature in counts.features[:3]] == [(500, 0), (500, 0), (250, 250)]
    assert fit({"price": columns["price"]}, {"price": "number"}).left_out is None


def test_null_patterns_are_a_feature_of_their_own() -> None:
    """Columns that are null together form a feature of their own, the most frequent pattern first."""
    price = np.array([1, np.nan, np.nan, 4, 5], dtype=np.float32)
    baseline = fit({"price": price, "store": ["a", None, "", None, "b"]}, {"price": "number", "store": "category"})
    patterns = baseline.null_patterns
    assert patterns is not None
    assert (patterns.levels, patterns.counts) == (("none", "price+store", "store"), (2, 2, 1, 0, 0))


def test_clustered_rows_have_their_design_effects() -> None:
    """Rows that are copies within clusters of five have a design effect of five in cells, means, pairs and patterns."""
    random = np.random.default_rng(5)
    price = np.repeat(random.normal(size=2000), 5).astype(np.float32)
    price[np.repeat(random.random(2000) < 0.2, 5)] = np.nan
    store = np.repeat(random.choice(["a", "b", "c"], 2000), 5).tolist()
    types = {"price": "number", "store": "category"}
    clusters = np.repeat(np.arange(2000), 5)
    baseline = fit(
        {"price": price, "store": store}, types, clusters=clusters, pairs=[("price", "store")], prediction=price
    )
    assert baseline.null_patterns is not None
    assert baseline.prediction is not None
    for feature in (*baseline.features, baseline.null_patterns, baseline.prediction):
        assert feature.overdispersion == pytest.approx(5, rel=0.1)
        assert feature.overdispersion_spread is not None
        assert len(feature.cell_overdispersion or ()) == len(tenths(feature).counts)
        assert feature.tail_jumps is None or feature.tail_jumps == pytest.approx([5] * 6, rel=0.2)
    assert baseline.features[0].tail_jumps is not None
    assert baseline.features[0].mean_overdispersion == pytest.approx(5, rel=0.1)
    assert (baseline.pairs or ())[0].overdispersion == pytest.approx(5, rel=0.1)
    alone = fit({"price": price, "store": store}, types).features
    assert [(f.overdispersion, f.overdispersion_spread, f.cell_overdispersion) for f in alone] == [
        (1.0, None, None)
    ] * 2


def test_strata_are_the_rows_of_each_combination() -> None:
    """Strata add up to the whole, and each counts its own rows as separate columns would."""
    random = np.random.default_rng(6)
    price = random.lognormal(0, 1, 700).astype(np.float32)
    promoted = random.choice([0.0, 1.0], 700)
    times = np.datetime64("2017-07-03") + np.arange(700).astype("timedelta64[h]")
    conditions = [Condition(name="promoted", edges=(1.0,)), Condition(name="day", kind="day_of_week")]
    types = {"price": "number", "promoted": "number"}
    columns = {"price": price, "promoted": promoted}
    holdout = Predicted(values=price[:50], columns={"promoted": promoted[:50]}, times=times[:50])
    baseline = fit(columns, types, times=times, conditions=conditions, prediction=holdout)
    assert baseline.strata is not None
    assert baseline.conditions == tuple(conditions)
    assert sum(stratum.rows for stratum in baseline.strata) == 700
    assert sum(sum(stratum.prediction.counts) for stratum in baseline.strata if stratum.prediction) == 50
    for stratum in baseline.strata:
        part, day = stratum.key.split("|")
        days = (times.astype("datetime64[D]").astype(int) + 3) % 7
        rows = ((promoted >= 1) == (part == "1 or more")) & (
            days == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].index(day)
        )
        own = count_columns(
            {name: values[rows] for name, values in columns.items()}, replace(baseline, conditions=None)
        )
        assert (stratum.rows, stratum.features) == (int(rows.sum()), own.features)
    unknown = fit(columns, types, times=times, conditions=conditions, prediction=Predicted(values=price[:50]))
    assert {sum(stratum.prediction.counts) for stratum in unknown.strata or () if stratum.prediction} == {0}


def test_fails_for_columns_that_are_no_training_set() -> None:
    """Rejects columns that are not a training set and reports all problems together."""
    with pytest.raises(BaselineError) as error:
        fit({"price": [1.0]}, {"price": "number", "stock": "number"}, identifiers=["order"], clusters=np.array([0, 1]))
    assert str(error.value) == (
        "input 'stock' has no column; identifier 'order' is not an input of the model; "
        "columns must have one length, got 'price' of 1, 'clusters' of 2"
    )
    with pytest.raises(
        BaselineError, match=r"feature 'a' .* got 1 other values; feature 'b' must be text or null .* got 1 other"
    ):
        fit({"a": [1.0, "x"], "b": ["x", 3.5]}, {"a": "number", "b": "category"})
    with pytest.raises(ConditionError):
        fit({"a": [1.0]}, {"a": "number"}, conditions=[Condition(name="b")])
    with pytest.raises(PairError):
        fit({"a": [1.0]}, {"a": "number"}, pairs=[("a", "b")])
