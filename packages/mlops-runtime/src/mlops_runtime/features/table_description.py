"""A feature table's description of itself, in its properties and Iceberg metadata file; reads no rows and needs no library.

See: https://iceberg.apache.org/spec/#table-metadata-fields
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal


class FeatureTableError(ValueError):
    """A feature table does not match its group, or cannot be read as requested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMeaning:
    """Meaning of a feature table's properties: group, version, key, time to live and whether its last instant counts."""

    group: str
    version: int
    entities: tuple[str, ...]
    ttl: timedelta | None
    ttl_bound: Literal["inclusive", "exclusive"] = "inclusive"

    @classmethod
    def of(cls, name: str, properties: Mapping[str, str]) -> "TableMeaning":
        """Parse a table's properties.

        Raises:
            FeatureTableError: If a property is missing.
        """
        needed = ("mlops.group", "mlops.version", "mlops.entities")
        absent = [key for key in needed if key not in properties]
        if absent:
            raise FeatureTableError(f"table {name} has no property {', '.join(absent)}; it is not a feature table")
        ttl = properties.get("mlops.ttl-seconds")
        return cls(
            group=properties["mlops.group"],
            version=int(properties["mlops.version"]),
            entities=tuple(properties["mlops.entities"].split(",")),
            ttl=None if ttl is None else timedelta(seconds=float(ttl)),
            ttl_bound="exclusive" if properties.get("mlops.ttl-bound") == "exclusive" else "inclusive",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDescription:
    """Description of a table for searches: texts, columns, and the order of its snapshots."""

    name: str  # name of the table
    uuid: str  # UUID of the table; a table that is recreated under the same name has another
    owner: str  # responsible team, or empty
    description: str  # description, or empty
    tags: tuple[str, ...]  # keywords for searches
    columns: Mapping[str, str]  # description of each column, by its name, in order
    all_columns: frozenset[str]  # names of the columns of every schema of the table, past and present
    sequences: Mapping[int, int]  # sequence number of each existing snapshot, by its id
    is_feature_table: bool  # whether its properties name a group

    @classmethod
    def of(cls, name: str, metadata: Mapping[str, Any]) -> "TableDescription":
        """Parse an Iceberg metadata file (v2), as read from JSON.

        Raises:
            KeyError: If the file lacks a required field.

        Example:
            >>> schema = {"schema-id": 0, "fields": [{"name": "on_hand", "doc": "units on hand"}]}
            >>> metadata = {"table-uuid": "1", "current-schema-id": 0, "schemas": [schema]}
            >>> dict(TableDescription.of("stock_v1", metadata).columns)
            {'on_hand': 'units on hand'}
        """
        schemas = {schema["schema-id"]: schema["fields"] for schema in metadata["schemas"]}
        properties = metadata.get("properties") or {}
        try:
            TableMeaning.of(name, properties)
            is_feature_table = True
        except FeatureTableError:
            is_feature_table = False
        return cls(
            name=name,
            uuid=str(metadata["table-uuid"]),
            owner=properties.get("mlops.owner", ""),
            description=properties.get("mlops.description", ""),
            tags=tuple(tag for tag in properties.get("mlops.tags", "").split(",") if tag),
            columns={field["name"]: field.get("doc") or "" for field in schemas[metadata["current-schema-id"]]},
            all_columns=frozenset(field["name"] for fields in schemas.values() for field in fields),
            sequences={each["snapshot-id"]: each.get("sequence-number", 0) for each in metadata.get("snapshots") or ()},
            is_feature_table=is_feature_table,
        )
