"""Athena queries: Athena SQL over Iceberg tables at any snapshot and over Hive tables, and UNLOAD.

MiniStack passes statements to DuckDB unchanged, reads no Iceberg tables of the catalog and does not support UNLOAD. Here sqlglot
translates Athena SQL to DuckDB's, pyiceberg reads the requested snapshots, and what Athena rejects is rejected. Tables, objects
and result writes use the permissions of the query's caller.

See: https://docs.aws.amazon.com/athena/latest/ug/s3-permissions.html and
https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
"""

import random
import re
import shutil
import uuid
from asyncio import to_thread
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import athena, glue

from mlops_local import clients
from mlops_local.iam import authorization
from mlops_local.iam.request import Call

# https://docs.aws.amazon.com/athena/latest/ug/service-limits.html
_MAX_STATEMENT = 262_144
_MAX_PARTITIONS = 100
_FILE_ROWS = 1 << 18
# results location of the query that a task runs
_output: ContextVar[str] = ContextVar("output", default="")
_TARGET = re.compile(r"\)\s*to\s*'", re.IGNORECASE)
_MACROS = (
    "create macro from_unixtime_nanos(n) as make_timestamptz(cast(cast(n as hugeint) // 1000 as bigint))",
    "create macro with_timezone(t, zone) as t at time zone zone",
)


class QueryError(ValueError):
    """A query failed; the message is Athena's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unload:
    query: str
    bucket: str
    prefix: str
    by: tuple[str, ...]


def install() -> None:
    """Run queries in this module; DDL and everything else remain MiniStack's."""
    start, run = athena._start_query_execution, athena._run_duckdb

    def start_or_refuse(data: dict[str, Any]) -> Any:
        # claim: athena-statement-limit
        size = len(str(data.get("QueryString", "")).encode())
        if size > _MAX_STATEMENT:
            message = f"queryString must have at most {_MAX_STATEMENT} bytes, got {size}"
            return error_response_json("InvalidRequestException", message, 400)
        group = athena._workgroups.get(data.get("WorkGroup", "primary"))
        if group is None:
            return error_response_json(
                "InvalidRequestException", f"WorkGroup {data.get('WorkGroup')} is not found.", 400
            )
        if group.get("State") == "DISABLED":
            return error_response_json("InvalidRequestException", "WorkGroup is disabled.", 400)
        # claim: athena-workgroup-decides-the-place
        settings_of = group.get("Configuration", {})
        result = settings_of.get("ResultConfiguration", {})
        if settings_of.get("EnforceWorkGroupConfiguration"):
            data = {**data, "ResultConfiguration": result}
        place = (data.get("ResultConfiguration") or result).get("OutputLocation", "")
        if place:
            try:
                may_use_bucket("s3:GetBucketLocation", place)
            except MissingRightError:
                message = f"Unable to verify/create output bucket {place.removeprefix('s3://').partition('/')[0]}"
                return error_response_json("InvalidRequestException", message, 400)
        _output.set(place)
        return start(data)

    async def run_query(query: str, database: str, catalog: str | None = None) -> dict[str, Any]:
        if catalog not in (None, "", "AwsDataCatalog") or not is_query(query):
            found: dict[str, Any] = await run(query, database, catalog)
            return found
        return await to_thread(answer, query, database)

    athena._start_query_execution, athena._run_duckdb = start_or_refuse, run_query


def is_query(statement: str) -> bool:
    """Return whether a statement is a query or an UNLOAD.

    Example:
        >>> is_query("with a as (select 1) select * from a"), is_query("show tables")
        (True, False)
    """
    return bool(re.match(r"\s*(\(|select\b|with\b|unload\b)", statement, re.IGNORECASE))


def answer(statement: str, database: str) -> dict[str, Any]:
    """Run a query or UNLOAD, and return MiniStack's record of its result. Only on a worker thread.

    Raises:
        QueryError: If Athena would reject it.
    """
    unload = _unload(statement)
    # claim: athena-acts-for-its-caller
    try:
        may_use_catalog()
        if _output.get():
            may_use_objects("s3:PutObject", [f"{_output.get().rstrip('/')}/{uuid.uuid4()}.csv"])
        return _answer(statement, unload, database)
    except MissingRightError as error:
        raise QueryError(str(error)) from error


def _answer(statement: str, unload: _Unload | None, database: str) -> dict[str, Any]:
    rows = _rows(statement if unload is None else unload.query, database)
    if unload is not None:
        _write(rows, unload)
        return {"columns": [], "column_types": [], "rows": []}
    return {
        "columns": rows.schema.names,
        "column_types": [_type(field.type) for field in rows.schema],
        "rows": [list(row.values()) for row in rows.to_pylist()],
    }


