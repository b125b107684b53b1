"""Feature tables by name, in a local folder, where groups create them, and in Glue, where only CloudFormation does."""

import re
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.exceptions import NoSuchTableError, ValidationError
from pyiceberg.table import Table
from pyiceberg.types import DoubleType, FloatType, IntegerType, LongType, NestedField

from mlops_runtime.features.feature_group import VECTOR, WRITE_PROPERTIES, FeatureGroup
from mlops_runtime.features.iceberg_tables import (
    check_table,
    iceberg_partition,
    iceberg_schema,
    iceberg_sort_order,
    lock_of,
)
from mlops_runtime.features.lock_file import FeatureLock
from mlops_runtime.features.source import DamagedFileError, MissingFileError
from mlops_runtime.features.table_description import FeatureTableError

if TYPE_CHECKING:
    from sqlalchemy.engine import ExceptionContext

_WIDENINGS = ((IntegerType(), LongType()), (FloatType(), DoubleType()))
_FIRST_TRIES = 8
# https://docs.aws.amazon.com/glue/latest/webapi/API_GetColumnStatisticsForTable.html
_COLUMNS_A_CALL = 100
_VERSION = re.compile(r"_v\d+$")
# writers of a deployed store are not allowed to delete: there, maintenance removes old metadata files
_FOLDER_PROPERTIES = {**WRITE_PROPERTIES, "write.metadata.delete-after-commit.enabled": "true"}
_ENDS_A_PATH = "?#"
_BUSY_SECONDS = 60  # SQLite's locks, which the catalog's commits wait for
_CHANGEABLE = {"mlops.description", "mlops.owner", "mlops.tags", "mlops.ttl-seconds", "mlops.ttl-bound"}


class MovedFolderError(FeatureTableError):
    """A store's folder was moved or copied; its tables contain absolute paths of their files."""


class UnusableCatalogError(FeatureTableError):
    """A local catalog stays locked, is read-only, or its disk is full; the operation was not committed."""


