"""Checks of a batch: accepted columns, lossless conversions and rejected values."""

import math
import re
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.batch_checks import BatchError, checked, read_batch
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.table_types import arrow_type

NOW = datetime(2017, 8, 1, tzinfo=UTC)
TIMES = pa.timestamp("us", "UTC")
STOCK = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"),),
    features=(
        Feature("on_hand", "long", "units on hand"),
        Feature("price", "double", "dollars", nullable=True),
        Feature("open", "boolean", "whether the store is open", nullable=True),
        Feature("day", "date", "the day", nullable=True),
    ),
    owner="demand",
    description="stock by store",
)
GOOD = {
    "store_id": ["1", "2"],
    "event_time": [NOW, NOW],
    "created_time": [NOW, NOW],
    "on_hand": [7, 8],
    "price": [1.5, None],
    "open": [True, None],
    "day": pa.array([NOW.date(), None]),
}


def without(*names: str) -> dict:
    """Return the valid batch without some columns."""
    return {name: values for name, values in GOOD.items() if name not in names}


def test_good_batch_gets_the_groups_types_and_order():
    """Columns get the group's order, and times are in microseconds of UTC."""
    rows = checked(STOCK, pa.table(dict(reversed(GOOD.items()))), NOW)
    assert rows.schema.names == ["store_id", "event_time", "created_time", "on_hand", "price", "open", "day"]
    assert rows.schema.field("event_time").type == pa.timestamp("us", "UTC")
    assert rows.to_pylist()[0]["price"] == 1.5


def test_created_time_is_now_when_left_out():
    """Rows without a created time became known at the ingest."""
    assert checked(STOCK, pa.table(without("created_time")), NOW)["created_time"].to_pylist() == [NOW, NOW]


def test_lossless_types_are_taken():
    """Narrow integers, integers for floats, dictionaries, large strings and other time units keep their values."""
    batch = {
        **GOOD,
        "store_id": pa.array(["1", "2"]).dictionary_encode(),
        "on_hand": pa.array([7, 8], pa.int16()),
        "price": pa.array([1, 2]),
        "event_time": pa.array([NOW, NOW], pa.timestamp("s", "America/New_York")),
    }
    assert checked(STOCK, pa.table(batch), NOW).select(["store_id", "on_hand", "price", "event_time"]).to_pylist()[
        0
    ] == {
        "store_id": "1",
        "on_hand": 7,
        "price": 1.0,
        "event_time": NOW,
    }


def test_pandas_frame_with_nan():
    """Accepts a frame whose NaN pandas exports as null."""
    frame = pd.DataFrame({**without("day"), "price": [1.5, float("nan")], "day": [None, None]})
    assert checked(STOCK, frame, NOW)["price"].to_pylist() == [1.5, None]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (without("on_hand"), "column 'on_hand' is missing"),
        (without("event_time"), "column 'event_time' is missing"),
        (
            {**GOOD, "event_time": [NOW, NOW + timedelta(seconds=1)]},
            "event_time is later than now (2017-08-01T00:00:00+00:00)",
        ),
        ({**GOOD, "event_time": [NOW, None]}, "column 'event_time' is required and has no value in 1 rows"),
        ({**GOOD, "colour": ["r", "g"]}, "column 'colour' is not declared, allowed are store_id, event_time"),
        ({**GOOD, "ingest_id": ["a", "b"]}, "column 'ingest_id' is set by the store; omit it"),
        (
            {**GOOD, "on_hand": [1.0, 2.0]},
            "column 'on_hand' must be int64: got double; convert them to integers, in pandas astype('Int64')",
        ),
        ({**GOOD, "on_hand": ["1", "2"]}, "column 'on_hand' must be int64: got string; convert them to integers"),
        ({**GOOD, "store_id": [1, 2]}, "column 'store_id' must be string: got int64; convert them to strings"),
        ({**GOOD, "open": [1, 0]}, "column 'open' must be bool: got int64; convert them to booleans"),
        ({**GOOD, "price": [True, False]}, "column 'price' must be double: got bool; convert them to numbers"),
        ({**GOOD, "day": [1, 2]}, "column 'day' must be date32[day]: got int64; cast them to dates"),
        (
            {**GOOD, "day": pa.array([NOW, NOW], pa.timestamp("us"))},
            "got timestamp[us]; cast them to dates, Arrow's date32",
        ),
        (
            {**GOOD, "event_time": pa.array(["2017-08-01"] * 2, pa.large_string())},
            "got large_string; parse them to timestamps with a time zone, in pandas to_datetime(column, utc=True)",
        ),
        ({**GOOD, "event_time": [NOW.replace(tzinfo=None)] * 2}, "without a time zone; set one, for example UTC"),
        ({**GOOD, "event_time": [1, 2]}, "column 'event_time' must be timestamp[us, tz=UTC]: got int64"),
        ({**GOOD, "store_id": ["1", None]}, "column 'store_id' is required and has no value in 1 rows"),
        ({**GOOD, "on_hand": [None, 1]}, "column 'on_hand' is required and has no value in 1 rows"),
        ({**GOOD, "created_time": [NOW, NOW + timedelta(seconds=1)]}, "created_time is later than now"),
        ({**GOOD, "store_id": ["1", "1"]}, "1 rows repeat store_id, event_time, created_time of another"),
        ({name: pa.array([], pa.table(GOOD)[name].type) for name in GOOD}, "it has no rows"),
    ],
)
def test_fails_when_the_batch_does_not_fit(batch, message):
    """Each error names the column and the value."""
    with pytest.raises(BatchError) as error:
        checked(STOCK, pa.table(batch), NOW)
    assert message in str(error.value)
    assert str(error.value).startswith("batch for stock_v1: ")


