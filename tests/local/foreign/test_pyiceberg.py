"""pyiceberg's own GlueCatalog works on tables made by CloudFormation."""

import pyarrow as pa
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType


@pytest.fixture
def catalog(foreign):
    """A catalog configured with the endpoint only."""
    url, root = foreign.cloud.endpoint_url, foreign.cloud.root_keys()
    keys = {"access-key-id": root["aws_access_key_id"], "secret-access-key": root["aws_secret_access_key"]}
    settings = {**keys, "endpoint": url, "region": "us-east-1"}
    return GlueCatalog(
        "foreign", **{f"{of}.{name}": value for of in ("s3", "glue") for name, value in settings.items()}
    )


def test_writes_tags_and_travels_in_a_declared_table(catalog):
    """Append, scan, tag, append again, and read the tagged state."""
    table = catalog.load_table("foreign_features.sales_v1")
    assert [(field.field_id, field.name) for field in table.schema().fields][:2] == [(1, "store"), (2, "event_time")]
    assert str(table.spec().fields[0].transform) == "day"
    moment = pa.scalar(1_500_000_000_000_000, pa.timestamp("us", tz="UTC"))
    schema = pa.schema([pa.field("store", pa.int64(), nullable=False),
                        pa.field("event_time", pa.timestamp("us", tz="UTC"), nullable=False)])  # fmt: skip
    rows = pa.table(
        {"store": pa.array([1, 2]), "event_time": pa.array([moment.as_py()] * 2, schema.field(1).type)}, schema=schema
    )
    table.append(rows)
    before = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(before, "first").commit()
    table.append(rows)
    again = catalog.load_table("foreign_features.sales_v1")
    assert again.scan().to_arrow().num_rows == 4
    tagged = again.snapshot_by_name("first").snapshot_id
    assert again.scan(snapshot_id=tagged).to_arrow().num_rows == 2


def test_makes_and_drops_a_table_of_its_own(catalog, foreign):
    """Tables outside CloudFormation work too."""
    schema = Schema(
        NestedField(1, "id", LongType(), required=False), NestedField(2, "name", StringType(), required=False)
    )
    location = f"s3://{foreign.outputs['BucketName']}/own"
    table = catalog.create_table("foreign_features.own", schema, location=location)
    table.append(pa.table({"id": pa.array([1], pa.int64()), "name": pa.array(["a"])}))
    assert catalog.load_table("foreign_features.own").scan().to_arrow().to_pylist() == [{"id": 1, "name": "a"}]
    catalog.drop_table("foreign_features.own")
    with pytest.raises(NoSuchTableError):
        catalog.load_table("foreign_features.own")
