"""Schema of a table: roles of columns, kind of label, split, blocks, and all problems in one message."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.training_data.table_file import TableError
from mlops_runtime.training_data.table_schema import TableSchema, read_schema, schema_lines

BEGIN = datetime(2025, 1, 6, tzinfo=UTC)
ROWS = 1200
RANDOM = np.random.default_rng(3)
UNITS = RANDOM.poisson(20, ROWS)
Change = dict[str, Any]


def columns() -> Change:
    """Return a day's sales of 20 stores for 60 days."""
    day = np.repeat(np.arange(60), 20)
    random = np.random.default_rng(4)  # the same table for every test, alone or among others
    return {
        "store": [f"s{number:02}" for number in np.tile(np.arange(20), 60)],
        "day": [BEGIN + timedelta(days=int(each)) for each in day],
        "price": random.uniform(1, 9.87654321, ROWS),
        "promotion": random.random(ROWS) < 0.2,
        "units": UNITS,
    }


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write a table with some columns changed or added."""

    def write(name: str = "sales.parquet", **changed: Any) -> Path:
        whole = pa.table({**columns(), **changed})
        if name.endswith(".csv"):
            pyarrow.csv.write_csv(whole, tmp_path / name)
        else:
            pq.write_table(whole, tmp_path / name)
        return tmp_path / name

    return write


def schema(path: Path, **more: Any) -> TableSchema:
    """Read it with the usual options."""
    return read_schema(path, **{"label": "units", "time": "day", "key": "store", **more})


def problems(path: Path, **more: Any) -> str:
    """Return the problems."""
    with pytest.raises(TableError) as raised:
        schema(path, **more)
    return "\n".join(raised.value.problems)


def test_a_plain_table_needs_no_answer_more(table: Callable[..., Path]) -> None:
    """The store is an input, a block and the key of two naive baselines; a count is measured by WAPE."""
    found = schema(table())
    assert [(each.name, each.type, each.kind) for each in found.inputs] == [
        ("store", "category", "text"),
        ("price", "number", "float"),
        ("promotion", "number", "boolean"),
    ]
    assert (found.label_kind, found.metric, found.block) == ("number", "wape", "store")
    assert found.baselines == ("naive_median_by_store", "naive_last_by_store")
    assert (found.block, found.cluster) == ("store", "cluster_day")
    assert (found.rows, found.holdout_rows, found.minimum_rows) == (1200, 200, 160)
    assert from_json(TableSchema, canonical_json(found)) == found


def test_a_csv_is_read_alike(table: Callable[..., Path]) -> None:
    """Times are recognized from their strings."""
    parquet, text = schema(table()), schema(table("sales.csv"))
    assert [(each.name, each.kind) for each in text.inputs] == [(each.name, each.kind) for each in parquet.inputs]
    assert (text.block, text.holdout_rows) == (parquet.block, parquet.holdout_rows)


def test_a_person_reads_what_was_found(table: Callable[..., Path]) -> None:
    """The text lists label, inputs, excluded columns and rows."""
    lines = list(schema_lines(schema(table(note=[None] * ROWS))))
    assert lines == [
        "label units: a number, measured by wape",
        "3 inputs: store, price, promotion",
        "left out note: of type INTEGER"
        if "INTEGER" in lines[2]
        else "left out note: null in every row of the training part",
        "1000 rows to train and 200 held out; compared by store with naive_median_by_store, naive_last_by_store",
    ]


def test_columns_that_no_model_can_use_are_left_out_by_name(table: Callable[..., Path]) -> None:
    """5,000 categories, one value, nulls, a second time, an identifier, a list, and pandas' index."""
    found = schema(
        table(
            text=[f"t{number}" for number in range(ROWS)],
            same=[1] * ROWS,
            empty=pa.nulls(ROWS, pa.float64()),
            paid=[BEGIN] * ROWS,
            order=list(range(ROWS)),
            items=[[1]] * ROWS,
            late=[None if number > 1100 else 1.5 * number for number in range(ROWS)],
            basket_id=list(np.arange(ROWS) // 2),
            __index_level_0__=list(range(ROWS)),
        )
    )
    assert {each.name: each.reason for each in found.left_out} == {
        "text": "text with 1000 values, at most 200 can be categories",
        "same": "one value",
        "empty": "null in every row of the training part",
        "paid": "a second time",
        "order": "a different integer in every row, an identifier",
        "items": "of type INTEGER[]" if "INTEGER[]" in str(found.left_out) else "of type BIGINT[]",
        "late": "null in 99 rows of the holdout and never in training",
        "basket_id": "identifier with 500 values, at most 200 can be categories",
    }
    assert [each.name for each in found.inputs] == ["store", "price", "promotion"]


def test_no_row_and_no_personal_category_is_kept(table: Callable[..., Path]) -> None:
    """Numbers have two digits, and rare categories are left out."""
    words = ["usual"] * ROWS
    words[::300] = ["rare"] * 4
    found = schema(table(shelf=words, customer_name=["Ann", "Bob"] * 600, client=["Cy", "Di"] * 600))
    kept = {each.name: each.categories for each in found.inputs if each.type == "category"}
    assert kept["shelf"] == ("usual",)
    assert kept["customer_name"] == kept["client"] == ()
    assert next((each.low, each.high) for each in found.inputs if each.name == "price") == (1.1, 9.8)


@pytest.mark.parametrize(
    ("added", "mentioned"),
    [
        (
            {"total": UNITS * 2.5 + 0.01},
            "column 'total' is almost a copy of the label (|r| = 1.0000): --leave-out total",
        ),
        ({"units_later": RANDOM.random(ROWS)}, "column 'units_later' is named like the label 'units'"),
    ],
)
def test_what_may_leak_is_asked_about(table: Callable[..., Path], added: Change, mentioned: str) -> None:
    """Only the user knows whether the column is known at the time of prediction; both options are accepted."""
    (name,) = added
    path = table(**added)
    with pytest.raises(TableError) as raised:
        schema(path)
    assert raised.value.questions == (name,)
    assert mentioned in str(raised.value)
    assert name in {each.name for each in schema(path, known=[name]).inputs}
    assert name not in {each.name for each in schema(path, without=[name]).inputs}


def test_a_category_that_gives_the_class_away_is_asked_about(table: Callable[..., Path]) -> None:
    """Each value has one label."""
    kinds = [("low", "l"), ("mid", "m"), ("top", "t")]
    picked = [kinds[number] for number in RANDOM.integers(0, 3, ROWS)]
    path = table(shelf=[one for one, _ in picked], mark=[two for _, two in picked])
    assert "column 'mark' determines the label (each value has one label)" in problems(path, label="shelf")
    found = schema(path, label="shelf", without=["mark"])
    assert (found.label_kind, found.metric, found.classes) == ("classes", "macro_log_loss", ("low", "mid", "top"))
    assert found.baselines == ("naive_usual_by_store",)


def test_labels_have_kinds(table: Callable[..., Path]) -> None:
    """Two values are a probability; numbers that sum to about 0 have no relative error."""
    won = schema(table(won=RANDOM.random(ROWS) < 0.3), label="won", without=["units"])
    assert (won.label_kind, won.metric, won.baselines) == ("chance", "log_loss", ("naive_mean_by_store",))
    assert schema(table(units=RANDOM.normal(0, 1, ROWS))).metric == "mae"
    assert "has the two values 'no' and 'yes': write 1 for the value" in problems(table(units=["no", "yes"] * 600))
    assert "has one value in all 1200 rows" in problems(table(units=[1] * ROWS))
    assert "has more than 100 different texts" in problems(table(units=[f"t{number % 300}" for number in range(ROWS)]))


def test_a_class_that_the_holdout_lacks_is_named(table: Callable[..., Path]) -> None:
    """The message contains the time of the split; this includes probabilities."""
    names = ["low", "mid"] * 600
    names[3] = "top"
    found = problems(table(units=names))
    assert "label 'units': 'top' has no rows in the holdout; the holdout begins 2025-02-25 00:00:00" in found
    assert "has one value in the holdout" in problems(
        table(units=[number < 900 and number % 2 == 0 for number in range(ROWS)])
    )


def test_times_decide_the_cut(table: Callable[..., Path]) -> None:
    """Rows of one time are never split; two times require an explicit split, one is rejected."""
    two = [BEGIN + timedelta(days=number // 900) for number in range(ROWS)]
    assert "'day' has 2 times, fewer than three" in problems(table(day=two))
    assert "give --holdout-from" in problems(table(day=two))
    assert schema(table(day=two), holdout_from="2025-01-07").holdout_rows == 300
    assert "must be after 2025-01-06 00:00:00 and not after 2025-01-07" in problems(
        table(day=two), holdout_from="2024-01-01"
    )
    assert "must be an ISO 8601 time or date, got 'May'" in problems(table(day=two), holdout_from="May")
    assert "'day' has 1 time, fewer than three" in problems(table(day=[BEGIN] * ROWS))
    text = [str(time) for time in columns()["day"]]
    assert schema(table(day=text)).holdout_rows == 200


def test_a_key_must_repeat(table: Callable[..., Path]) -> None:
    """An identifier has no history; a key with many values only defines blocks."""
    assert "--key 'order' is an identifier: 1000 values in 1000 rows" in problems(
        table(order=[f"o{number}" for number in range(ROWS)]), key="order"
    )
    shop = [number // 6 for number in RANDOM.permutation(ROWS)]
    found = schema(table(shop=shop), key="shop")
    assert found.block == "shop"
    assert "shop" not in {each.name for each in found.inputs}
    assert found.key_kind == "integer"


def test_blocks_are_weeks_where_there_is_no_key(table: Callable[..., Path]) -> None:
    """At least twelve weeks are required for a gate."""
    assert "no gate is possible: the holdout has 2 weeks, and needs 12" in problems(table(), key=None)
    weekly = [BEGIN + timedelta(weeks=number // 15) for number in range(ROWS)]
    found = schema(table(day=weekly), key=None)
    assert (found.block, found.cluster, found.baselines) == ("block_week", "cluster_day", ("naive_median",))
    stores = [None if number % 50 == 0 else f"s{number % 20}" for number in range(ROWS)]
    assert "20 values of 'store', null in 4 rows, which must be filled, and needs 12" in problems(table(store=stores))


@pytest.mark.parametrize(
    ("stores", "cluster"),
    [
        (lambda _, n: n % 20, "cluster_day"),
        (lambda day, n: (day * 20 + n) // 4 * 7 % 300, "cluster_day"),
        (lambda day, n: (day + n % 6) // 6 * 6 + n % 6, "store"),
    ],
    ids=["there every day", "baskets of a day", "there for six days"],
)
def test_a_key_that_stays_for_days_is_the_cluster(
    stores: Callable[[int, int], int], cluster: str, table: Callable[..., Path]
) -> None:
    """Otherwise days vary independently, also for a key that is not an input of the model."""
    values = [f"s{stores(number // 20, number % 20)}" for number in range(ROWS)]
    for more in ({}, {"without": ["store"]}):
        found = schema(table(store=values), **more)
        assert (found.block, found.cluster) == ("store", cluster)
        assert any("set WINDOW in monitoring.py to a week" in line for line in schema_lines(found)) == (
            cluster == "store"
        )


def test_a_few_days_are_no_clusters(table: Callable[..., Path]) -> None:
    """Their design effect could not be estimated."""
    thirteen = [BEGIN + timedelta(days=number // 100) for number in range(ROWS)]
    assert schema(table(day=thirteen)).cluster == "store"


def test_every_wrong_answer_is_named_at_once(table: Callable[..., Path]) -> None:
    """They are checked before any rows are counted."""
    found = problems(table(naive_guess=[1] * ROWS), label="unit", time=None, key="price", known=["x"], without=["y"])
    for part in (
        "--time is required: without the time of prediction",
        "--label must be a column of the file, got 'unit'; it has store, day",
        "--known must be a column of the file, got 'x'",
        "--leave-out must be a column of the file, got 'y'",
        "column names must not begin with 'naive_'",
        "--key must have text or integers, got DOUBLE in 'price'",
    ):
        assert part in found
    days = [True] * ROWS
    assert "must have times, dates or integers that count them, got BOOLEAN in 'day'" in problems(table(day=days))
    found = problems(table(), time="price", key=None)
    assert f"--time: {ROWS} of {ROWS} values of 'price' are not valid times, such as '1." in found
    many = ["1.5"] * (ROWS - 3) + ["cheap"] * 3
    found = problems(table(units=[f"{text}{place}" for place, text in enumerate(many)]))
    assert f"coarser classes; {ROWS - 3} of {ROWS} are numbers, others are such as 'cheap1" in found


def test_rows_that_cannot_be_used_are_counted(table: Callable[..., Path]) -> None:
    """A few unreadable times are left out and reported; more are rejected."""
    days = [f"{BEGIN + timedelta(days=number // 15)}" for number in range(ROWS)]
    found = schema(table(day=["soon", *days[1:]]))
    assert (found.rows, found.dropped) == (ROWS - 1, 1)
    assert "left out 1 rows without label or time" in list(schema_lines(found))
    text = problems(table(day=["soon"] * 20 + days[20:]))
    assert f"--time: 20 of {ROWS} values of 'day' are not valid times, such as 'soon'; write ISO 8601" in text
    assert "must be different columns, got units, units, store" in problems(table(), time="units")


def test_a_model_needs_an_input_beside_the_key(table: Callable[..., Path]) -> None:
    """The message lists the excluded columns with the reasons."""
    found = problems(table(), without=["promotion", "price"])
    assert "no column is left as an input beside the key 'store'; left out are none" in found


def test_a_small_table_is_refused(table: Callable[..., Path], tmp_path: Path) -> None:
    """Only rows with label and time count."""
    units = [float(number) if number < 50 else None for number in range(ROWS)]
    assert "at least 100 rows must have the label 'units' and the time 'day', got 50 of 1200" in problems(
        table(units=units)
    )
    pq.write_table(pa.table(columns()).slice(0, 0), tmp_path / "none.parquet")
    assert "got 0 of 0" in problems(tmp_path / "none.parquet")


def test_an_option_that_is_told_is_one_word_of_a_shell(table: Callable[..., Path]) -> None:
    """This holds for every column name."""
    with pytest.raises(
        TableError, match=r"--leave-out 'units; rm -r x' excludes it, --known 'units; rm -r x' keeps it"
    ):
        schema(table(**{"units; rm -r x": [1.0, 2.0] * 600}))
