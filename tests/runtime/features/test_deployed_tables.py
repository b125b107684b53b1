"""Self-describing tables of a Glue database on the embedded cloud, as the command and the console read them."""

import gzip
import json
from collections.abc import Iterator

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.features.deployed_tables import DeployedTables
from mlops_runtime.features.table_description import FeatureTableError

DATABASE, BUCKET = "described_features", "described-data"
METADATA = {
    "table-uuid": "1",
    "current-schema-id": 0,
    "schemas": [{"schema-id": 0, "fields": [{"name": "on_hand", "doc": "units on hand"}]}],
    "properties": {
        "mlops.group": "stock",
        "mlops.version": "1",
        "mlops.entities": "store_id",
        "mlops.description": "what shelves hold",
    },
}


class Catalog:
    """A database; tables are added by the content of their metadata files."""

    def __init__(self, cloud: Cloud) -> None:
        self.glue, self.s3 = cloud.client("glue"), cloud.client("s3")
        self.tables = DeployedTables(DATABASE, glue=self.glue, s3=self.s3)

    def add(self, name: str, content: bytes | None, *, ends: str = "metadata.json") -> str:
        """Add a table; without content its metadata file is missing."""
        key = f"{DATABASE}/{name}/metadata/00000.{ends}"
        if content is not None:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        location = f"s3://{BUCKET}/{key}"
        parameters = {"table_type": "ICEBERG", "metadata_location": location}
        self.glue.create_table(DatabaseName=DATABASE, TableInput={"Name": name, "Parameters": parameters})
        return location


@pytest.fixture
def catalog(cloud: Cloud) -> Iterator[Catalog]:
    """Return an empty database, which is deleted afterwards with its tables."""
    made = Catalog(cloud)
    made.s3.create_bucket(Bucket=BUCKET)
    made.glue.create_database(DatabaseInput={"Name": DATABASE})
    try:
        yield made
    finally:
        for table in made.glue.get_tables(DatabaseName=DATABASE)["TableList"]:
            made.glue.delete_table(DatabaseName=DATABASE, Name=table["Name"])
        made.glue.delete_database(Name=DATABASE)
        for item in made.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            made.s3.delete_object(Bucket=BUCKET, Key=item["Key"])
        made.s3.delete_bucket(Bucket=BUCKET)


def test_tables_describe_themselves(catalog: Catalog) -> None:
    """Tables are sorted, compressed metadata is read, and tables of other formats are ignored."""
    content = json.dumps(METADATA).encode()
    catalog.add("stock_v1", content)
    catalog.add("price_v1", gzip.compress(content), ends="gz.metadata.json")
    catalog.glue.create_table(DatabaseName=DATABASE, TableInput={"Name": "mlops_rows_1"})

    found = catalog.tables.all()

    assert [(each.name, each.description) for each in found.tables] == [
        ("price_v1", "what shelves hold"),
        ("stock_v1", "what shelves hold"),
    ]
    assert found.problems == ()
    assert catalog.tables.describe("stock_v1") == found.tables[1]


def test_a_table_that_cannot_be_read_is_named(catalog: Catalog) -> None:
    """The other tables are described; a request for the unreadable one fails with the same message."""
    catalog.add("good_v1", json.dumps(METADATA).encode())
    damaged = {name: catalog.add(name, text) for name, text in (("cut_v1", b'{"table'), ("other_v1", b"{}"))}
    catalog.add("absent_v1", None)

    found = catalog.tables.all()

    assert [each.name for each in found.tables] == ["good_v1"]
    absent, cut, other = found.problems
    assert absent.startswith("table absent_v1 cannot be read: AWS refused GetObject (NoSuchKey)")
    assert cut.startswith(f"file {damaged['cut_v1']} of table cut_v1 cannot be read: JSONDecodeError: ")
    assert other.startswith(
        f"file {damaged['other_v1']} of table other_v1 cannot be read: KeyError: 'schemas'; restore"
    )
    with pytest.raises(FeatureTableError, match=r"^table absent_v1 cannot be read: "):
        catalog.tables.describe("absent_v1")


@pytest.mark.parametrize("name", ["none_v1", "rows"])
def test_fails_without_such_a_table(catalog: Catalog, name: str) -> None:
    """Also for a table of another format."""
    catalog.glue.create_table(DatabaseName=DATABASE, TableInput={"Name": "rows"})

    with pytest.raises(FeatureTableError, match=f"database {DATABASE} has no table {name}; deploy the feature store"):
        catalog.tables.describe(name)
