"""Glue tables in the form that CloudFormation accepts."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_glue as glue
from aws_cdk.assertions import Template

from mlops_constructs import Entity, Feature, FeatureGroup, ValidationError
from mlops_constructs.feature_store.glue_tables import define_ruleset, define_table
from mlops_local.stacks import resource_types
from mlops_runtime.features.feature_group import WRITE_PROPERTIES
from mlops_runtime.features.glue_quality_rules import dqdl
from mlops_runtime.features.lock_file import FeatureLock

GROUP = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("week", "date", "week")),
    features=(Feature("on_hand", "long", "units on hand"), Feature("price", "double", "price in USD", nullable=True)),
    owner="demand",
    description="stock",
    ttl=timedelta(days=14),
)


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, Any]]:
    """Table and ruleset of a group, by type."""
    stack = cdk.Stack(cdk.App(), "S")
    database = glue.CfnDatabase(
        stack,
        "Database",
        catalog_id=stack.account,
        database_input=glue.CfnDatabase.DatabaseInputProperty(name="demand_features"),
    )
    locked = FeatureLock().extend([GROUP]).table(GROUP)
    location = "s3://bucket/demand_features/stock_v1"
    table = define_table(stack, "Table", group=GROUP, locked=locked, database=database, location=location)
    define_ruleset(stack, "Quality", group=GROUP, table=table, database_name="demand_features")
    found = Template.from_stack(stack).to_json()["Resources"].values()
    return {resource["Type"]: resource["Properties"] for resource in found}


@pytest.fixture(scope="module")
def table(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The table."""
    return resources["AWS::Glue::Table"]


@pytest.fixture(scope="module")
def ruleset(resources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The ruleset."""
    return resources["AWS::Glue::DataQualityRuleset"]


def test_only_the_iceberg_table_input_is_used(table: dict[str, Any]) -> None:
    """CloudFormation rejects an additional ``TableInput``; with it alone the first update breaks the table."""
    assert set(table) == {"CatalogId", "DatabaseName", "Name", "OpenTableFormatInput"}
    iceberg = table["OpenTableFormatInput"]["IcebergInput"]
    assert (iceberg["MetadataOperation"], iceberg["Version"]) == ("CREATE", "2")
    assert iceberg["IcebergTableInput"]["Location"] == "s3://bucket/demand_features/stock_v1"


def test_fields_have_the_ids_of_the_lock_file(table: dict[str, Any]) -> None:
    """Columns are entities, times and ingest id, then features; times have a zone."""
    schema = table["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["Schema"]

    assert [(f["Id"], f["Name"], f["Type"], f["Required"]) for f in schema["Fields"]] == [
        (1, "store_id", "string", True),
        (2, "week", "date", True),
        (3, "event_time", "timestamptz", True),
        (4, "created_time", "timestamptz", True),
        (5, "ingest_id", "string", True),
        (6, "on_hand", "long", True),
        (7, "price", "double", False),
    ]
    assert schema["IdentifierFieldIds"] == [1, 2, 3, 4, 5]
    assert schema["Type"] == "struct"
    assert schema["Fields"][5]["Doc"] == "units on hand"


def iceberg_input(group: FeatureGroup) -> dict[str, Any]:
    """Return a template's declaration of a group's Iceberg table."""
    stack = cdk.Stack(cdk.App(), "S")
    database = glue.CfnDatabase(
        stack,
        "Database",
        catalog_id=stack.account,
        database_input=glue.CfnDatabase.DatabaseInputProperty(name="demand_features"),
    )
    locked = FeatureLock().extend([group]).table(group)
    define_table(stack, "Table", group=group, locked=locked, database=database, location="s3://bucket/d/stock_v1")

    (found,) = Template.from_stack(stack).find_resources("AWS::Glue::Table").values()
    declared: dict[str, Any] = found["Properties"]["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]
    return declared


def test_lists_are_json_and_decimals_text() -> None:
    """Types follow Iceberg's specification; list elements have ids, and table properties the lengths of vectors."""
    features = (
        Feature("price", "decimal(9,2)", "x", nullable=True),
        Feature("tags", "list<string>", "x", nullable=True),
        Feature("embedding", "vector(64)", "x", nullable=True),
    )
    declared = iceberg_input(replace(GROUP, features=features))
    price, tags, embedding = (field["Type"] for field in declared["Schema"]["Fields"][5:])
    assert price == "decimal(9,2)"
    assert json.loads(tags) == {"type": "list", "element-id": 9, "element": "string", "element-required": False}
    assert json.loads(embedding) == {"type": "list", "element-id": 10, "element": "float", "element-required": False}
    assert declared["Properties"]["mlops.vector.embedding"] == "64"


def test_rows_are_partitioned_by_month_of_event_time(table: dict[str, Any]) -> None:
    """Partition field ids start at 1000 and are never reused."""
    spec = table["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["PartitionSpec"]

    assert spec["Fields"] == [{"FieldId": 1000, "SourceId": 3, "Name": "event_time_month", "Transform": "month"}]


def test_a_group_may_ask_for_days() -> None:
    """The lock file stores the partitioning, so later declarations cannot change it."""
    spec = iceberg_input(replace(GROUP, partition="day"))["PartitionSpec"]
    assert spec["Fields"] == [{"FieldId": 1000, "SourceId": 3, "Name": "event_time_day", "Transform": "day"}]


def test_files_are_sorted_by_entities_and_event_time(table: dict[str, Any]) -> None:
    """Uses ids of the lock file; order 0 is Iceberg's unsorted order.

    See: https://iceberg.apache.org/spec/#sorting
    """
    order = table["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["WriteOrder"]

    assert order["OrderId"] == 1
    assert [(f["SourceId"], f["Transform"], f["Direction"], f["NullOrder"]) for f in order["Fields"]] == [
        (1, "identity", "asc", "nulls-first"),
        (2, "identity", "asc", "nulls-first"),
        (3, "identity", "asc", "nulls-first"),
    ]


def test_constraints_are_a_ruleset_of_the_table(ruleset: dict[str, Any]) -> None:
    """Its name is create-only and derives from database and table alone.

    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-glue-dataqualityruleset.html
    """
    assert resource_types.schema("AWS::Glue::DataQualityRuleset")["createOnlyProperties"] == ["/properties/Name"]
    assert ruleset["Name"] == "demand_features-stock_v1"
    assert ruleset["Ruleset"] == dqdl(GROUP)
    assert set(ruleset["TargetTable"]) == {"DatabaseName", "TableName"}
    assert ruleset["Description"] == "stock"


def test_fails_when_constraints_are_more_than_glue_takes() -> None:
    """The construct's error says what to shorten."""
    stack = cdk.Stack(cdk.App(), "S")
    allowed = tuple(f"{number:060}" for number in range(1200))
    group = replace(GROUP, features=(Feature("kind", "string", "kind", allowed=allowed),))
    table = glue.CfnTable(stack, "Table", catalog_id="123456789012", database_name="d", name="t")

    with pytest.raises(
        ValidationError, match=r"InvalidFeatureStore: the data quality ruleset of stock_v1 has .* shorten"
    ):
        define_ruleset(stack, "Ruleset", group=group, table=table, database_name="d")


def test_readers_learn_key_and_ttl_from_properties(table: dict[str, Any]) -> None:
    """Clients without the declaration read them from the table."""
    properties = table["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["Properties"]

    assert properties == GROUP.properties | WRITE_PROPERTIES
