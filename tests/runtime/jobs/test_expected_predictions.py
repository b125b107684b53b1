"""A team's own predictions compared with those of the served model."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_runtime.jobs.expected_predictions import compare_predictions, read_expected
from mlops_runtime.jobs.job_environment import JobError


def expected_problems(*tables: Any, **options: Any) -> list[str]:
    """Return the differences of a model."""
    return compare_predictions(*tables, **options)[1]


HOLDOUT = pa.table({"store": [7, 8, 9], "week": [date(2017, 7, 3)] * 3})
PREDICTIONS = np.array([1.0, 2.0, np.nan])


def test_the_same_predictions_differ_in_nothing() -> None:
    """In the holdout's order, or named by columns of other types and order; a missing prediction matches a missing one."""
    assert expected_problems(pa.table({"prediction": [1.0, 2.00001, None]}), HOLDOUT, PREDICTIONS) == []
    named = pa.table({"week": [datetime(2017, 7, 3)] * 3, "store": [8.0, 9.0, 7.0], "prediction": [2.0, None, 1.0]})
    assert expected_problems(named, HOLDOUT, PREDICTIONS) == []


def test_what_was_compared_is_counted() -> None:
    """With the largest difference relative to the larger number; none if nothing is comparable."""
    compared, _ = compare_predictions(pa.table({"prediction": [1.0, 2.0001, None]}), HOLDOUT, PREDICTIONS)
    assert compared is not None
    assert (compared.rows, compared.largest_difference) == (3, pytest.approx(0.00005, rel=1e-3))
    apart, _ = compare_predictions(pa.table({"prediction": [1.0, 2.0, 3.0]}), HOLDOUT, PREDICTIONS)
    assert apart is not None
    assert apart.largest_difference == 1.0  # a missing prediction has no finite difference
    assert compare_predictions(pa.table({"prediction": [1.0]}), HOLDOUT, PREDICTIONS)[0] is None


def test_the_row_that_differs_most_is_named_with_both_values() -> None:
    """And the number of differing rows is reported."""
    expected = pa.table({"store": [7, 8, 9], "prediction": [1.001, 99.0, None]})
    assert expected_problems(expected, HOLDOUT, PREDICTIONS) == [
        "the model predicts 2 for row 1 of the holdout (store=8), 99 was expected (2 of 3 predictions differ by more than 0.01 %)"
    ]
    missing = expected_problems(pa.table({"prediction": [1.0, 2.0, 3.0]}), HOLDOUT, PREDICTIONS)
    assert missing[0].startswith("the model predicts nan for row 2 of the holdout, 3 was expected (1 of 3")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (pa.table({"score": [1.0]}), "must have a column 'prediction', got score"),
        (pa.table({"prediction": [1.0]}), "1 predictions were given for 3 rows of the holdout; provide one per row"),
        (pa.table({"shop": [7], "prediction": [1.0]}), "identify rows by shop, which the holdout does not have"),
        (
            pa.table({"store": [5], "prediction": [1.0]}),
            "1 of 1 predictions match no row of the holdout, such as store=5",
        ),
        (pa.table({"week": [date(2017, 7, 3)], "prediction": [1.0]}), "week identify more than one row of the holdout"),
        (
            pa.table({"store": pa.array([], pa.int64()), "prediction": pa.array([], pa.float64())}),
            "3 of 3 rows of the holdout have no prediction, such as store=7; provide one for each row",
        ),
        (
            pa.table({"store": [7, 9], "prediction": [1.0, None]}),
            "1 of 3 rows of the holdout have no prediction, such as store=8; provide one for each row",
        ),
        (
            pa.table({"store": [7, 8, 9, 7], "prediction": [1.0, 2.0, None, 5.0]}),
            "4 predictions were given for 3 rows of the holdout; provide one for each row",
        ),
    ],
)
def test_fails_where_rows_cannot_be_matched(expected: pa.Table, message: str) -> None:
    """An empty comparison is rejected."""
    (problem,) = expected_problems(expected, HOLDOUT, PREDICTIONS)
    assert message in problem


