"""Compaction: few files for any number of batches, the same rows, and safe concurrency."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException
from tests.runtime.features.conftest import Kept, shop_at

from mlops_runtime.features import table_compaction
from mlops_runtime.features.ingest_ledger import KEPT
from mlops_runtime.features.rebuild import Verdict
from mlops_runtime.features.snapshot_tags import KEPT_TAGS
from mlops_runtime.features.table_compaction import FAN_IN, compact
from mlops_runtime.features.table_description import FeatureTableError
from mlops_runtime.features.table_files import listed, unnamed
from mlops_runtime.features.training_set_manifest import remove


def batch(shop, number, day=0) -> None:
    """Ingest a row with a numbered key."""
    row = shop.stock((day + number / 1000, number, 15))
    return shop.client.ingest(shop.STOCK, row, idempotency_key=f"batch {number}")


def files(table) -> list[int]:
    """Return the rows of each live file."""
    return sorted(task.file.record_count for task in table.scan().plan_files())


@pytest.fixture(scope="module")
def _many_once(tmp_path_factory):
    kept = Kept(tmp_path_factory.mktemp("many"))
    shop = shop_at(kept.store)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mlops_runtime.features.table_maintenance.is_due", lambda table: table is None)
        for number in range(20):
            batch(shop, number)
    kept.keep()
    return kept


@pytest.fixture
def many(_many_once):
    """Return a shop with 20 batches that were not compacted."""
    return _many_once.back()


def test_files_of_a_tier_become_one_with_the_same_rows_in_order(many):
    """Rows are sorted by key and event time with their ingest ids, and the summary has the newest event."""
    table = many.client.table("stock_v1")
    before = table.scan().to_arrow().sort_by("event_time")

    assert compact(table, remove) == 20

    after = many.client.table("stock_v1").scan().to_arrow()
    assert files(many.client.table("stock_v1")) == [20]
    assert after.cast(before.schema) == before
    newest = many.client.table("stock_v1").current_snapshot().summary.additional_properties["mlops.event-time-max"]
    assert newest == many.day(0.019).isoformat()
    assert compact(table, remove) == 0


def test_a_folder_compacts_itself(shop):
    """A hundred batches leave a few files, and every key is a duplicate."""
    for number in range(100):
        batch(shop, number)

    assert len(files(shop.client.table("stock_v1"))) <= 2 * FAN_IN
    assert sum(files(shop.client.table("stock_v1"))) == 100
    assert all(batch(shop, number).duplicate for number in range(0, 100, 7))


def test_sets_are_identical_through_expiry_and_compaction(shop):
    """For sets of any age, also without their tags."""
    built = []
    for number in range(60):
        batch(shop, number)
        if number % 6 == 0:
            built.append(shop.client.training_set(shop.asked((1, "1"), (0.01, "1")), [shop.STOCK], name=f"s{number}"))

    table = shop.client.table("stock_v1")
    assert any(table.snapshot_by_id(each.manifest.features[0].snapshot_id) is None for each in built)
    assert len(table.metadata.snapshots) <= KEPT_TAGS + 2 * KEPT + 2
    for each in built:
        again = shop.client.rebuild(each.id)
        assert (again.verdict, again.same_bytes) == (Verdict.IDENTICAL, True)


def test_a_month_becomes_one_file_when_the_next_begins(many):
    """For any tiers of its files; few late rows do not cause a rewrite."""
    compact(many.client.table("stock_v1"), remove)
    many.set_day(60)
    for number in (100, 101):
        batch(many, number)
    batch(many, 102, day=40)

    assert compact(many.client.table("stock_v1"), remove) == 0
    for number in (103, 104):
        batch(many, number)
    table = many.client.table("stock_v1")
    assert compact(table, remove) == 5
    assert files(table) == [1, 24]


def test_the_second_of_two_at_once_leaves_nothing(many, monkeypatch):
    """It finds its input files gone and removes its output."""
    table, original, others = many.client.table("stock_v1"), table_compaction._rows, []

    def overtaken(table, tasks):
        if not others:
            others.append(None)
            assert compact(many.new_client().table("stock_v1"), remove) == 20
        return original(table, tasks)

    monkeypatch.setattr(table_compaction, "_rows", overtaken)
    assert compact(table, remove) == 0
    table.refresh()
    assert files(table) == [20]
    assert [f for f in unnamed(table, listed(table)) if f.uri.endswith(".parquet")] == []


def test_an_erasure_that_comes_first_is_not_undone(many, monkeypatch):
    """Rows read before the erasure are in no file."""
    secret = many.stock((1, 1, 15)).set_column(0, "store_id", pa.array([["4711-of-the-canary"]]).flatten())
    many.client.ingest(many.STOCK, secret)
    table, original, others = many.client.table("stock_v1"), table_compaction._rows, []

    def overtaken(table, tasks):
        rows = original(table, tasks)
        if not others:
            others.append(None)
            many.new_client().erase({"store_id": "4711-of-the-canary"}, reason="t", in_use=())
        return rows

    monkeypatch.setattr(table_compaction, "_rows", overtaken)
    assert compact(table, remove) == 0
    assert "4711-of-the-canary" not in many.client.table("stock_v1").scan().to_arrow()["store_id"].to_pylist()
    assert [p for p in many.path.rglob("*") if p.is_file() and b"4711-of-the-canary" in p.read_bytes()] == []


def test_a_table_that_is_written_all_the_time_is_compacted_another_time(many, monkeypatch):
    """After one attempt it waits for the next run."""

    def refuse(transaction):
        raise CommitFailedException("overtaken")

    monkeypatch.setattr("pyiceberg.table.Transaction.commit_transaction", refuse)
    assert compact(many.client.table("stock_v1"), remove) == 0


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_file_that_is_missing_or_damaged_is_named(many, caplog, is_missing):
    """Maintenance raises an error; an ingest, which is committed, logs it."""
    place = many.client.table("stock_v1").scan().plan_files()
    path = Path(next(iter(place)).file.file_path.removeprefix("file://"))
    if is_missing:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    before = many.client.table("stock_v1").metadata_location

    with pytest.raises(FeatureTableError, match=f"data file .*{path.name} .*restore it"):
        many.client.maintain()
    assert many.client.table("stock_v1").metadata_location == before

    while not caplog.records:
        number = many.client.table("stock_v1").last_sequence_number
        assert number < 60
        many.client.ingest(many.STOCK, many.stock((5, number, 15)), idempotency_key=f"again {number}")
    assert "table stock_v1 is not compacted: data file" in caplog.text
