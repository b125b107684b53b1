"""Column profiles in the format of Model Monitor."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.model_monitor.profile import SKETCH_ITEMS, Column, profile, sketch, statistics_document


def _column(*values: Any) -> Column:
    column = Column("c")
    for value in values:
        column.add(value)
    return column


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, "2", " -3 "), "Integral"),
        ((1, 2.5), "Fractional"),
        ((1.0,), "Fractional"),
        (("1e3", ".5"), "Fractional"),
        ((1, "blue"), "String"),
        ((True, 1), "String"),
        (([1],), "String"),
        (("inf", 1.0), "String"),
        ((float("inf"),), "String"),
        (("1e999", 1.0), "String"),  # beyond the range of floats
        (("9" * 100_000 + "x",), "String"),  # a number except for its last character
        ((None, "", float("nan")), "Unknown"),
    ],
)
def test_types_are_inferred_as_by_deequ(values: tuple[Any, ...], kind: str) -> None:
    """Infers types like Deequ: one text makes a column of text; null, empty text and NaN are ignored."""
    assert _column(*values).inferred_type == kind


def test_statistics_have_model_monitors_shape() -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-statistics.html."""
    columns, rows = profile(
        [{"price": 1.0, "store": "a"}, {"price": 3.0, "store": "a"}, {"store": "b"}], ["store", "price"]
    )
    document = statistics_document(columns.values(), rows)

    assert document["dataset"] == {"item_count": 3}
    store, price = document["features"]
    assert store == {
        "name": "store",
        "inferred_type": "String",
        "string_statistics": {
            "common": {"num_present": 3, "num_missing": 0},
            "distinct_count": 2.0,
            "distribution": {"categorical": {"buckets": [{"value": "a", "count": 2}, {"value": "b", "count": 1}]}},
        },
    }
    numerical = price["numerical_statistics"]
    assert numerical["common"] == {"num_present": 2, "num_missing": 1}
    assert [numerical[name] for name in ("mean", "sum", "std_dev", "min", "max")] == [2.0, 4.0, 1.0, 1.0, 3.0]
    kll = numerical["distribution"]["kll"]
    assert [bucket["count"] for bucket in kll["buckets"]] == [1.0, *[0.0] * 8, 1.0]
    assert kll["sketch"]["data"] == [[1.0, 3.0]]


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.none() | st.floats() | st.text(max_size=3)), max_size=20))
def test_every_row_is_counted_in_every_column(rows: list[dict[str, Any]]) -> None:
    """Present and missing values add up to the rows in every column, and the document is JSON."""
    columns, count = profile(rows)

    assert count == len(rows)
    assert {name for row in rows for name in row} == set(columns)
    assert all(column.present + column.missing == count for column in columns.values())
    json.dumps(statistics_document(columns.values(), count))


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_a_sketch_keeps_ranks(thousands: int, seed: int) -> None:
    """A rank is wrong by at most half of an item's weight, plus one where weights do not divide evenly."""
    numbers = np.random.default_rng(seed).lognormal(size=thousands * 1000 + seed % 7)
    data = sketch(numbers)["data"]
    step, items = 2 ** (len(data) - 1), np.array(data[-1])

    assert len(items) <= SKETCH_ITEMS
    ranks = np.searchsorted(np.sort(numbers), items, side="right")
    assert np.abs(ranks - step * (np.arange(len(items)) + 0.5)).max() <= step / 2 + 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_numbers_of_any_size_have_buckets(numbers: list[float]) -> None:
    """Every number, of any size, is in a bucket."""
    (feature,) = statistics_document([_column(*numbers)], len(numbers))["features"]

    assert sum(b["count"] for b in feature["numerical_statistics"]["distribution"]["kll"]["buckets"]) == len(numbers)
