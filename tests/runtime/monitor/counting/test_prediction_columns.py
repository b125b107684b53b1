"""Predictions that are lists, read from JSON and CSV captures as columns of a baseline."""

import json
from typing import Any

import pytest
from tests.runtime.monitor.counting.capture_of_kinds import baseline_of, captured, side_of

from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.jobs.monitor_plain import count_lines
from mlops_runtime.monitor.counting.counts import count, empty, merge
from mlops_runtime.monitor.counting.prediction_columns import numbers_of, prediction_columns

PRICE = FeatureBaseline(name="price", type="number", edges=(2.0,), counts=(5, 5, 0))


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("content_type", ["application/json", "text/csv"])
def test_the_servers_captures_count_as_the_baseline_did(kind: str, content_type: str) -> None:
    """The baseline's rows sent as one call fall into the same cells, in either format and by either reader."""
    baseline, line = baseline_of(kind), captured(kind, content_type, content_type)
    counts = count([line], baseline)
    assert counts.problems is None
    assert [each.counts for each in counts.predicted] == [each.counts for each in baseline.predicted]
    assert [each.invalid for each in counts.predicted] == [0] * len(baseline.predicted)
    assert count_lines([line], baseline) == counts
    doubled = merge(empty(baseline), [counts, counts])
    assert [sum(each.counts) for each in doubled.predicted] == [2 * counts.rows] * len(baseline.predicted)


@pytest.mark.parametrize(
    "data", ['{"predictions": [0.2]}', '{"predictions": [[0.2, 0.8]]}', '{"predictions": [["a", 0, 1]]}']
)
def test_another_shape_counts_as_no_prediction(data: str) -> None:
    """A single value, a short list and text count as another type instead of being dropped."""
    prediction = FeatureBaseline(name="prediction", type="category", counts=(1, 0, 0), levels=("a",))
    baseline = Baseline(
        features=(PRICE,), rows=1, training_set_id="t", created="", classes=("a", "b", "c"), prediction=prediction
    )
    sides = {
        "endpointInput": side_of("text/csv", "INPUT", "1.5"),
        "endpointOutput": side_of("application/json", "OUTPUT", data),
    }
    line = json.dumps({"captureData": sides, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"})
    counts = count([line], baseline)
    assert counts.prediction is not None
    assert (counts.rows, sum(counts.prediction.counts), counts.prediction.invalid) == (1, 0, 1)


@pytest.mark.parametrize(
    "value", [None, 1.0, "12", [1, float("nan")], [1, True], ["1_0", 2], [1], [1, 2, 3], [1, None]]
)
def test_what_is_not_a_number_of_each_is_none(value: Any) -> None:
    """Booleans and digit separators are not numbers."""
    assert numbers_of(value, 2) is None


def test_a_prediction_of_one_value_stays_as_it_is() -> None:
    """A prediction of one value is unchanged for every other model."""
    baseline = Baseline(features=(PRICE,), rows=1, training_set_id="t", created="")
    assert prediction_columns([1.0, "2"], baseline) == [[1.0, "2"]]


@pytest.mark.parametrize("data", ['{"predictions": [[0.2, 0.5, 0.3]]}', '{"predictions": [[0.2]]}'])
def test_the_numbers_of_a_vector_are_not_counted(data: str) -> None:
    """A vector's numbers are not counted; its calls and features are, without a problem."""
    baseline = Baseline(features=(PRICE,), rows=1, training_set_id="t", created="", target="vector", width=3)
    assert prediction_columns([[0.2, 0.5, 0.3]], baseline) == []
    sides = {
        "endpointInput": side_of("text/csv", "INPUT", "1.5"),
        "endpointOutput": side_of("application/json", "OUTPUT", data),
    }
    line = json.dumps({"captureData": sides, "eventMetadata": {"eventId": "e"}, "eventVersion": "0"})
    counts = count([line], baseline)
    assert (counts.rows, counts.predicted, counts.problems) == (1, (), None)
    assert count_lines([line], baseline) == counts
