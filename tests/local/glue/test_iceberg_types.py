"""Iceberg tables declared by CloudFormation, on a catalog of files."""

import copy

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.types import DoubleType, ListType, LongType, TimestamptzType

from mlops_local.glue import iceberg_types

FIELDS = [
    {"Id": 1, "Name": "store", "Type": "long", "Required": True},
    {"Id": 3, "Name": "event_time", "Type": "timestamptz", "Required": "true", "Doc": "when it happened"},
    {"Id": 4, "Name": "tags", "Type": '{"type": "list", "element-id": 5, "element": "string", "element-required": false}',
     "Required": False},
]  # fmt: skip


@pytest.fixture
def catalog(tmp_path):
    """An in-memory catalog with one namespace."""
    made = SqlCatalog("test", uri="sqlite:///:memory:", warehouse=f"file://{tmp_path}")
    made.create_namespace("features")
    return made


@pytest.fixture
def declared(tmp_path):
    """The properties of a table with a gap in its column ids."""
    return {
        "CatalogId": "000000000000", "DatabaseName": "features", "Name": "sales_v1",
        "OpenTableFormatInput": {"IcebergInput": {"MetadataOperation": "CREATE", "Version": "2", "IcebergTableInput": {
            "Location": f"file://{tmp_path}/sales_v1", "Schema": {"Type": "struct", "Fields": copy.deepcopy(FIELDS)},
            "PartitionSpec": {"Fields": [{"SourceId": 3, "FieldId": 1000, "Name": "event_day", "Transform": "day"}]},
            "WriteOrder": {"OrderId": 1, "Fields": [
                {"SourceId": 1, "Transform": "identity", "Direction": "asc", "NullOrder": "nulls-first"}]},
            "Properties": {"owner": "demand"},
        }}},
    }  # fmt: skip


def table_input(declared):
    """The table input in the properties."""
    return declared["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]


def test_creates_the_table_with_exactly_the_declared_ids(catalog, declared):
    """The gap stays, because data files are read by id."""
    assert iceberg_types.create(catalog, declared) == "sales_v1"
    table = catalog.load_table(("features", "sales_v1"))
    assert [(field.field_id, field.name, field.required) for field in table.schema().fields] == [
        (1, "store", True), (3, "event_time", True), (4, "tags", False)]  # fmt: skip
    assert table.schema().find_type("store") == LongType()
    assert table.schema().find_type("event_time") == TimestamptzType()
    assert isinstance(table.schema().find_type("tags"), ListType)
    assert table.schema().find_field("event_time").doc == "when it happened"
    assert [(part.field_id, part.source_id, str(part.transform)) for part in table.spec().fields] == [(1000, 3, "day")]
    assert table.sort_order().fields[0].source_id == 1
    assert (table.format_version, table.properties) == (2, {"owner": "demand"})
    assert table.metadata_location.startswith(table_input(declared)["Location"] + "/metadata/00000-")


def test_updates_columns_and_properties_in_place(catalog, declared):
    """A new column gets its declared id, and a dropped property is removed."""
    iceberg_types.create(catalog, declared)
    new = copy.deepcopy(declared)
    table_input(new)["Schema"]["Fields"].append({"Id": 6, "Name": "price", "Type": "double", "Required": False})
    table_input(new)["Properties"] = {"team": "pricing"}
    iceberg_types.update(catalog, declared, new)
    table = catalog.load_table(("features", "sales_v1"))
    assert table.schema().find_field("price").field_id == 6
    assert table.schema().find_type("price") == DoubleType()
    assert table.properties == {"team": "pricing"}
    assert table.metadata.last_column_id == 6


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            {"Id": 2, "Name": "old", "Type": "long", "Required": False},
            r"field 2 \(old\) reuses a retired id; the next free is 6",
        ),
        (
            {"Id": 9, "Name": "must", "Type": "long", "Required": True},
            r"field 9 \(must\) is new and cannot be required",
        ),
    ],
)
def test_fails_for_a_column_that_would_read_old_data_wrongly(catalog, declared, field, message):
    """Retired ids and required new columns are rejected by name."""
    iceberg_types.create(catalog, declared)
    new = copy.deepcopy(declared)
    table_input(new)["Schema"]["Fields"].append(field)
    with pytest.raises(ValueError, match=message):
        iceberg_types.update(catalog, declared, new)


def test_fails_for_a_narrowed_type_a_lost_partition_column_and_a_moved_table(catalog, declared):
    """Rejects changes that would make the table unreadable or that CloudFormation cannot make in place."""
    iceberg_types.create(catalog, declared)
    new = copy.deepcopy(declared)
    table_input(new)["Schema"]["Fields"] = [{"Id": 1, "Name": "store", "Type": "int", "Required": True}]
    with pytest.raises(ValueError, match=r"cannot turn from long to int; field 3 partitions the table and cannot go"):
        iceberg_types.update(catalog, declared, new)
    moved = copy.deepcopy(declared)
    table_input(moved)["Location"] += "_elsewhere"
    with pytest.raises(
        ValueError, match="Location of Iceberg table sales_v1 cannot change in place; declare a new table version"
    ):
        iceberg_types.update(catalog, declared, moved)


def test_fails_for_a_declaration_that_loses_its_metadata(catalog):
    """Rejects the shape without IcebergTableInput, together with all other problems."""
    wrong = {"Name": "t", "DatabaseName": "features", "TableInput": {"Name": "t"},
             "OpenTableFormatInput": {"IcebergInput": {"MetadataOperation": "CREATE", "Version": "3"}}}  # fmt: skip
    with pytest.raises(ValueError, match="exclude each other") as error:
        iceberg_types.create(catalog, wrong)
    for part in ("CatalogId is required", "Version must be 2", "IcebergTableInput is required"):
        assert part in str(error.value)