class Tables:
    """The feature tables of one database; with field ids, ``local_lock``, of a local folder, where groups create tables."""

    def __init__(
        self, catalog: Catalog, database: str, local_lock: FeatureLock | None = None, *, warehouse: str | None = None
    ) -> None:
        self.database = database
        self._catalog, self._local_lock, self._warehouse = catalog, local_lock, warehouse

    @classmethod
    def local(cls, path: Path, database: str, lock: FeatureLock | None) -> "Tables":
        """Return the tables below a local folder, which is created if missing.

        Raises:
            FeatureTableError: If the folder can be neither created nor used, or its path has a ``?`` or ``#``.
            UnusableCatalogError: If its catalog stays locked, or cannot be created.
            DamagedFileError: If its catalog is invalid, or is empty or missing although there are tables.
        """
        from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415 - SQLAlchemy, which functions do not have
        from sqlalchemy import URL, event  # noqa: PLC0415
        from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError  # noqa: PLC0415

        path = path.resolve()
        if cut := sorted(set(_ENDS_A_PATH).intersection(str(path))):
            raise FeatureTableError(
                f"the path of a store's folder must not contain {' or '.join(cut)}, where URIs end a path, got {path}; "
                "choose another folder"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FeatureTableError(
                f"a store needs a folder that exists or can be created, got {path}: {error}"
            ) from error
        file = path / "catalog.db"
        _check_catalog(file, path / "tables")
        uri = URL.create("sqlite", database=str(file), query={"timeout": str(_BUSY_SECONDS)}).render_as_string()
        warehouse = f"file://{path}/tables"  # pyiceberg does not decode %20
        until = time.monotonic() + _BUSY_SECONDS
        for tries_left in reversed(range(_FIRST_TRIES)):
            try:
                catalog = SqlCatalog("local", uri=uri, warehouse=warehouse)
                catalog.create_namespace_if_not_exists(database)
                break
            except (IntegrityError, OperationalError) as error:  # another process is creating the folder's catalog
                if not tries_left or time.monotonic() >= until:
                    raise _unusable(file, error.orig) from error
            except DatabaseError as error:
                raise _damaged(file, error.orig) from error
        event.listen(catalog.engine, "handle_error", lambda context: _typed(file, context))
        return cls(catalog, database, FeatureLock() if lock is None else lock, warehouse=warehouse)

    @classmethod
    def glue(cls, database: str, environment: Mapping[str, str]) -> "Tables":
        """Return the tables of a Glue database."""
        return cls(GlueCatalog("glue", None, **glue_properties(environment)), database)

    @property
    def is_folder(self) -> bool:
        """Whether tables are in a local folder, where groups create them and their writers maintain them."""
        return self._local_lock is not None

    def load(self, name: str) -> Table:
        """Load a feature table.

        Raises:
            FeatureTableError: If the table does not exist.
            MovedFolderError: If the folder was moved or copied.
            MissingFileError: If the newest metadata file is missing (DamagedFileError, if it cannot be read); with the file.
            UnusableCatalogError: If the local catalog stays locked.
        """
        try:
            return self._loaded(name)
        except NoSuchTableError:
            # a caller with permission to read the tables may lack permission to list them
            fix = (
                "deploy the feature store that declares it"
                if self._local_lock is None
                else "ingest a batch of it first"
            )
            raise FeatureTableError(f"database {self.database} has no table {name}; {fix}") from None

    def _loaded(self, name: str) -> Table:
        try:
            table = self._catalog.load_table((self.database, name))
        except FileNotFoundError as error:
            if self._warehouse is None:
                raise
            newest = self._newest_metadata(name)
            if newest.startswith(f"{self._warehouse}/"):
                if Path(
                    newest.removeprefix("file://")
                ).exists():  # a later commit removed the file that was read before
                    return self._loaded(name)
                raise MissingFileError(
                    f"file {newest} of table {name} is missing; restore it from a backup or version"
                ) from error
            raise MovedFolderError(
                f"table {name} of the store in {self._warehouse.removesuffix('/tables')} has no file {error.filename or error}; a "
                "moved folder works only in its original location: move it back, and copy rows to another store by ingest_from"
            ) from error
        except (ValidationError, UnicodeDecodeError) as error:
            message = " ".join(str(error).split()).partition(" [type=")[0]
            raise DamagedFileError(
                f"file {self._newest_metadata(name)} of table {name} cannot be read: {message}; restore it from a backup or version"
            ) from error
        if self._warehouse is not None and not table.metadata_location.startswith(f"{self._warehouse}/"):
            raise MovedFolderError(
                f"the store in {self._warehouse.removesuffix('/tables')} was moved or copied: its table {name} contains "
                f"absolute paths, {table.metadata_location}; open it there, and copy rows to another store by ingest_from"
            )
        return table

    def _newest_metadata(self, name: str) -> str:
        """Return the metadata file of a table's newest state, by the catalog, if the table cannot be loaded."""
        if isinstance(self._catalog, GlueCatalog):
            found = self._catalog.glue.get_table(DatabaseName=self.database, Name=name)
            return str(found["Table"]["Parameters"]["metadata_location"])
        from pyiceberg.catalog.sql import IcebergTables, SqlCatalog  # noqa: PLC0415 - as for `local`
        from sqlalchemy import select  # noqa: PLC0415
        from sqlalchemy.orm import Session  # noqa: PLC0415

        assert isinstance(self._catalog, SqlCatalog)  # noqa: S101 - there are two kinds
        columns = IcebergTables.table_namespace == self.database, IcebergTables.table_name == name
        with Session(self._catalog.engine) as session:
            return str(session.scalar(select(IcebergTables.metadata_location).where(*columns)))

    def forget_statistics(self, name: str) -> None:
        """Remove the Glue catalog's column statistics of a table, which contain values; a local catalog has none.

        Raises:
            ClientError: If access is denied.
        """
        if not isinstance(self._catalog, GlueCatalog):
            return
        glue, table = self._catalog.glue, {"DatabaseName": self.database, "TableName": name}
        columns = [field.name for field in self.load(name).schema().fields]
        for start in range(0, len(columns), _COLUMNS_A_CALL):
            # claim: column-statistics-hold-values
            found = glue.get_column_statistics_for_table(**table, ColumnNames=columns[start : start + _COLUMNS_A_CALL])
            for each in found["ColumnStatisticsList"]:
                glue.delete_column_statistics_for_table(**table, ColumnName=each["ColumnName"])

    def find(self, group: FeatureGroup | str) -> Table:
        """Load the table of a group, given as an object, by name of the table, or by name of the group if it has one version.

        Raises:
            FeatureTableError: If the table does not exist, the group has several, or the argument is neither a group nor a name.
        """
        if isinstance(group, FeatureGroup):
            return self.load(group.table_name)
        if not isinstance(group, str):
            raise FeatureTableError(f"a FeatureGroup or its name is required, got {group!r}")
        if _VERSION.search(group):  # not a valid name of a group
            return self.load(group)
        versions = [table for table in self.names() if _VERSION.sub("", table) == group]
        if len(versions) > 1:
            raise FeatureTableError(f"group {group!r} has versions {', '.join(versions)}; name one of them")
        return self.load(versions[0] if versions else group)

    def names(self) -> tuple[str, ...]:
        """Return the names of the database's tables."""
        return tuple(sorted(identifier[-1] for identifier in self._catalog.list_tables(self.database)))

    def writable(self, group: FeatureGroup) -> Table:
        """Load the table of a group; in a local folder, create or update it like a deployment: new and wider columns, time to live.

        Raises:
            FeatureTableError: If the table does not exist and groups do not create tables; in a local folder also if not all
                changes of the group can be applied, in which case the table is unchanged.
            FeatureLockError: If the group's changes would break readers of the table.
        """
        if self._local_lock is None:
            return self.load(group.table_name)
        extended = self._local_lock.extend([group])
        locked = extended.table(group)
        properties = group.properties
        name = (self.database, group.table_name)
        try:
            table = self._loaded(group.table_name)
        except NoSuchTableError:
            table = self._catalog.create_table_if_not_exists(
                name,
                iceberg_schema(group, locked),
                partition_spec=iceberg_partition(locked),
                sort_order=iceberg_sort_order(group, locked),
                properties=properties | _FOLDER_PROPERTIES,
            )
        # another process may have created it from a different declaration
        lock_of(table, group).extend([group])
        known = {field.name: field for field in table.schema().fields}
        fields = iceberg_schema(group, locked).fields
        # properties of a new column come with it, such as a vector's length, which its type lacks
        taken = _CHANGEABLE | {f"{VECTOR}{field.name}" for field in fields if field.name not in known}
        declared = {key: value for key, value in properties.items() if key in taken}
        changed = {key: value for key, value in declared.items() if table.properties.get(key) != value}
        changed |= {key: value for key, value in _FOLDER_PROPERTIES.items() if key not in table.properties}
        dropped = sorted(_CHANGEABLE & set(table.properties) - set(declared))
        with table.transaction() as transaction:
            if any(field.name not in known or _grows(known[field.name], field) for field in fields):
                with transaction.update_schema() as update:
                    for field in fields:
                        old = known.get(field.name)
                        if old is None:
                            update.add_column(field.name, field.field_type, doc=field.doc)
                        elif _grows(old, field):
                            update.update_column(field.name, field.field_type, required=field.required)
            if changed:
                transaction.set_properties(changed)
            if dropped:
                transaction.remove_properties(*dropped)
            declaration = f"FeatureGroup({group.name!r}, version={group.version})"
            fix = f"undo that in {declaration}, or set version={group.version + 1}, which creates a new table"
            check_table(group, transaction.table_metadata, fix=fix)
        self._local_lock = extended
        return table


def _check_catalog(file: Path, tables: Path) -> None:
    """Check that a catalog exists if there are tables, which are created after it."""
    has_tables = tables.is_dir() and any(tables.iterdir())
    what = "missing" if not file.exists() else "empty" if not file.stat().st_size else ""
    if has_tables and what:
        raise DamagedFileError(f"catalog {file} is {what}, but there are tables beside it; restore it from a backup")


def _typed(file: Path, context: "ExceptionContext") -> None:
    """Raise SQLite's errors of a catalog as ours, except integrity errors, which pyiceberg handles."""
    error = context.original_exception
    if isinstance(error, sqlite3.OperationalError):
        raise _unusable(file, error) from error
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.IntegrityError):
        raise _damaged(file, error) from error


