"""Leftovers of writers that began before an erasure, found by ingest ids instead of age."""

import pytest
from pyiceberg.table import Transaction
from tests.runtime.features.conftest import stock

from mlops_runtime.features.iceberg_tables import same_entity
from mlops_runtime.features.table_erasure import held, rewrite, sweep
from mlops_runtime.features.table_files import listed, unnamed
from mlops_runtime.features.training_set_manifest import remove

ENTITY = same_entity({"store_id": "9"})


def of_entity(*rows):
    """Return stock of the entity."""
    return stock(*rows).set_column(0, "store_id", [["9"] * len(rows)])


def killed(filled, monkeypatch):
    """Ingest rows of the entity by a writer that is killed before its commit."""
    with monkeypatch.context() as patched:
        patched.setattr(Transaction, "commit_transaction", lambda commit: commit._updates and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            filled.client.ingest(filled.STOCK, of_entity((8, 8, 8)))


def loose(filled):
    """Return the table's files that no snapshot names."""
    table = filled.client.table("stock_v1")
    return [file.uri for file in unnamed(table, listed(table)) if not file.uri.endswith(".json")]


def swept(filled, taken=(), *, is_written=False):
    """Sweep, and return the remaining files."""
    sweep(filled.client.table("stock_v1"), ENTITY, taken, remove, is_written=lambda: is_written)
    return loose(filled)


def test_a_writer_that_lost_to_the_rewrite_leaves_nothing(filled, monkeypatch):
    """Removes its rows and the manifest with their bounds, also if its file came after the rewrite's listing."""
    killed(filled, monkeypatch)
    assert len(loose(filled)) == 3
    filled.client.ingest(
        filled.STOCK, stock((9.5, 1, 9.5))
    )  # takes the sequence number that the killed writer expected

    assert [uri for uri in swept(filled) if "/snap-" not in uri] == []


def test_the_files_of_a_writer_that_may_still_commit_stay(filled, monkeypatch):
    """The commit delivers the rows again."""
    killed(filled, monkeypatch)
    assert len(swept(filled)) == 3


def test_a_file_that_cannot_be_read_goes_once_nobody_writes(filled):
    """Its writer was killed while writing it."""
    data = next((filled.path / "tables/features/stock_v1/data").rglob("*.parquet"))
    half = data.with_name("half.parquet")
    half.write_bytes(b"PAR1" + b"9")

    assert [uri.rpartition("/")[2] for uri in swept(filled, is_written=True)] == [half.name]
    assert swept(filled) == []


def test_what_held_the_rows_is_said_before_they_go_and_until_when(filled):
    """Sets between the two sequence numbers read the rows, whether their snapshots exist or not."""
    first = filled.client.table("stock_v1").last_sequence_number + 1
    filled.client.ingest(filled.STOCK, of_entity((9, 1, 9)))
    filled.client.ingest(filled.STOCK, stock((9.5, 1, 9.5)))
    table = filled.client.table("stock_v1")
    before = held(table, ENTITY)
    taken = rewrite(table, ENTITY, lambda: filled.day(20))

    assert (before.first, len(before.snapshots)) == (first, 2)
    assert taken.until == filled.client.table("stock_v1").last_sequence_number
    assert set(before.snapshots) <= set(taken.snapshots)
    assert held(table, same_entity({"store_id": "nobody"})).first is None