def test_fails_with_every_problem_at_once():
    """All problems of a batch are reported together."""
    with pytest.raises(BatchError, match=r"'event_time' is missing.*'colour' is not declared.*'on_hand' must be int64"):
        checked(STOCK, pa.table({**without("event_time"), "colour": [1, 2], "on_hand": ["a", "b"]}), NOW)


def test_fails_without_a_table():
    """Rejects a list."""
    with pytest.raises(BatchError, match=r"^a pyarrow table, pandas or polars frame is required, got <class 'list'>"):
        checked(STOCK, [1], NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("thing", "fix"),
    [
        (polars.LazyFrame({"a": [1]}), "use .collect()"),
        ({"a": [1]}, "use pa.table(batch)"),
        ([{"a": 1}], "use pa.Table.from_pylist(batch)"),
    ],
)
def test_what_makes_a_table_of_it_is_said(thing, fix):
    """Names the conversion for objects similar to a table."""
    with pytest.raises(BatchError, match=f"; {re.escape(fix)}$"):
        read_batch(thing)


def test_fails_for_a_column_that_is_there_twice():
    """Rejects it also if Arrow cannot read the frame."""
    frame = pd.DataFrame(without("day"))
    twice = pd.concat([frame, frame[["price"]]], axis=1)
    table = pa.Table.from_arrays([*pa.table(GOOD).columns, pa.table(GOOD)["price"]], [*GOOD, "price"])
    for batch in (twice, table):
        with pytest.raises(BatchError, match="column 'price' appears 2 times; give it once"):
            checked(STOCK, batch, NOW)


def test_nullable_features_that_are_left_out_are_null():
    """Producers need not know a new nullable feature; required features must be present."""
    rows = checked(STOCK, pa.table(without("price", "open", "day")), NOW)

    nulls = {"price": [None, None], "open": pa.array([None, None], pa.bool_()), "day": [None, None]}
    assert rows.equals(checked(STOCK, pa.table({**GOOD, **nulls}), NOW))


def test_nan_stays_nan_beside_null():
    """NaN is a value, also of a required feature; null is not."""
    required = replace(STOCK, features=(Feature("price", "double", "dollars"),))
    batch = {name: GOOD[name] for name in ("store_id", "event_time")}
    rows = checked(required, pa.table({**batch, "price": [math.nan, 1.0]}), NOW)
    assert math.isnan(rows["price"].to_pylist()[0])
    rows = checked(STOCK, pa.table({**GOOD, "price": pa.array([math.nan, None])}), NOW)
    assert (rows["price"].null_count, pc.is_nan(rows["price"]).to_pylist()) == (1, [True, None])


