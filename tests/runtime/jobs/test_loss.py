"""Losses a row, against their definitions."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.jobs.loss import CLIP, check_labels, is_prediction, normaliser, row_losses
from mlops_runtime.jobs.optml import JobError

PROBABILITIES = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(PROBABILITIES, st.sampled_from([0.0, 1.0])), min_size=1, max_size=20))
def test_losses_of_probabilities_equal_their_definition(rows: list[tuple[float, float]]) -> None:
    """Brier: the squared error; log loss: minus the logarithm of what the true class was given, clipped."""
    predicted, actual = (np.array(column) for column in zip(*rows, strict=True))
    assert row_losses("brier", predicted, actual).tolist() == pytest.approx([(p - y) ** 2 for p, y in rows])
    expected = [-math.log(min(1.0, max(CLIP, p if y else 1 - p))) for p, y in rows]
    assert row_losses("log_loss", predicted, actual).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["wape", "mae"])
def test_the_loss_of_a_number_is_its_absolute_error(metric: Any) -> None:
    """Both have the same losses and differ in what these are divided by."""
    assert row_losses(metric, np.array([1.0, -2.0]), np.array([3.0, 1.0])).tolist() == [2.0, 3.0]
    assert normaliser("wape", rows=2, actual_sum=4.0) == 4.0
    assert normaliser(metric if metric == "mae" else "brier", rows=2, actual_sum=4.0) == 2.0


@pytest.mark.parametrize(
    ("metric", "given_rows"), [("wape", [True, True, False, False]), ("brier", [True, False, False, False])]
)
def test_what_is_no_prediction_has_no_loss(metric: Any, given_rows: list[bool]) -> None:
    """NaN and infinity for a number, besides what is outside 0 to 1 for a probability."""
    predictions = np.array([0.5, 1.5, math.nan, math.inf])
    assert is_prediction(metric, predictions).tolist() == given_rows
    losses = row_losses(metric, predictions, np.array([0.0, 0.0, 0.0, 0.0]))
    assert [loss > 0 for loss in losses] == given_rows


def test_a_certain_mistake_is_dear_but_finite() -> None:
    """34.5 a row."""
    assert row_losses("log_loss", np.array([1.0]), np.array([0.0])).tolist() == pytest.approx([34.538776])


@pytest.mark.parametrize(
    ("metric", "actual", "message"),
    [
        ("log_loss", [0.0, 2.0, 0.5], "label 'bought' must be 0 or 1 for log_loss, got 0.5, 2"),
        ("brier", [0.0, math.nan], "label 'bought' must be known for every holdout row, 1 of 2 are null or infinite"),
        ("wape", [0.0, 0.0], "label 'bought' is 0 in every holdout row: WAPE is not defined; use the metric mae"),
    ],
)
def test_fails_on_labels_that_cannot_be_measured_against(metric: Any, actual: list[float], message: str) -> None:
    """The metric, the values and what is allowed."""
    with pytest.raises(JobError) as caught:
        check_labels(metric, "bought", np.array(actual))
    assert str(caught.value) == message


def test_a_holdout_of_one_class_can_be_measured() -> None:
    """Nobody bought anything: a probability still has a loss; so has a number where all are 0."""
    check_labels("log_loss", "bought", np.array([0.0, 0.0]))
    check_labels("mae", "units", np.array([0.0, 0.0]))
