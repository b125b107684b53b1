"""Competing writers wait and all commit."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.manifest import write_manifest

from mlops_runtime.features.table_commits import Retries, TableBusyError, committed
from mlops_runtime.features.table_description import FeatureTableError


def overtaken(table):
    """Fail the commit as if another writer came first."""
    raise CommitFailedException("overtaken")


def test_pauses_double_up_to_the_longest_and_only_a_part_is_waited(filled):
    """The random part is drawn for each pause."""
    pauses, parts = [], iter([0.5, 1.0, 0.0, 1.0, 1.0])
    retries = Retries(tries=6, sleep=pauses.append, part=lambda: next(parts), first_pause=0.5)

    with pytest.raises(TableBusyError):
        committed(filled.client.table("stock_v1"), overtaken, retries=retries)

    assert pauses == [0.25, 1.0, 0.0, 2.0, 2.0]


def test_a_busy_table_is_named_with_what_was_tried(filled):
    """The error is that of the table and has the limits."""
    retries = Retries(tries=3, sleep=[].append)

    with pytest.raises(FeatureTableError, match=r"stock_v1 is busy: 3 tries in 0 s .*allowed are 3 tries and 60 s"):
        committed(filled.client.table("stock_v1"), overtaken, retries=retries)


def test_no_try_begins_after_the_last_second(filled):
    """However many attempts remain."""
    times = iter([0.0, 40.0, 61.0])
    retries = Retries(sleep=[].append, clock=lambda: next(times))

    with pytest.raises(TableBusyError, match="2 tries in 61 s"):
        committed(filled.client.table("stock_v1"), overtaken, retries=retries)


def test_a_state_that_was_replaced_while_it_was_read_is_read_again(filled):
    """Later commits remove earlier metadata files."""
    table, original, failures = filled.client.table("stock_v1"), filled.client.table("stock_v1").refresh, [1]

    def refresh():
        if failures.pop():
            failures.append(0)
            raise FileNotFoundError("00000.metadata.json")
        return original()

    table.refresh = refresh

    assert committed(table, lambda fresh: fresh.name()[-1], retries=Retries(sleep=[].append)) == "stock_v1"


def test_a_snapshot_that_another_commit_removed_is_looked_for_again(shop):
    """Two erasures expire the same history; pyiceberg raises a ValueError, any other of which is passed on."""
    for number in range(3):
        shop.client.ingest(shop.STOCK, shop.stock((number, number, number)))
    table, other = (shop.client.table("stock_v1") for _ in range(2))
    first = table.metadata.snapshots[0].snapshot_id
    tries = []

    def expire(fresh):
        tries.append(fresh.metadata.snapshot_by_id(first) is None)
        if tries == [False]:
            other.maintenance.expire_snapshots().by_ids([first]).commit()
        if not tries[-1]:
            fresh.maintenance.expire_snapshots().by_ids([first]).commit()

    committed(table, expire, retries=Retries(sleep=[].append))
    assert tries == [False, True]
    with pytest.raises(ValueError, match="another"):
        committed(table, lambda _: (_ for _ in ()).throw(ValueError("another")))


def test_files_that_went_with_the_state_are_not_looked_for_again(shop):
    """After another commit a missing file is read again from the new state; with an unchanged state it is an error."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 1, 1)))
    table, tries = shop.client.table("stock_v1"), []

    def read(fresh):
        tries.append(fresh.last_sequence_number)
        if len(tries) == 1:
            shop.new_client().ingest(shop.STOCK, shop.stock((2, 2, 2)))
            raise FileNotFoundError("snap.avro")
        if len(tries) == 3:
            raise FileNotFoundError("data.parquet")

    committed(table, read, retries=Retries(sleep=[].append))
    assert tries == [1, 2]
    with pytest.raises(FileNotFoundError, match=r"data\.parquet"):
        committed(table, read, retries=Retries(sleep=[].append))


def _overtaken_once(shop, fail):
    """Make a commit fail once because another writer came first; return the sequence numbers of the attempts."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 1, 1)))
    table, tries = shop.client.table("stock_v1"), []

    def attempt(fresh):
        tries.append(fresh.last_sequence_number)
        if len(tries) == 1:
            shop.new_client().ingest(shop.STOCK, shop.stock((2, 2, 2)))
            fail(fresh)

    committed(table, attempt, retries=Retries(sleep=[].append))
    return tries


def test_a_manifest_that_went_while_manifests_were_merged_is_looked_for_again(shop):
    """Pyiceberg's writer replaces the missing-file error by its own."""

    def merge(fresh):
        output = fresh.io.new_output(f"{fresh.location()}/metadata/merged.avro")
        with write_manifest(2, fresh.spec(), fresh.schema(), output, 1, "deflate"):
            raise FileNotFoundError("m0.avro")

    assert _overtaken_once(shop, merge) == [1, 2]


def test_a_snapshot_that_a_commit_builds_on_and_that_went_is_looked_for_again(shop):
    """Another commit has expired it."""

    def build(_):
        raise ValidationException("Cannot find starting snapshot 3638895103562449187")

    assert _overtaken_once(shop, build) == [1, 2]


def test_a_state_that_is_replaced_at_each_reading_is_overtaken(shop):
    """With many writers the read is retried later, and not reported as a missing file."""
    shop.client.ingest(shop.STOCK, shop.stock((1, 1, 1)))
    table, tries = shop.client.table("stock_v1"), []
    read = table.refresh

    def replaced():
        raise FileNotFoundError("00011.metadata.json")

    def attempt(_):
        tries.append(1)
        table.refresh = replaced if len(tries) == 1 else read
        if len(tries) == 1:
            raise FileNotFoundError("m0.avro")

    def pause(_):
        table.refresh = read

    committed(table, attempt, retries=Retries(sleep=pause))
    assert len(tries) == 2


def test_twelve_writers_at_once_land_all(shop):
    """No batch is lost or doubled."""
    shop.client.ingest(shop.STOCK, shop.stock((0, 0, 0)))
    barrier = Barrier(12)

    def write(writer: int) -> None:
        client = shop.new_client()
        barrier.wait()
        client.ingest(shop.STOCK, shop.stock((1, writer, 2)), idempotency_key=f"of {writer}")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(write, range(12)))

    rows = shop.client.table("stock_v1").scan().to_arrow()
    assert rows.num_rows == 13
    assert len(set(rows["ingest_id"].to_pylist())) == 13
