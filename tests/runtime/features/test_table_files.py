"""Files below a table, and those named by its state."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow.fs import S3FileSystem

from mlops_local.cloud import Cloud
from mlops_runtime.features.iceberg_tables import same_entity
from mlops_runtime.features.table_files import listed, matching_ids, missing_as_such, named, suffixed, unnamed


def test_every_file_of_a_table_is_named_until_one_is_not(filled):
    """Only a killed writer's file is in no snapshot."""
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
    """Returns none without such rows, and unknown for an unreadable file."""
    table = filled.client.table("stock_v1")
    (file,) = suffixed(listed(table), [".parquet"])
    (entry,) = set(table.scan().to_arrow()["ingest_id"].to_pylist())

    assert matching_ids(table, file.uri, same_entity({"store_id": "1"})) == [entry]
    assert matching_ids(table, file.uri, same_entity({"store_id": "2"})) == []
    Path(file.uri.removeprefix("file://")).write_bytes(b"PAR1")
    assert matching_ids(table, file.uri, same_entity({"store_id": "1"})) is None


@pytest.fixture(scope="module")
def on_s3(cloud: Cloud) -> Iterator[S3FileSystem]:
    """Return Arrow's S3 file system with a bucket."""
    cloud.client("s3").create_bucket(Bucket="table-files")
    given = cloud.environment()
    yield S3FileSystem(
        endpoint_override=given["AWS_ENDPOINT_URL"],
        region=given["AWS_REGION"],
        access_key=given["AWS_ACCESS_KEY_ID"],
        secret_key=given["AWS_SECRET_ACCESS_KEY"],
    )


@pytest.mark.parametrize("size", [100, 10_000])
def test_an_object_that_goes_after_it_was_opened_is_a_missing_file(
    cloud: Cloud, on_s3: S3FileSystem, size: int
) -> None:
    """Arrow reports it by other errors, depending on how S3's error response fits the expected content."""
    s3, of = cloud.client("s3"), {"Bucket": "table-files", "Key": "a.avro"}
    s3.put_object(**of, Body=b"1" * size)
    file = on_s3.open_input_file("table-files/a.avro")
    s3.delete_object(**of)

    with pytest.raises(OSError, match="AWS Error") as plain:
        file.read()
    assert not isinstance(plain.value, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="was deleted while it was read"), missing_as_such():
        file.read_at(size, 0)


def test_what_else_s3_refuses_stays_what_it_is(on_s3: S3FileSystem) -> None:
    """A bucket without an endpoint is not a missing file."""
    closed = S3FileSystem(endpoint_override="http://127.0.0.1:1", region="us-east-1", anonymous=True)
    with pytest.raises(OSError, match="AWS Error") as error, missing_as_such():
        closed.open_input_file("table-files/a.avro")
    assert not isinstance(error.value, FileNotFoundError)
