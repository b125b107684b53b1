"""Batches and their keys: commit order, backfills and corrections."""

import math
from dataclasses import replace

import pyarrow as pa
import pytest

from mlops_runtime.features import batch_ingest
from mlops_runtime.features.batch_checks import BatchError
from mlops_runtime.features.batch_ingest import KeyReusedError
from mlops_runtime.features.feature_group import Feature


def rows(shop) -> list[tuple[int, int | None]]:
    """Return event day and stock of each row in ingest order."""
    table = (
        shop.new_client()
        .table("stock_v1")
        .scan()
        .to_arrow()
        .sort_by([("ingest_id", "ascending"), ("event_time", "ascending")])
    )
    return [
        ((t - shop.day(0)).days, v)
        for t, v in zip(table["event_time"].to_pylist(), table["on_hand"].to_pylist(), strict=True)
    ]


def test_a_key_with_other_content_is_refused(shop):
    """The first batch is unchanged; the same rows in another order are the same content."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1), (2, 6, 2)), idempotency_key="k")

    assert shop.client.ingest(shop.STOCK, shop.stock((2, 6, 2), (1, 5, 1)), idempotency_key="k").duplicate
    with pytest.raises(
        KeyReusedError, match=r"idempotency key 'k' of stock_v1 was used at 2017-01-21.* for content h3:.*give each"
    ):
        shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1), (2, 7, 2)), idempotency_key="k")
    assert rows(shop) == [(1, 5), (2, 6)]


def test_the_batch_committed_later_counts(shop, monkeypatch):
    """Of two writers with the same row and created time, the one that committed later counts."""
    shop.client.ingest(shop.STOCK, shop.stock((0, 1, 0)))
    original, others = batch_ingest.data_files, []

    def data_files(*args, **kwargs):
        if not others:
            others.append(None)
            shop.new_client().ingest(shop.STOCK, shop.stock((5, 50, 6)), idempotency_key="faster")
        return original(*args, **kwargs)

    monkeypatch.setattr(batch_ingest, "data_files", data_files)
    shop.client.ingest(shop.STOCK, shop.stock((5, 51, 6)), idempotency_key="slower")

    assert rows(shop) == [(0, 1), (5, 50), (5, 51)]
    built = shop.client.training_set(shop.asked((6, "1")), [shop.STOCK], name="tie")
    assert built.rows["stock__on_hand"].to_pylist() == [51]


def test_rows_repeated_in_a_batch_are_one(shop):
    """Equal rows are merged; the result has the number of duplicates."""
    done = shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1), (1, 5, 1), (2, 6, 2)))

    assert (done.rows, done.repeated) == (2, 1)
    with pytest.raises(BatchError):
        shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1), (1, 6, 1)))


def test_rows_lie_sorted_by_entity_and_event(shop):
    """Rows follow the table's sort order."""
    batch = pa.concat_tables(
        [shop.stock((9, 1, 9), (2, 2, 2)), shop.stock((5, 3, 5)).set_column(0, "store_id", [["0"]])]
    )
    shop.client.ingest(shop.STOCK, batch)

    found = shop.client.table("stock_v1").scan().to_arrow()

    assert found["on_hand"].to_pylist() == [3, 2, 1]


def test_a_backfill_says_when_its_rows_were_known(shop):
    """Requires created_time, so that earlier times see the values known then."""
    with pytest.raises(BatchError, match="backfill of stock_v1: column 'created_time' is missing"):
        shop.client.backfill(shop.STOCK, shop.stock((1, 5, 1)).drop_columns(["created_time"]))

    done = shop.client.backfill(shop.STOCK, shop.stock((1, 5, 1.5)))

    assert done.rows == 1
    built = shop.client.training_set(shop.asked((1.4, "1"), (1.5, "1")), [shop.STOCK], name="past")
    assert built.rows["stock__on_hand"].to_pylist() == [None, 5]


def test_a_correction_restates_what_is_there(shop):
    """Reads as of earlier times still return the old value."""
    shop.client.ingest(shop.STOCK, shop.stock((19, 5, 19), (18, 4, 18)))
    fixed = shop.stock((19, 6, 19)).drop_columns(["created_time"])

    shop.client.correct(shop.STOCK, fixed)
    shop.set_day(21)

    built = shop.client.training_set(shop.asked((19.5, "1"), (20.5, "1")), [shop.STOCK], name="corrected")
    assert built.rows["stock__on_hand"].to_pylist() == [5, 6]