def test_a_category_that_the_signature_does_not_list_is_named() -> None:
    """A frame may treat it as missing, and a model with raw values as it is."""
    expected, known = (
        pa.table({"prediction": [1.0, 99.0, None]}),
        {"store": ("7", "9"), "week": ("2017-07-03T00:00:00+00:00",)},
    )
    (problem,) = expected_problems(expected, HOLDOUT, PREDICTIONS, known=known)
    assert problem.endswith(
        "(1 of 3 predictions differ by more than 0.01 %); signature.json does not list its store '8'"
    )
    (plain,) = expected_problems(expected, HOLDOUT, PREDICTIONS, known={"store": ("7", "8", "9")})
    assert plain.endswith("0.01 %)")


LISTS = np.array([[0.1, 0.9, 1e-9], [0.5, 0.5, 0.0], [np.nan] * 3])


def test_lists_are_compared_number_by_number() -> None:
    """A missing list or number matches a missing one; a number small in its row may be rounded."""
    same = pa.table({"prediction": [[0.1, 0.90001, 5e-9], [0.5, 0.5, 0.0], None]})
    assert expected_problems(same, HOLDOUT, LISTS, names=("a", "b", "c")) == []
    apart = pa.table({"store": [8, 7, 9], "prediction": [[0.4, 0.6, 0.0], [0.1, 0.9, 1e-9], None]})
    assert expected_problems(apart, HOLDOUT, LISTS, names=("a", "b", "c")) == [
        "the model predicts 0.5 as a for row 1 of the holdout (store=8), 0.4 was expected (1 of 3 predictions differ by more than "
        "0.01 %)"
    ]
    (turned,) = expected_problems(pa.table({"prediction": [[0.9, 0.1, 0.0], [0.5, 0.5, 0.0], None]}), HOLDOUT, LISTS)
    assert turned.startswith("the model predicts 0.1 as number 0 for row 0 of the holdout, 0.9 was expected (1 of 3")
    (missing,) = expected_problems(pa.table({"prediction": [None, [0.5, 0.5, 0.0], [None] * 3]}), HOLDOUT, LISTS)
    assert "0.1 as number 0 for row 0 of the holdout, nan was expected (1 of 3" in missing


def test_outputs_have_units_of_their_own() -> None:
    """Each output is compared relative to itself."""
    made, holdout = np.array([[1000.0, 0.01]]), HOLDOUT.slice(0, 1)
    expected = pa.table({"prediction": [[1000.0, 0.011]]})
    assert expected_problems(expected, holdout, made) == []
    (problem,) = expected_problems(expected, holdout, made, names=("tons", "share"), have_units=True)
    assert problem.startswith("the model predicts 0.01 as share for row 0")


@pytest.mark.parametrize(
    ("column", "predictions", "message"),
    [
        ([1.0] * 3, LISTS, "predictions must be lists of 3 numbers, as the model returns them, got double"),
        ([[1.0, 2.0]] * 3, LISTS, "predictions must be lists of 3 numbers, as the model returns them, got one of 2"),
        ([[1.0]] * 3, PREDICTIONS, "predictions are lists, but the model returns one number per row"),
    ],
)
def test_fails_for_predictions_of_another_kind_of_model(column: list[Any], predictions: Any, message: str) -> None:
    """Kinds without common predictions are rejected."""
    assert expected_problems(pa.table({"prediction": column}), HOLDOUT, predictions) == [message]


def test_a_folder_without_predictions_has_none(tmp_path: Path) -> None:
    """The input then contains the manifest."""
    (tmp_path / "manifest.json").write_text("{}")
    assert read_expected(tmp_path) is None
    assert read_expected(tmp_path / "missing") is None
    pq.write_table(pa.table({"prediction": [1.0]}), tmp_path / "a.parquet")
    assert read_expected(tmp_path).num_rows == 1
    (tmp_path / "b.parquet").write_text("x")
    with pytest.raises(JobError, match=r"one Parquet file, got a\.parquet, b\.parquet"):
        read_expected(tmp_path)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(JobError, match="cannot be read as Parquet"):
        read_expected(tmp_path)
