"""Descriptions of a deployed feature store's tables, read with boto3 alone, so that a function needs no layer.

The Glue catalog has the location of each table's metadata file, which has the description. ``FeatureStore.grant_describe`` grants
access to both.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mlops_runtime.features.table_description import FeatureTableError, TableDescription
from mlops_runtime.features.table_freshness import read_metadata_file
from mlops_runtime.refused_calls import refusal

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_glue.type_defs import TableTypeDef
    from mypy_boto3_s3 import S3Client

_AT_ONCE = 8
_ICEBERG = "ICEBERG"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTables:
    """The tables of a database by name; ``problems`` has the reason for each unreadable table."""

    tables: tuple[TableDescription, ...]
    problems: tuple[str, ...]


class DeployedTables:
    """The Iceberg tables of one Glue database."""

    def __init__(self, database: str, *, glue: "GlueClient", s3: "S3Client") -> None:
        self._database, self._glue, self._s3 = database, glue, s3

    def all(self) -> DescribedTables:
        """Return every table; unreadable tables are reported as problems.

        Raises:
            ClientError: If the caller may not list the tables.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(self._read, self._entries().values()))
        return DescribedTables(
            tables=tuple(each for each in found if isinstance(each, TableDescription)),
            problems=tuple(each for each in found if isinstance(each, str)),
        )

    def describe(self, name: str) -> TableDescription:
        """Return one table.

        Raises:
            FeatureTableError: If the table is missing or cannot be read.
            ClientError: If the caller may not list the tables.
        """
        # listing distinguishes a missing table from a denied one, which GetTable does not
        entry = self._entries().get(name)
        if entry is None:
            raise FeatureTableError(
                f"database {self._database} has no table {name}; deploy the feature store that declares it"
            )
        found = self._read(entry)
        if isinstance(found, str):
            raise FeatureTableError(found)
        return found

    def _entries(self) -> "dict[str, TableTypeDef]":
        """Return the catalog's entries of Iceberg tables by name; Athena's temporary tables have other formats."""
        pages = self._glue.get_paginator("get_tables").paginate(DatabaseName=self._database)
        found = {each["Name"]: each for page in pages for each in page["TableList"] if _is_iceberg(each)}
        return dict(sorted(found.items()))

    def _read(self, entry: "TableTypeDef") -> TableDescription | str:
        """Return a table, or the reason why it cannot be read."""
        name, location = entry["Name"], entry["Parameters"]["metadata_location"]
        try:
            metadata = read_metadata_file(location, self._s3)
            return TableDescription.of(name, metadata)
        except ClientError as error:
            return f"table {name} cannot be read: {refusal(error.response['Error'], error.operation_name)}"
        except (KeyError, OSError, ValueError) as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            return f"file {location} of table {name} cannot be read: {what}; restore it from a backup or version"


def _is_iceberg(entry: "TableTypeDef") -> bool:
    # https://iceberg.apache.org/docs/latest/aws/#glue-catalog, the same test as pyiceberg's
    parameters = entry.get("Parameters") or {}
    return parameters.get("table_type", "").upper() == _ICEBERG and "metadata_location" in parameters