def test_fails_to_correct_what_is_not_there(shop):
    """Writes nothing, also for an empty table."""
    unknown = shop.stock((7, 6, 7)).drop_columns(["created_time"])
    with pytest.raises(
        BatchError, match=r"correction of stock_v1: 1 rows restate nothing, the first is {'store_id': '1'"
    ):
        shop.client.correct(shop.STOCK, unknown)
    shop.client.ingest(shop.STOCK, shop.stock((8, 5, 8)))
    with pytest.raises(BatchError, match="1 rows restate nothing"):
        shop.client.correct(
            shop.STOCK, pa.concat_tables([unknown, shop.stock((8, 9, 8)).drop_columns(["created_time"])])
        )
    assert rows(shop) == [(8, 5)]


@pytest.mark.parametrize("key", ["", 5])
def test_a_key_that_is_no_text_is_refused(shop, key):
    """Rejects it, since every batch would share the empty key."""
    with pytest.raises(BatchError, match=f"idempotency key must be a non-empty string, got {key!r}; omit it"):
        shop.client.ingest(shop.STOCK, shop.stock((1, 5, 1)), idempotency_key=key)


def test_a_bad_batch_makes_no_table(shop):
    """Neither creates nor changes a table."""
    with pytest.raises(BatchError):
        shop.client.ingest(shop.STOCK, shop.stock((30, 5, 1)))
    assert shop.client.table_names() == ()


def stamped(shop, *rows) -> pa.Table:
    """Return stock without created_time, which the store's clock fills in."""
    return shop.stock(*((event, value, event) for event, value in rows)).drop_columns("created_time")


