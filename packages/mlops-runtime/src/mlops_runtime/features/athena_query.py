"""Results of an Athena query as a source of rows: unloaded as Parquet files, read, and removed afterwards.

UNLOAD does not support times with a zone and rounds others to milliseconds, so times travel as microseconds since 1970. It requires
a prefix without objects and leaves partial files when a query fails. The prefix is derived from the query, so a retry after a crash
finds the files of the previous run and ingests the same rows.

See: https://docs.aws.amazon.com/athena/latest/ug/unload.html
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from mlops_runtime.features.access_errors import SourceError, allow, refusals
from mlops_runtime.features.athena_runs import AthenaError, AthenaRuns, quoted
from mlops_runtime.features.row_files import OpenRows, RowFiles
from mlops_runtime.features.training_set_manifest import Objects

_ROWS, _DONE = "rows/", "done.json"
_REFUSED = ("time", "json", "map", "row", "interval", "ipaddress", "uuid", "hyperloglog")


class AthenaQuery:
    """The rows of an Athena query, as a source for ``ingest_from`` and ``training_set``.

    Args:
        sql: A ``select`` or ``with`` query. Times with a zone are exact to the microsecond until 2099.
        athena: A boto3 client of Athena. Its caller needs to run queries in the workgroup, read the queried tables, and read, write
            and delete objects below the output location.
        s3: A boto3 client of S3.
        workgroup: The workgroup. Default: ``primary``.
        database: The database of unqualified table names. Default: Athena's.
        output: ``s3://`` output location. Default: the workgroup's.

    Raises:
        SourceError: If the query or a client is missing.

    Example:
        >>> rows = AthenaQuery(  # doctest: +SKIP
        ...     "select store_id, sold_at as event_time, loaded_at as created_time, units from raw.sales",
        ...     athena=boto3.client("athena"), s3=boto3.client("s3"), output="s3://demand-scratch/queries")
        >>> store.ingest_from(SALES, rows, backfill=True)  # doctest: +SKIP
    """

    def __init__(
        self,
        sql: str,
        *,
        athena: Any,
        s3: Any,
        workgroup: str = "primary",
        database: str | None = None,
        output: str | None = None,
    ) -> None:
        problems = []
        if not isinstance(sql, str) or not sql.strip().rstrip(";").strip():
            problems.append(f"sql must be a query, got {sql!r}")
        problems += [
            f"a query needs a boto3 client of {name}: pass {argument}="
            for name, argument, client in (("Athena", "athena", athena), ("S3", "s3", s3))
            if client is None
        ]
        if problems:
            raise SourceError("; ".join(problems), problems)
        self._sql, self._s3 = sql.strip().rstrip(";").strip(), s3
        self._runs = AthenaRuns(athena, workgroup=workgroup, database=database, output=output)
        self._identity = {"sql": self._sql, "workgroup": workgroup, "database": database}

    @contextmanager
    def opened(self) -> Iterator[OpenRows]:
        """Run the query, or reuse the files of an earlier run; yield the files and remove them unless the block fails.

        Raises:
            AthenaError: If the workgroup rejects the query, it fails, or UNLOAD does not support the type of a column.
            SourceAccessError: If access is denied.
        """
        digest = hashlib.sha256(json.dumps(self._identity, sort_keys=True).encode()).hexdigest()[:32]
        place = f"{self._runs.place()}/mlops-queries/{digest}"
        objects = Objects(place, s3=self._s3)
        with _touching(place):
            left = objects.get(_DONE)
            if left is None:
                remove_all(objects)
        columns = self._unloaded(f"{place}/{_ROWS}", objects) if left is None else json.loads(left)
        yield OpenRows(files=RowFiles(f"{place}/{_ROWS}", format="parquet", s3=self._s3), times=_times(columns))
        with _touching(place):
            remove_all(objects)

    def _unloaded(self, target: str, objects: Objects) -> dict[str, str]:
        columns = self._runs.columns(self._sql)
        problems = [
            f"column {name!r} is {kind}, which UNLOAD does not support; cast it in the query"
            for name, kind in columns.items()
            if kind.split("(")[0] in _REFUSED and _time(kind) is None
        ]
        if problems:
            raise AthenaError("; ".join(problems), problems)
        shown = ", ".join(_shown(name, kind) for name, kind in columns.items())
        try:
            query = f"select {shown} from ({self._sql}) as requested"  # noqa: S608 - the caller's own query
            self._runs.run(unload(query, target))
        except BaseException:
            remove_all(objects)
            raise
        with _touching(str(objects)):
            if not objects.keys(_ROWS):
                raise AthenaError(f"the query returned no rows: {self._sql}")
            objects.put_once(_DONE, json.dumps(columns).encode())
        return columns


def unload(query: str, target: str, *, by: str | None = None) -> str:
    """Return the statement that unloads a query to a prefix without objects, partitioned by its last column if that is named."""
    options = ["format = 'PARQUET'", "compression = 'ZSTD'"]
    if by is not None:
        options.append(f"partitioned_by = array['{by}']")
    return f"unload ({query}) to '{target.rstrip('/')}/' with ({', '.join(options)})"


def microseconds(value: str) -> str:
    """Return the SQL expression that converts a time to microseconds since 1970, exact until 2099."""
    return f"cast(round(to_unixtime({value}) * 1e6) as bigint)"


def remove_all(objects: Objects) -> None:
    """Remove all objects below a prefix, the marker of completeness first."""
    keys = objects.keys("")
    for key in sorted(keys, key=lambda each: each != _DONE):
        objects.erase(key)


def _touching(place: str) -> Any:
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    actions = (
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
    )
    resources = (f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/{prefix}/*")
    return refusals(
        f"using {place}", allow(actions, *resources), NoSuchBucket=f"there is no bucket {bucket} for the results"
    )


def _shown(name: str, kind: str) -> str:
    column = quoted(name)
    if _time(kind) is None:
        return column
    zoned = column if "zone" in kind else f"with_timezone({column}, 'UTC')"
    return f"{microseconds(zoned)} as {column}"


def _time(kind: str) -> pa.TimestampType | None:
    """Return the type of a column that travels as microseconds."""
    if not kind.startswith("timestamp"):
        return None
    return pa.timestamp("us", "UTC" if "zone" in kind else None)


def _times(columns: Mapping[str, str]) -> Mapping[str, pa.TimestampType]:
    return {name: time for name, kind in columns.items() if (time := _time(kind)) is not None}