def test_equal_rows_are_one_row():
    """Duplicate rows are merged into the first; NaN equals NaN and -0.0 equals 0.0, as in the content hash."""
    table = pa.table(
        {
            "store_id": ["1", "2", "1", "2"],
            "event_time": [NOW] * 4,
            "on_hand": [7, 8, 7, 8],
            "price": [math.nan, 0.0, math.nan, -0.0],
            "open": pa.array([None] * 4, pa.bool_()),
            "day": pa.array([None] * 4, pa.date32()),
        }
    )
    assert checked(STOCK, table, NOW).select(["store_id", "on_hand"]).to_pylist() == [
        {"store_id": "1", "on_hand": 7},
        {"store_id": "2", "on_hand": 8},
    ]


def test_null_and_nan_are_two_values():
    """Rows that differ only in null and NaN are different."""
    with pytest.raises(
        BatchError, match="1 rows repeat store_id, event_time, created_time of another with other values"
    ):
        checked(
            STOCK,
            pa.table(
                {
                    **GOOD,
                    "store_id": ["1", "1"],
                    "on_hand": [7, 7],
                    "price": [None, math.nan],
                    "open": [True, True],
                    "day": GOOD["day"].take([0, 0]),
                }
            ),
            NOW,
        )


def test_times_without_a_zone_are_read_in_the_groups():
    """Local times become UTC in every time column."""
    local = replace(STOCK, time_zone="America/New_York")
    batch = {**GOOD, "event_time": [datetime(2017, 7, 1), datetime(2017, 1, 1)]}
    assert checked(local, pa.table(batch), NOW)["event_time"].to_pylist() == [
        datetime(2017, 7, 1, 4, tzinfo=UTC),
        datetime(2017, 1, 1, 5, tzinfo=UTC),
    ]


@pytest.mark.parametrize("when", [datetime(2017, 3, 12, 2, 30), datetime(2016, 11, 6, 1, 30)])
def test_fails_when_a_local_time_is_twice_or_never_on_the_clocks(when):
    """Rejects local times skipped in spring or repeated in autumn, and names the time."""
    local = replace(STOCK, time_zone="America/New_York")
    with pytest.raises(
        BatchError, match=rf"ambiguous or nonexistent local time of America/New_York in 1 rows, first {when}"
    ):
        checked(local, pa.table({**GOOD, "event_time": [when, datetime(2017, 1, 1)]}), NOW)