def test_a_correction_back_to_what_was_said_before_is_written_once(shop):
    """Each return to an earlier value is written once, at one clock time or several."""
    shop.client.ingest(shop.STOCK, stamped(shop, (1, 5), (2, 7)))
    for number, value in enumerate((6, 5, 6, 5)):
        shop.set_day(21 + number // 2)
        first = shop.client.correct(shop.STOCK, stamped(shop, (1, value)))
        again = shop.new_client().correct(shop.STOCK, stamped(shop, (1, value)))
        shop.set_day(22 + number // 2)
        later = shop.client.correct(shop.STOCK, stamped(shop, (1, value)))

        assert (first.rows, first.duplicate, again.rows, again.duplicate) == (1, False, 0, True)
        assert again.snapshot_id == later.snapshot_id == first.snapshot_id
    assert rows(shop) == [(1, 5), (2, 7), (1, 6), (1, 5), (1, 6), (1, 5)]


def test_a_correction_that_says_what_is_there_writes_nothing(shop):
    """The rows may come from several batches; null and NaN differ, and one changed row is enough to write."""
    sales = shop.sales((1, math.nan, 2), (2, None, 3), (3, 4.0, 4)).drop_columns("created_time")
    shop.client.ingest(shop.SALES, sales.slice(0, 1))
    last = shop.client.ingest(shop.SALES, sales.slice(1))

    same = shop.client.correct(shop.SALES, sales)
    other = sales.set_column(sales.column_names.index("units"), "units", pa.array([math.nan, math.nan, 4.0]))

    assert (same.rows, same.duplicate, same.snapshot_id) == (0, True, last.snapshot_id)
    assert shop.client.correct(shop.SALES, other).rows == 3
    assert shop.client.correct(shop.SALES, other).duplicate


def test_a_correction_that_says_when_it_was_known_restates_what_was_known_then(shop):
    """The same value known earlier is new; later corrections do not matter."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 5, 9)))

    done = [
        shop.client.correct(shop.STOCK, shop.stock((1, value, created))).duplicate
        for value, created in ((5, 9), (5, 4), (5, 4), (6, 9), (6, 9), (5, 9), (5, 9), (5, 4))
    ]

    assert done == [True, False, True, False, True, False, True, True]
    assert rows(shop) == [(1, 5), (1, 5), (1, 6), (1, 5)]


def test_a_correction_with_a_key_is_known_by_its_key(shop):
    """A repeated key is a duplicate, as for an ingest, whatever was written since."""
    shop.client.ingest(shop.STOCK, stamped(shop, (1, 5)))
    keys = ["six", "five", "six"]
    done = [
        shop.client.correct(shop.STOCK, stamped(shop, (1, {"six": 6, "five": 5}[key])), idempotency_key=key).duplicate
        for key in keys
    ]

    assert done == [False, False, True]
    with pytest.raises(KeyReusedError, match="idempotency key 'six'"):
        shop.client.correct(shop.STOCK, stamped(shop, (1, 7)), idempotency_key="six")


def test_a_correction_of_which_nobody_was_told_is_told_when_it_comes_again(shop):
    """If the process died between commit and event, the repeated correction sends the same event."""
    shop.client.ingest(shop.STOCK, stamped(shop, (1, 5)))
    reported = []
    client = shop.new_client(
        announce=lambda event: reported.append(event) if len(reported) else reported.append(event) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        client.correct(shop.STOCK, stamped(shop, (1, 6)))

    assert client.correct(shop.STOCK, stamped(shop, (1, 6))).duplicate
    assert reported[0] == reported[1]


def test_a_correction_is_known_when_its_snapshot_is_gone(shop):
    """The suffix of the rows' ingest ids identifies it, so that the same event is sent."""
    reported = []
    client = shop.new_client(announce=reported.append)
    client.ingest(shop.STOCK, stamped(shop, (1, 5)))
    client.correct(shop.STOCK, stamped(shop, (1, 6)))
    for number in range(2, 30):
        shop.client.ingest(shop.STOCK, shop.stock((number / 2, number, 17)))

    again = client.correct(shop.STOCK, stamped(shop, (1, 6)))

    assert (again.rows, again.duplicate) == (0, True)
    assert reported[-1] == reported[1]


def test_a_feature_that_came_later_is_null_to_a_correction(shop):
    """Existing rows have null: a correction to null is a duplicate, a value is not."""
    shop.client.ingest(shop.STOCK, stamped(shop, (1, 5)))
    price = Feature("price", "double", "dollars", nullable=True)
    group = replace(shop.STOCK, features=(*shop.STOCK.features, price))
    nothing, known = (stamped(shop, (1, 5)).append_column("price", pa.array([v], pa.float64())) for v in (None, 1.5))

    with pytest.raises(BatchError, match="correction of stock_v1: 'price' missing; a correction restates whole rows"):
        shop.client.correct(group, stamped(shop, (1, 6)))

    assert shop.client.correct(group, nothing).duplicate
    assert not shop.client.correct(group, known).duplicate


@pytest.mark.parametrize("key", [None, "k"])
def test_a_batch_stays_the_same_when_a_nullable_feature_is_declared(shop, key):
    """Producers unaware of the feature may omit it or send null when they repeat the batch."""
    batch = stamped(shop, (1, 5), (2, 6))
    first = shop.client.ingest(shop.STOCK, batch, idempotency_key=key)
    price = Feature("price", "double", "dollars", nullable=True)
    group = replace(shop.STOCK, features=(*shop.STOCK.features, price))

    for again in (batch, batch.append_column("price", pa.nulls(2, pa.float64()))):
        assert shop.client.ingest(group, again, idempotency_key=key).snapshot_id == first.snapshot_id
    assert shop.client.ingest(group, stamped(shop, (3, 7))).rows == 1
    with pytest.raises(BatchError, match="column 'on_hand' is missing"):
        required = replace(group, features=(replace(group.features[0], nullable=False), price))
        shop.new_client(shop.path / "other").ingest(required, batch.drop_columns("on_hand"))


@pytest.mark.parametrize("group", ["stock", {"name": "stock"}, None])
@pytest.mark.parametrize("verb", ["ingest", "backfill", "correct", "latest"])
def test_fails_for_what_is_no_group(shop, verb, group):
    """Rejects it by name before any read."""
    with pytest.raises(BatchError, match=r"^a FeatureGroup is required, got .*; pass the declaration of the group"):
        getattr(shop.client, verb)(group, shop.stock((1, 5, 1)))
