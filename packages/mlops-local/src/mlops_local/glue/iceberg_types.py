"""Glue's Iceberg tables of CloudFormation, implemented with pyiceberg.

`AWS::Glue::Table` with `OpenTableFormatInput.IcebergInput.IcebergTableInput`
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-properties-glue-table-icebergtableinput.html)
becomes a metadata file in S3 and a Glue catalog entry with exactly the template's field ids: a changed id would make old data files
read as another column.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, cast

from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.table.update import (
    AddSchemaUpdate,
    AssertCurrentSchemaId,
    RemovePropertiesUpdate,
    SetCurrentSchemaUpdate,
    SetPropertiesUpdate,
    TableUpdate,
)
from pyiceberg.types import NestedField

Properties = Mapping[str, Any]
# allowed type promotions of an Iceberg column: https://iceberg.apache.org/spec/#schema-evolution
_PROMOTIONS = {("int", "long"), ("float", "double")}


def create(catalog: GlueCatalog, properties: Properties) -> str:
    """Create the table; return the table's name, the resource's physical id.

    Raises:
        ValueError: If CloudFormation would reject the declaration.
    """
    declared = _declared(properties)
    schema, location = _schema(declared, 0), declared["Location"].rstrip("/")
    spec = _partition_spec(declared)
    order = _sort_order(declared)
    metadata = TableMetadataV2.model_validate({
        "location": location, "schemas": [schema], "current-schema-id": 0, "last-column-id": schema.highest_field_id,
        "partition-specs": [spec], "default-spec-id": spec.spec_id, "last-partition-id": spec.last_assigned_field_id,
        "sort-orders": [order], "default-sort-order-id": order.order_id, "properties": dict(declared.get("Properties") or {}),
    })  # fmt: skip
    file = f"{location}/metadata/00000-{uuid.uuid4()}.metadata.json"
    ToOutputFile.table_metadata(metadata, catalog._load_file_io({}, file).new_output(file))
    catalog.register_table(_identifier(properties), file)
    return str(properties["Name"])


def update(catalog: GlueCatalog, old: Properties, new: Properties) -> None:
    """Change the table in place: columns, matched by id, and properties.

    Raises:
        ValueError: If the change would make the table unreadable, or is not possible in place.
    """
    # claim: iceberg-columns-evolve-in-place
    before, after = _declared(old), _declared(new)
    for member in ("Location", "PartitionSpec", "WriteOrder"):
        if before.get(member) != after.get(member):
            raise ValueError(
                f"{member} of Iceberg table {new['Name']} cannot change in place; declare a new table version"
            )
    table = catalog.load_table(_identifier(new))
    current = table.schema()
    updates: list[TableUpdate] = []
    if before["Schema"] != after["Schema"]:
        schema = _schema(after, max(schema.schema_id for schema in table.metadata.schemas) + 1)
        _check_evolution(current, schema, table.spec(), str(new["Name"]))
        updates += [
            AddSchemaUpdate(schema=schema),
            SetCurrentSchemaUpdate.model_validate({"schema-id": schema.schema_id}),
        ]
    was, wanted = before.get("Properties") or {}, after.get("Properties") or {}
    if wanted != was:
        updates.append(SetPropertiesUpdate(updates=dict(wanted)))
        if removed := sorted(was.keys() - wanted.keys()):
            updates.append(RemovePropertiesUpdate(removals=removed))
    if updates:
        catalog.commit_table(
            table, (AssertCurrentSchemaId.model_validate({"current-schema-id": current.schema_id}),), tuple(updates)
        )


def _identifier(properties: Properties) -> tuple[str, str]:
    return properties["DatabaseName"], properties["Name"]


def _declared(properties: Properties) -> dict[str, Any]:
    """Return the IcebergTableInput after validation of its surroundings."""
    # claim: iceberg-columns-evolve-in-place
    iceberg = (properties.get("OpenTableFormatInput") or {}).get("IcebergInput") or {}
    problems = []
    if properties.get("TableInput"):
        problems.append("TableInput and OpenTableFormatInput exclude each other")
    problems += [f"{name} is required" for name in ("Name", "DatabaseName", "CatalogId") if not properties.get(name)]
    if iceberg.get("MetadataOperation") != "CREATE":
        problems.append(f"MetadataOperation must be CREATE, got {iceberg.get('MetadataOperation')!r}")
    if str(iceberg.get("Version", "2")) != "2":
        problems.append(f"Version must be 2 in the embedded cloud, got {iceberg['Version']!r}")
    declared = iceberg.get("IcebergTableInput") or {}
    if not declared:
        problems.append(
            "IcebergTableInput is required: columns in TableInput lose the table's metadata at the first update"
        )
    problems += [
        f"IcebergTableInput.{name} is required"
        for name in ("Location", "Schema")
        if declared and not declared.get(name)
    ]
    if problems:
        raise ValueError(f"AWS::Glue::Table {properties.get('Name')}: " + "; ".join(problems))
    return cast("dict[str, Any]", declared)


def _schema(declared: Properties, schema_id: int) -> Schema:
    fields = [
        NestedField(
            field_id=int(field["Id"]), name=field["Name"], field_type=_type(field["Type"]),
            required=str(field.get("Required")).lower() == "true", doc=field.get("Doc"),
        )
        for field in declared["Schema"]["Fields"]
    ]  # fmt: skip
    identifiers = [int(number) for number in declared["Schema"].get("IdentifierFieldIds") or []]
    return Schema(*fields, schema_id=schema_id, identifier_field_ids=identifiers)


def _type(declared: Any) -> Any:
    """Parse a column type: a name, or the JSON document of a nested type."""
    if isinstance(declared, str) and declared.lstrip().startswith("{"):
        declared = json.loads(declared)
    document = {"id": 1, "name": "column", "type": declared, "required": False}
    return NestedField.model_validate(document).field_type


def _partition_spec(declared: Properties) -> PartitionSpec:
    spec = declared.get("PartitionSpec") or {}
    fields = [
        PartitionField(
            source_id=int(field["SourceId"]), field_id=int(field.get("FieldId") or 1000 + position), transform=field["Transform"],
            name=field["Name"],
        )
        for position, field in enumerate(spec.get("Fields") or [])
    ]  # fmt: skip
    return PartitionSpec(*fields, spec_id=int(spec.get("SpecId") or 0))


def _sort_order(declared: Properties) -> SortOrder:
    order = declared.get("WriteOrder") or {}
    fields = [
        SortField(
            source_id=int(field["SourceId"]), transform=field["Transform"], direction=field["Direction"].lower(),
            null_order=field["NullOrder"].lower(),
        )
        for field in order.get("Fields") or []
    ]  # fmt: skip
    return SortOrder(*fields, order_id=int(order.get("OrderId") or (1 if fields else 0)))


def _check_evolution(current: Schema, wanted: Schema, spec: PartitionSpec, name: str) -> None:
    # claim: iceberg-columns-evolve-in-place
    problems = []
    known = {field.field_id: field for field in current.fields}
    for field in wanted.fields:
        before = known.get(field.field_id)
        change = (str(before.field_type), str(field.field_type)) if before else None
        if change and change[0] != change[1] and change not in _PROMOTIONS:
            problems.append(f"field {field.field_id} ({field.name}) cannot turn from {change[0]} to {change[1]}")
        if before is None and field.field_id <= current.highest_field_id:
            problems.append(
                f"field {field.field_id} ({field.name}) reuses a retired id; the next free is {current.highest_field_id + 1}"
            )
        if before is None and field.required:
            problems.append(
                f"field {field.field_id} ({field.name}) is new and cannot be required: old rows have no value"
            )
    kept = {field.field_id for field in wanted.fields}
    problems += [
        f"field {part.source_id} partitions the table and cannot go"
        for part in spec.fields
        if part.source_id not in kept
    ]
    if problems:
        raise ValueError(f"AWS::Glue::Table {name}: " + "; ".join(problems))
