"""Files below a table: which of them its state names."""

from pathlib import Path

from mlops_runtime.features.iceberg_tables import same_entity
from mlops_runtime.features.table_files import listed, matching_ids, named, suffixed, unnamed


def test_every_file_of_a_table_is_named_until_one_is_not(filled):
    """A file of a writer that was killed is the one that no snapshot names."""
    table = filled.client.table("stock_v1")
    assert unnamed(table, listed(table)) == []
    assert {file.uri for file in listed(table)} <= named(table)

    loose = Path(table.location().removeprefix("file://")) / "data" / "loose.parquet"
    loose.write_bytes(b"PAR1")

    (found,) = unnamed(table, listed(table))
    assert found.uri == loose.as_uri()
    assert suffixed([found], [".parquet"]) == [found]
    assert suffixed([found], [".avro"]) == []


def test_rows_of_an_entity_are_found_by_the_ids_of_their_ingests(filled):
    """None where there are none, and unknown where the file cannot be read."""
    table = filled.client.table("stock_v1")
    (file,) = suffixed(listed(table), [".parquet"])
    (entry,) = set(table.scan().to_arrow()["ingest_id"].to_pylist())

    assert matching_ids(table, file.uri, same_entity({"store_id": "1"})) == [entry]
    assert matching_ids(table, file.uri, same_entity({"store_id": "2"})) == []
    Path(file.uri.removeprefix("file://")).write_bytes(b"PAR1")
    assert matching_ids(table, file.uri, same_entity({"store_id": "1"})) is None