def test_finer_times_are_refused_or_truncated():
    """Nanoseconds are accepted if whole microseconds, truncated if the group allows it, and rejected otherwise."""
    start = int(datetime(1960, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    whole = pa.array([start, start + 1000], pa.timestamp("ns", "UTC"))
    finer = pa.array([start, start + 1999], pa.timestamp("ns", "UTC"))
    expected = checked(STOCK, pa.table({**GOOD, "event_time": whole}), NOW)["event_time"]
    with pytest.raises(BatchError, match=r"finer than a microsecond in 1 rows, first 1960-01-01 00:00:00.000001999"):
        checked(STOCK, pa.table({**GOOD, "event_time": finer}), NOW)
    cut = replace(STOCK, finer_times="truncate")
    assert checked(cut, pa.table({**GOOD, "event_time": finer}), NOW)["event_time"].equals(expected)


def test_lead_lets_event_times_lie_ahead():
    """Accepts event times up to now plus the lead; the created time is at most now."""
    ahead = {**GOOD, "event_time": [NOW, NOW + timedelta(hours=1)]}
    assert checked(replace(STOCK, lead=timedelta(hours=1)), pa.table(ahead), NOW).num_rows == 2
    with pytest.raises(BatchError, match=r"later than now and the group's lead .* in 1 rows, first .*declare lead="):
        checked(replace(STOCK, lead=timedelta(minutes=59)), pa.table(ahead), NOW)


def test_created_before_the_event_is_legal():
    """Announced events are known before they happen."""
    batch = {**GOOD, "created_time": [NOW - timedelta(days=9)] * 2}
    assert checked(STOCK, pa.table(batch), NOW).num_rows == 2


def test_keys_of_another_width_are_taken_if_every_value_fits():
    """Integer keys are converted to the declared type; a value that does not fit is rejected, never truncated."""
    group = replace(STOCK, entities=(Entity("store_id", "int", "store"),))
    rows = checked(group, pa.table({**GOOD, "store_id": pa.array([1, 2], pa.uint64())}), NOW)
    assert rows.schema.field("store_id").type == pa.int32()
    with pytest.raises(BatchError, match=r"column 'store_id' must be int32: Integer value 2147483648 not in range"):
        checked(group, pa.table({**GOOD, "store_id": [1, 2**31]}), NOW)


def test_float_is_rounded_but_not_overflown():
    """A double becomes the nearest float; values beyond the range are rejected, not infinite."""
    group = replace(STOCK, features=(Feature("price", "float", "dollars", maximum=0.1),))
    batch = {name: GOOD[name] for name in ("store_id", "event_time")}
    assert checked(group, pa.table({**batch, "price": [0.1, -math.inf]}), NOW).num_rows == 2
    with pytest.raises(BatchError, match=r"beyond its range in 1 rows, first 1e\+300; declare double"):
        checked(group, pa.table({**batch, "price": [0.1, 1e300]}), NOW)


KINDS = FeatureGroup(
    name="kinds",
    entities=(Entity("key", "long", "key"),),
    features=(
        Feature("count", "int", "x", nullable=True, minimum=0, maximum=9),
        Feature("share", "double", "x", nullable=True, minimum=0, maximum=1),
        Feature("level", "double", "x", nullable=True, allowed=(0.0, 0.5)),
        Feature("size", "string", "x", nullable=True, allowed=("S", "M")),
        Feature("code", "string", "x", nullable=True, pattern="[A-Z]|b+"),
        Feature("since", "date", "x", nullable=True, minimum=date(2017, 1, 1)),
        Feature("until", "timestamp", "x", nullable=True, maximum=NOW),
        Feature("open", "boolean", "x", nullable=True, allowed=(True,)),
    ),
    owner="demand",
    description="a constraint of each kind",
)


@pytest.mark.parametrize(
    ("name", "good", "bad", "message"),
    [
        (
            "count",
            [0, 9, None],
            [-1, 10],
            "is below minimum 0 in 1 rows, first -1; feature 'count' is above maximum 9 in 1",
        ),
        (
            "share",
            [0, -0.0, 1, None],
            [-0.1, math.nan],
            "is below minimum 0 in 2 rows, first -0.1, nan; feature 'share' is above",
        ),
        ("level", [0, -0.0, 0.5, None], [1.5, math.nan], "is not among 0.0, 0.5 in 2 rows, first 1.5, nan"),
        ("size", ["S", "M", None], ["m", ""], "is not among 'S', 'M' in 2 rows, first 'm', ''"),
        (
            "code",
            ["A", "bb", None],
            ["AB", "A\n", "ba", ""],
            "is not like '[A-Z]|b+' in 4 rows, first 'AB', 'A\\n', 'ba'",
        ),
        (
            "since",
            [date(2017, 1, 1), None],
            [date(2016, 12, 31)],
            "is below minimum 2017-01-01 in 1 rows, first 2016-12-31",
        ),
        (
            "until",
            [NOW, None],
            [NOW + timedelta(seconds=1)],
            "is above maximum 2017-08-01T00:00:00+00:00 in 1 rows, first 2017-08-01",
        ),
        ("open", [True, None], [False], "is not among True in 1 rows, first False"),
    ],
)
def test_constraints_hold_for_every_row(name, good, bad, message):
    """Nulls and valid values pass; each violated constraint is reported with the count and the first values."""

    def batch(values: list) -> pa.Table:
        columns = {feature.name: pa.array([None] * len(values)) for feature in KINDS.features}
        return pa.table({"key": range(len(values)), "event_time": [NOW] * len(values), **columns, name: values})

    assert checked(KINDS, batch(good), NOW).num_rows == len(good)
    with pytest.raises(BatchError) as error:
        checked(KINDS, batch([*good, *bad]), NOW)
    assert f"feature {name!r} {message}" in str(error.value)


def test_fails_when_a_frame_is_no_table():
    """Rejects a column of mixed types and a frame's index by name."""
    with pytest.raises(BatchError, match="the batch cannot be read as an Arrow table"):
        read_batch(pd.DataFrame({"price": [1, "a"]}))
    frame = pd.DataFrame(GOOD | {"day": [None, None]}, index=[4, 7])
    with pytest.raises(BatchError, match=r"column '__index_level_0__' is the frame's index; drop it with reset_index"):
        checked(STOCK, frame, NOW)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "", None]),
        st.integers(-1, 2),
        st.integers(-1, 1),
        st.sampled_from([None, math.nan, 0.0, -0.0, 1.5, -1.0]),
    ),
    max_size=8,
)