def _rows(query: str, database: str) -> Any:
    """Return the rows of a query as an Arrow table."""
    # claim: athena-fails-in-words
    try:
        import duckdb  # noqa: PLC0415 - not needed without queries
        import sqlglot  # noqa: PLC0415
        from sqlglot import exp  # noqa: PLC0415
    except ImportError as error:
        raise QueryError(
            f"the embedded cloud runs queries with {error.name}; run: pip install 'mlops-runtime[features]'"
        ) from error
    try:
        tree = sqlglot.parse_one(query, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.ParseError as error:
        raise QueryError(f"SYNTAX_ERROR: {error}") from error
    connection, folders = duckdb.connect(), list[str]()
    try:
        connection.execute("set TimeZone = 'UTC'")
        for macro in _MACROS:
            connection.execute(macro)
        local = {each.alias_or_name for each in tree.find_all(exp.CTE)}
        for number, table in enumerate(list(tree.find_all(exp.Table))):
            if table.name in local and not table.db:
                continue
            name = f"__t{number}"
            _register(connection, name, table, database, folders)
            alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
            table.replace(exp.Table(this=exp.to_identifier(name), alias=alias))
        return connection.sql(tree.sql(dialect="duckdb")).to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(f"GENERIC_USER_ERROR: {' '.join(str(error).split())}") from error
    finally:
        connection.close()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _register(connection: Any, name: str, table: Any, database: str, folders: list[str]) -> None:
    """Register a table of the catalog with DuckDB, at the snapshot of the query."""
    where = table.db or database
    may_find(where, table.name)
    found = glue._tables.get(f"{where}/{table.name}")
    if found is None:
        raise QueryError(f"TABLE_NOT_FOUND: Table 'awsdatacatalog.{where}.{table.name}' does not exist")
    if str((found.get("Parameters") or {}).get("table_type", "")).upper() == "ICEBERG":
        # claim: athena-iceberg-time-travel
        version = table.args.get("version")
        snapshot = None if version is None else int(version.expression.name)
        metadata = found["Parameters"]["metadata_location"]
        scan = _iceberg(metadata).scan(snapshot_id=snapshot)
        may_use_objects("s3:GetObject", [metadata, *(task.file.file_path for task in scan.plan_files())])
        connection.register(name, scan.to_arrow())
        return
    _may_read_below(found["StorageDescriptor"]["Location"])
    files = athena._materialize_table_files(found["StorageDescriptor"]["Location"], folders)
    relation = athena._table_relation(found, files) if files else athena._empty_relation(found)
    connection.execute(f"create view {name} as select * from {relation}")  # noqa: S608 - built from the catalog's entry


def _may_read_below(location: str) -> None:
    may_use_bucket("s3:ListBucket", location)
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    pages = clients.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    may_use_objects("s3:GetObject", [f"s3://{bucket}/{key}" for key in keys])


def _iceberg(metadata: str) -> Any:
    from pyiceberg.table import StaticTable  # noqa: PLC0415 - see above

    return StaticTable.from_metadata(metadata, clients.iceberg_files())


def _unload(statement: str) -> _Unload | None:
    # claim: athena-fails-in-words
    head, _, rest = statement.strip().rstrip(";").partition("(")
    if head.strip().lower() != "unload":
        return None
    ends = list(_TARGET.finditer(rest))
    target, _, options = rest[ends[-1].end() :].partition("'") if ends else ("", "", "")
    if not target.startswith("s3://") or not options.strip().lower().startswith("with"):
        raise QueryError("SYNTAX_ERROR: UNLOAD is (query) TO 's3://...' WITH (format = '...')")
    kind = options.partition("format")[2].partition("'")[2].partition("'")[0]
    if kind.upper() != "PARQUET":
        raise QueryError(f"NOT_SUPPORTED: the embedded cloud unloads to PARQUET only, got {options.strip()}")
    by = options.partition("partitioned_by")[2].partition("[")[2].partition("]")[0]
    bucket, _, prefix = target.removeprefix("s3://").partition("/")
    names = tuple(each.strip().strip("'") for each in by.split(",") if each.strip())
    return _Unload(query=rest[: ends[-1].start()], bucket=bucket, prefix=f"{prefix.rstrip('/')}/", by=names)


def _write(rows: Any, unload: _Unload) -> None:
    """Write files in random order, as parallel tasks do; files written before a failure remain."""
    # claim: athena-unload-files
    import pyarrow as pa  # noqa: PLC0415 - see above
    import pyarrow.compute as pc  # noqa: PLC0415

    s3 = clients.client("s3")
    may_use_bucket("s3:ListBucket", f"s3://{unload.bucket}/{unload.prefix}")
    if s3.list_objects_v2(Bucket=unload.bucket, Prefix=unload.prefix, MaxKeys=1).get("KeyCount"):
        raise QueryError(
            f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: s3://{unload.bucket}/{unload.prefix}"
        )
    if list(unload.by) != rows.schema.names[len(rows.schema.names) - len(unload.by) :]:
        raise QueryError("HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table")
    # claim: athena-unload-types
    for field in rows.schema:
        if _has(field.type, lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None):
            raise QueryError("NOT_SUPPORTED: Unsupported Hive type: timestamp(6) with time zone")
        if pa.types.is_time(field.type):
            raise QueryError("NOT_SUPPORTED: Unsupported Hive type: time(6)")
    chance = random.Random(rows.num_rows)  # noqa: S311 - not used for security
    for number, (folder, part) in enumerate(_partitions(rows, unload.by).items()):
        if number == _MAX_PARTITIONS:
            raise QueryError(
                f"HIVE_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {_MAX_PARTITIONS} open writers for partitions"
            )
        starts = list(range(0, part.num_rows, _FILE_ROWS))
        chance.shuffle(starts)
        for start in starts:
            taken = part.slice(start, _FILE_ROWS)
            order = pc.sort_indices(pc.random(taken.num_rows, initializer=chance.getrandbits(32)))
            key = f"{unload.prefix}{folder}{uuid.uuid4().hex}"
            may_use_objects("s3:PutObject", [f"s3://{unload.bucket}/{key}"])
            s3.put_object(Bucket=unload.bucket, Key=key, Body=_parquet(taken.take(order)))


def _partitions(rows: Any, by: tuple[str, ...]) -> Mapping[str, Any]:
    import pyarrow.compute as pc  # noqa: PLC0415 - see above

    if not by:
        return {"": rows} if rows.num_rows else {}
    found = {}
    for values in rows.select(list(by)).group_by(list(by)).aggregate([]).to_pylist():
        chosen = None
        for name, value in values.items():
            same = pc.equal(rows[name], value)
            chosen = same if chosen is None else pc.and_(chosen, same)
        folder = "".join(f"{name}={value}/" for name, value in values.items())
        found[folder] = rows.filter(chosen).drop_columns(list(by))
    return found


def _parquet(rows: Any) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - see above
    import pyarrow.parquet as pq  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _has(kind: Any, test: Callable[[Any], bool]) -> bool:
    if hasattr(kind, "value_type"):
        return _has(kind.value_type, test)
    return test(kind)


def _type(kind: Any) -> str:
    """Return Athena's name of an Arrow type."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamp with time zone"
    tests: Mapping[str, Callable[[Any], bool]] = {
        "boolean": pa.types.is_boolean,
        "tinyint": pa.types.is_int8,
        "smallint": pa.types.is_int16,
        "integer": pa.types.is_int32,
        "bigint": pa.types.is_integer,
        "float": pa.types.is_float32,
        "double": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "date": pa.types.is_date,
        "time": pa.types.is_time,
        "varbinary": pa.types.is_binary,
        "array": lambda each: pa.types.is_list(each) or pa.types.is_fixed_size_list(each),
        "map": pa.types.is_map,
        "row": pa.types.is_struct,
    }
    return next((name for name, test in tests.items() if test(kind)), "varchar")


class MissingRightError(Exception):
    """The caller lacks a permission that a query needs."""


def may_find(database: str, table: str) -> None:
    """Check that the caller may read a table of the catalog.

    Raises:
        MissingRightError: If the caller may not.
    """
    _authorize(_call("glue", "glue:GetTable", "*", {"DatabaseName": database, "Name": table}))


def may_use_catalog() -> None:
    """Check that the caller may read the database ``default``, which Athena requires for every query.

    Raises:
        MissingRightError: If the caller may not.
    """
    # claim: athena-needs-the-default-database
    _authorize(_call("glue", "glue:GetDatabase", "*", {"Name": "default"}))


def may_use_bucket(action: str, uri: str) -> None:
    """Check that the caller may list a bucket or read its location, by an S3 action and any URI in the bucket.

    Raises:
        MissingRightError: If the caller may not.
    """
    _authorize(_call("s3", action, f"arn:aws:s3:::{_path(uri).partition('/')[0]}"))


def may_use_objects(action: str, uris: Iterable[str]) -> None:
    """Check that the caller may do an S3 action with objects, and use their encryption keys.

    Raises:
        MissingRightError: If the caller may not.
    """
    for uri in uris:
        _authorize(_call("s3", action, f"arn:aws:s3:::{_path(uri)}"))


def _call(service: str, action: str, resource: str, body: dict[str, str] | None = None) -> Call:
    path = "/" + resource.removeprefix("arn:aws:s3:::")
    return Call(service, action, resource, get_region(), get_account_id(), body or {}, path if service == "s3" else "/")


def _path(uri: str) -> str:
    return uri.removeprefix("s3://")


def _authorize(call: Call) -> None:
    # claim: athena-acts-for-its-caller
    try:
        authorization.require_call(authorization.caller_key(), call)
    except authorization.AccessDeniedError as error:
        raise MissingRightError(f"Insufficient permissions to execute the query. {error}") from error
