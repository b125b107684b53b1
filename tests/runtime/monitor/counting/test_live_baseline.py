"""A baseline of past weeks of captures equals that of the same rows as columns."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.runtime.monitor.counting.capture_of_kinds import baseline_of, captured

from mlops_runtime.contracts.monitor import Condition
from mlops_runtime.contracts.rollout import TakenBack
from mlops_runtime.monitor.counting.baseline import BaselineError, fit_baseline
from mlops_runtime.monitor.counting.live_baseline import live_baseline

TYPES: dict[str, Any] = {"price": "number", "stock": "number", "store": "category"}
RANDOM = np.random.default_rng(9)
CALLS = 300


def weeks(lines: Any) -> tuple[list[list[str]], dict[str, Any], np.ndarray]:
    """Return capture objects with two rows per call, and their columns and times."""
    prices = RANDOM.integers(1, 50, (CALLS, 2)).astype(np.float32)
    stock = RANDOM.integers(0, 5, (CALLS, 2)).astype(np.float32)
    stores = RANDOM.choice(["north", "south"], (CALLS, 2))
    times = np.datetime64("2017-07-03T00:00:00") + np.arange(CALLS) * np.timedelta64(90, "m")
    calls = [
        lines.call(
            "\n".join(f"{p:g},{s:g},{t}" for p, s, t in zip(prices[i], stock[i], stores[i], strict=True)),
            "\n".join(f"{2 * p:g}" for p in prices[i]),
            time=f"{times[i]}Z",
        )
        for i in range(CALLS)
    ]
    columns = {"price": prices.ravel(), "stock": stock.ravel(), "store": stores.ravel().tolist()}
    return [calls[:100], calls[100:]], columns, np.repeat(times, 2)


@pytest.mark.parametrize("cluster", ["call", "hour", "day"])
def test_captures_are_as_good_as_columns(lines: Any, cluster: Any) -> None:
    """Captures give the same baseline with strata and pairs, for clusters by call, hour or day."""
    objects, columns, times = weeks(lines)
    more: dict[str, Any] = {"conditions": [Condition(name="day", kind="day_of_week")], "pairs": [("price", "store")]}
    found = live_baseline(objects, TYPES, created="2017-08-01T00:00:00Z", cluster=cluster, **more)
    by = {
        "call": np.arange(2 * CALLS) // 2,
        "hour": times.astype("datetime64[h]"),
        "day": times.astype("datetime64[D]"),
    }
    expected = fit_baseline(
        columns,
        types=TYPES,
        training_set_id="",
        created="2017-08-01T00:00:00Z",
        clusters=np.unique(by[cluster], return_inverse=True)[1],
        times=times,
        prediction=2 * columns["price"],
        source="live",
        **more,
    )
    assert found == expected
    assert [stratum.key for stratum in found.strata or ()] == ["Fri", "Mon", "Sat", "Sun", "Thu", "Tue", "Wed"]


def test_what_does_not_fit_is_null_or_left_out(lines: Any) -> None:
    """Other types are null and infinities separate; calls of an earlier model or without an input are excluded."""
    objects = [
        [
            lines.call("x,inf,north", "9", time="2017-07-03T10:00:00Z"),
            lines.call("2,3,south", "9\n9", time="2017-07-03T11:00:00Z"),
            lines.call("5,5,east", "9", time="2017-07-01T10:00:00Z"),
            lines.call(None, "9"),
        ]
    ]
    baseline = live_baseline(objects, TYPES, created="2017-08-01T00:00:00Z", since="2017-07-02T00:00:00Z")
    assert (baseline.rows, baseline.features[0].counts[-1], baseline.features[1].infinite) == (2, 1, 1)
    assert baseline.features[2].levels == ("north", "south")
    assert baseline.prediction is not None
    assert baseline.prediction.counts[-1] == 1
    no_output = live_baseline([[lines.call("1,2,north")]], TYPES, created="2017-08-01T00:00:00Z")
    assert no_output.prediction is None
    assert replace(no_output, prediction=None).source == "live"


def test_calls_of_a_rollout_that_was_taken_back_are_left_out(lines: Any) -> None:
    """Excludes calls of a rolled-back rollout, as every window does."""
    objects, _, times = weeks(lines)
    aside = (TakenBack(since=f"{times[20]}Z", until=f"{times[39]}Z"),)
    found = live_baseline(objects, TYPES, created="2017-08-01T00:00:00Z", aside=aside)
    assert found.rows == 2 * CALLS - 20


def test_fails_without_rows(lines: Any) -> None:
    """Rejects captures without rows and reports what they contain."""
    objects = [["{", lines.call("1,2"), lines.call("1", inference_id="mlops-synthetic-1")]]
    with pytest.raises(
        BaselineError,
        match=r"got none: line is not JSON \(1\), row has 2 values instead of 3 \(1\), synthetic calls \(1\)$",
    ):
        live_baseline(objects, TYPES, created="2017-08-01T00:00:00Z", announced=lambda *_: True)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_classes_and_outputs_are_those_of_the_captures(kind: str) -> None:
    """Counts the predicted class, or each output, as the holdout's baseline does."""
    expected, line = baseline_of(kind), captured(kind, "application/json", "application/json")
    types = dict.fromkeys((feature.name for feature in expected.features), "number")
    found = live_baseline(
        [[line]],
        types,
        created="2017-08-08T00:00:00Z",
        cluster="call",
        classes=expected.classes,
        outputs=expected.outputs,  # type: ignore[arg-type] # literals
    )
    assert [each.name for each in found.predicted] == [each.name for each in expected.predicted]
    assert [each.counts for each in found.predicted] == [each.counts for each in expected.predicted]
    assert (found.classes, found.outputs) == (expected.classes, expected.outputs)