@given(rows=ROWS, cut=st.integers(0, 8), leaves_out=st.booleans())
def test_batch_is_taken_or_refused_as_row_by_row(rows, cut, leaves_out):
    """Checks of whole columns agree with row-by-row checks, for any division into chunks."""
    group = replace(STOCK, features=(Feature("price", "double", "dollars", nullable=True, minimum=-0.5),))
    schema = pa.schema(
        [("store_id", pa.string()), ("event_time", TIMES), ("created_time", TIMES), ("price", pa.float64())]
    )
    if leaves_out:  # a missing nullable feature is null
        rows = [(*row[:3], None) for row in rows]
    hours = [(k, NOW + timedelta(hours=e), NOW + timedelta(hours=c), p) for k, e, c, p in rows]
    parts = [dict(zip(schema.names, row, strict=True)) for row in hours]
    table = pa.concat_tables([pa.Table.from_pylist(part, schema) for part in (parts[:cut], parts[cut:])])
    if leaves_out:
        table = table.drop_columns("price")

    def value(price: float | None) -> object:
        return price if price is None else "nan" if math.isnan(price) else price + 0.0

    rows_of_values = [(k, e, c, value(p)) for k, e, c, p in hours]
    distinct = list(dict.fromkeys(rows_of_values))
    sound = (
        bool(rows)
        and all(k is not None and e <= 0 and c <= 0 for k, e, c, _ in rows)
        and all(p is None or p >= -0.5 for *_, p in rows)
        and len({row[:3] for row in distinct}) == len(distinct)
    )
    if sound:
        found = checked(group, table, NOW).to_pylist()
        assert [(*list(row.values())[:3], value(row["price"])) for row in found] == sorted(
            distinct, key=lambda row: row[:3]
        )
    else:
        with pytest.raises(BatchError):
            checked(group, table, NOW)


@pytest.mark.parametrize("finer", ["refuse", "truncate"])
def test_finer_times_are_read_in_utc_whatever_their_zone(finer):
    """The repeated hour in New York is two different hours."""
    twice = [datetime(2017, 11, 5, hour, 30, tzinfo=UTC) for hour in (5, 6)]
    times = pa.array(twice, pa.timestamp("ns", "UTC")).cast(pa.timestamp("ns", "America/New_York"))
    group = replace(STOCK, finer_times=finer, features=(Feature("price", "double", "dollars"),))
    batch = pa.table({"store_id": ["1", "1"], "event_time": times, "price": [1.0, 2.0]})

    assert checked(group, batch, datetime(2018, 1, 1, tzinfo=UTC))["event_time"].to_pylist() == twice


@pytest.mark.parametrize("kind", [polars.Categorical, polars.Enum(["1", "2"])])
def test_categories_of_polars_are_texts(kind):
    """Polars exports categories as a dictionary of views, from which Arrow cannot take values."""
    frame = polars.DataFrame({"store_id": ["1", "2"], "event_time": [NOW, NOW], "price": [1.0, 2.0]})
    group = replace(STOCK, features=(Feature("price", "double", "dollars"),))

    found = checked(group, frame.with_columns(polars.col("store_id").cast(kind)), NOW)
    assert found.equals(checked(group, frame, NOW))


RICH = FeatureGroup(
    name="rich",
    entities=(Entity("key", "long", "key"),),
    features=(
        Feature("price", "decimal(9,2)", "x", nullable=True, minimum=0, allowed=(0, Decimal("1.10"), Decimal("20.00"))),
        Feature("seen", "list<timestamp>", "x", nullable=True),
        Feature("sizes", "list<int>", "x", nullable=True),
        Feature("tags", "list<string>", "x", nullable=True),
        Feature("embedding", "vector(2)", "x", nullable=True),
        Feature("image", "binary", "x", nullable=True),
    ),
    owner="demand",
    description="what is not plain",
)
FORMS = {
    "pandas": pd.DataFrame,
    "polars": lambda columns: polars.DataFrame(
        {**columns, "embedding": polars.Series(columns["embedding"], dtype=polars.Array(polars.Float64, 2))}
    ),
    "arrow": lambda columns: pa.table({**columns, "tags": pa.array(columns["tags"], pa.large_list(pa.string_view()))}),
}


