"""Cached calls into pyiceberg return the same values as pyiceberg."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.avro import file
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table, Transaction
from tests import iceberg_calls

ROWS = pa.table({"store_id": ["1", "2"], "units": pa.array([1, None])})


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Return a table with two snapshots."""
    iceberg_calls.install()
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}")
    catalog.create_namespace("features")
    made = catalog.create_table("features.stock", ROWS.schema)
    made.append(ROWS)
    made.append(ROWS)
    return made


def _records(uri: str) -> list[Any]:
    with file.AvroFile(PyArrowFileIO().new_input(uri)) as records:
        return [records.schema, *(tuple(record[i] for i in range(len(record))) for record in records)]


def test_files_are_read_as_pyiceberg_reads_them(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifests and manifest lists, which have different schemas, are read repeatedly."""
    uris = [each.manifest_list for each in table.metadata.snapshots]
    uris += [each.manifest_path for each in table.current_snapshot().manifests(table.io)]
    quick = [[_records(uri) for uri in uris] for _ in range(2)]

    monkeypatch.setattr(file.AvroFileHeader, "get_schema", file.AvroFileHeader.get_schema.__wrapped__)
    monkeypatch.setattr(file, "resolve_reader", file.resolve_reader.__wrapped__)

    assert quick == [[_records(uri) for uri in uris]] * 2
    assert len({str(records[0]) for records in quick[0]}) == 2


def test_metadata_are_those_of_each_change(table: Table) -> None:
    """Metadata of a transaction before and after its updates, and after another writer's commit."""

    def both(of: Transaction) -> list[dict[str, Any]]:
        found = [of.table_metadata, of.table_metadata, Transaction.table_metadata.fget.__wrapped__(of)]
        return [each.model_dump(exclude={"last_updated_ms"}) for each in found]

    seen = []
    transaction = table.transaction()
    seen.append(both(transaction))
    transaction.set_properties(owner="demand")
    seen.append(both(transaction))
    transaction.append(ROWS)
    seen.append(both(transaction))
    transaction.commit_transaction()
    later = table.transaction()
    seen.append(both(later))
    table.catalog.load_table(table.name()).append(ROWS)
    table.refresh()
    seen.append(both(later))

    assert all(first == second == own for first, second, own in seen)
    assert [len(first["snapshots"]) for first, *_ in seen] == [2, 2, 3, 3, 4]
    assert [first["properties"].get("owner") for first, *_ in seen[:2]] == [None, "demand"]