def _unusable(file: Path, error: BaseException | None) -> UnusableCatalogError:
    return UnusableCatalogError(
        f"catalog {file} cannot be used: {error}; locks are awaited for {_BUSY_SECONDS} s, and nothing was committed. End the "
        "process that holds the lock, make file and folder writable, or free space, and try again"
    )


def _damaged(file: Path, error: BaseException | None) -> DamagedFileError:
    return DamagedFileError(f"catalog {file} cannot be read: {error}; restore it from a backup")


def _grows(old: NestedField, new: NestedField) -> bool:
    """Return whether a column changes to accept more values, including all that it accepted before."""
    is_wider = (old.field_type, new.field_type) in _WIDENINGS
    return (is_wider or old.field_type == new.field_type) and (is_wider or (old.required and not new.required))


def glue_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pyiceberg's catalog properties for an AWS environment: region, endpoints, and access keys if set."""
    everywhere = environment.get("AWS_ENDPOINT_URL")
    values = {
        "client.region": environment.get("AWS_REGION", environment.get("AWS_DEFAULT_REGION")),
        "glue.endpoint": environment.get("AWS_ENDPOINT_URL_GLUE", everywhere),
        "s3.endpoint": environment.get("AWS_ENDPOINT_URL_S3", everywhere),
        "client.access-key-id": environment.get("AWS_ACCESS_KEY_ID"),
        "client.secret-access-key": environment.get("AWS_SECRET_ACCESS_KEY"),
        "client.session-token": environment.get("AWS_SESSION_TOKEN"),
    }
    return {name: value for name, value in values.items() if value is not None}
