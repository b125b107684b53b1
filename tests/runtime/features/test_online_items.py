"""Items without pyarrow: keys, order, JSON values and marks."""

import struct
from datetime import datetime, timedelta

import pytest

from mlops_runtime.features.online_items import (
    EPOCH,
    KEY,
    OnlineStoreError,
    attribute,
    counts,
    is_of,
    json_value,
    key_problem,
    mark_item,
    mark_of,
    microseconds,
    order_of,
    whole_key,
)


@pytest.mark.parametrize(
    ("kind", "plain", "value"),
    [
        ("boolean", True, True),
        ("int", -7, -7),
        ("long", 2**62, 2**62),
        ("string", "é", "é"),
        ("decimal(9,2)", "12.50", 12.5),
        ("float", struct.unpack(">i", struct.pack(">f", 0.5))[0], 0.5),
        ("double", struct.unpack(">q", struct.pack(">d", -0.1))[0], -0.1),
        ("double", None, None),
    ],
)
def test_values_are_those_of_a_request(kind, plain, value):
    """Returns booleans, numbers, strings and nulls as in JSON."""
    assert json_value(kind, attribute(kind, plain)) == value
    assert type(json_value(kind, attribute(kind, plain))) is type(value)


def test_keys_hold_all_values():
    """Partial keys work too; a key that is too long is rejected by its size in bytes."""
    key = whole_key("stock_v1", ("a", 7))
    assert [is_of(key, values) for values in (("a", None), (None, 7), ("b", None), ("a",))] == [
        True,
        True,
        False,
        False,
    ]
    assert key_problem([key, "k" * 2048]) is None
    assert "1 keys have more than 2048 bytes" in key_problem([key, "é" * 1025])


def test_orders_sort_times_before_1970_too():
    """Sorts by event time, then created time, then ingest."""
    given = [(-5, 0, "b"), (-5, 1, "a"), (3, -9, "a"), (3, -9, "b")]
    assert sorted(given, key=lambda each: order_of(*each)) == given


def test_an_item_counts_while_it_lives():
    """From its visible time to the end of its lifetime, inclusive or exclusive."""
    item = {"event_time": {"N": "10"}, "created_time": {"N": "12"}}
    assert [counts(item, at, 5, "inclusive") for at in (11, 12, 15, 16)] == [False, True, True, False]
    assert [counts(item, at, 5, "exclusive") for at in (14, 15)] == [True, False]
    assert counts(item, 10**15, None, "inclusive")


def test_a_mark_is_of_one_table():
    """It is ignored for another table with the same name."""
    mark = mark_item("stock_v1", "one", 7)
    assert (mark[KEY]["S"], mark_of(mark, "one"), mark_of(mark, "two"), mark_of(None, "one")) == (
        "#published/stock_v1",
        7,
        0,
        0,
    )


def test_times_need_a_zone():
    """They are exact to the microsecond."""
    assert microseconds(EPOCH + timedelta(days=1, microseconds=1)) == 86_400_000_001
    with pytest.raises(OnlineStoreError, match="now must have a time zone"):
        microseconds(datetime(2017, 1, 1))