def rich(**columns) -> dict:
    """Return two rows of RICH as Python values."""
    return {
        "key": [1, 2],
        "event_time": [NOW, NOW],
        "price": [Decimal("1.1"), None],
        "seen": [[NOW], []],
        "sizes": [[1, 2], None],
        "tags": [["a", None], ["b"]],
        "embedding": [[1.0, 0.1], None],
        "image": [b"\0a", b""],
        **columns,
    }


@pytest.mark.parametrize("form", FORMS)
def test_lists_decimals_and_bytes_of_every_library_are_taken(form):
    """Accepts the native types of pandas, polars and Arrow."""
    rows = checked(RICH, FORMS[form](rich()), NOW)
    kinds = {name: rows.schema.field(name).type for name in rows.schema.names[3:]}
    assert kinds == {feature.name: arrow_type(feature.type) for feature in RICH.features}
    assert rows["price"].to_pylist() == [Decimal("1.10"), None]
    assert rows["seen"].to_pylist() == [[NOW], []]
    assert rows["sizes"].to_pylist() == [[1, 2], None]
    assert rows["tags"].to_pylist() == [["a", None], ["b"]]
    assert rows["embedding"].to_pylist() == [[1.0, struct.unpack("f", struct.pack("f", 0.1))[0]], None]
    assert rows["image"].to_pylist() == [b"\0a", b""]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"price": [1.1, 2.0]},
            "'price' must be decimal128(9, 2): got double; convert them to decimal.Decimal, rounded to 2 digits",
        ),
        (
            {"price": [Decimal("1.101"), Decimal(10**7)]},
            "at most 7 digits before the point and 2 after it, got others in 2 rows, first 1.101, 10000000.000; round them",
        ),
        ({"price": [Decimal(-1), None]}, "feature 'price' is below minimum 0 in 1 rows, first Decimal('-1.00')"),
        ({"price": [2, None]}, "feature 'price' is not among 0, Decimal('1.10'), Decimal('20.00') in 1 rows"),
        ({"sizes": [[1.5], None]}, "column 'sizes' must be list<element: int32>: got double; convert them to integers"),
        ({"sizes": [[2**31], None]}, "Integer value 2147483648 not in range"),
        ({"sizes": [1, 2]}, "got int64; give each row a list, or null"),
        ({"seen": [[datetime(2017, 1, 1)], None]}, "got timestamp[us] without a time zone"),
        ({"embedding": [[1.0], [1.0, 2.0, 3.0]]}, "must have 2 numbers in each row, got 1, 3 in 2 rows"),
        ({"embedding": [[1.0, None], None]}, "1 numbers are null; give each vector completely, or as null"),
        ({"embedding": [[1e300, 0.0], None]}, "beyond its range in 1 rows, first 1e+300; declare double"),
        (
            {"image": ["a", None]},
            "column 'image' must be binary: got string; convert them to bytes, strings by encode()",
        ),
    ],
)
def test_fails_when_lists_decimals_or_bytes_do_not_fit(columns, message):
    """The error names the column, the value and the fix."""
    with pytest.raises(BatchError) as error:
        checked(RICH, pa.table(rich(**columns)), NOW)
    assert message in str(error.value)


def test_whole_numbers_are_decimals():
    """Accepts integers of any width that fit."""
    group = replace(RICH, features=(Feature("price", "decimal(9,2)", "x"),))
    rows = {"key": [1], "event_time": [NOW], "price": pa.array([7], pa.uint64())}
    assert checked(group, pa.table(rows), NOW)["price"].to_pylist() == [Decimal("7.00")]


def test_rows_that_repeat_lists_are_one_row():
    """NaN and zero are normalised inside lists too; other elements make another row, which is rejected."""
    group = replace(RICH, features=(Feature("levels", "list<double>", "x", nullable=True),))
    twice = {"key": [1, 1], "event_time": [NOW, NOW]}
    same = checked(group, pa.table({**twice, "levels": [[math.nan, 0.0, None], [math.nan, -0.0, None]]}), NOW)
    assert same.num_rows == 1
    with pytest.raises(BatchError, match="1 rows repeat key, event_time, created_time of another with other values"):
        checked(group, pa.table({**twice, "levels": [[1.0], [1.0, None]]}), NOW)
