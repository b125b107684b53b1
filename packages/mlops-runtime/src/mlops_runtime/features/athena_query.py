"""Rows that a query of Athena answers, written by UNLOAD as Parquet files, read as those are, and removed in the end.

UNLOAD writes no times with a zone and rounds others to milliseconds: they travel as microseconds since 1970. It needs a place
without objects, and leaves what a failed query has written. The place is made of the query, so a run that is repeated after a crash
finds what was unloaded before, and ingests the very same rows.

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
    """The rows of a query: what ``ingest_from`` and ``training_set`` take.

    Args:
        sql: A query: ``select`` or ``with``. Its times with a zone are exact to the microsecond until 2099.
        athena: A boto3 client of Athena. Its caller may run queries in the workgroup, read what they read, and read, write and
            remove objects below the place of results.
        s3: A boto3 client of S3.
        workgroup: The workgroup. Default: ``primary``.
        database: The database of tables that are named without one. Default: Athena's.
        output: ``s3://`` place of results. Default: the workgroup's.

    Raises:
        SourceError: If there is no query or no client.

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
        self._asked = {"sql": self._sql, "workgroup": workgroup, "database": database}

    @contextmanager
    def opened(self) -> Iterator[OpenRows]:
        """Run the query, unless an earlier run has left what it answered; give its files, and remove them when all went well.

        Raises:
            AthenaError: If the workgroup does not let it run, it fails, or a column has a type that files do not hold.
            SourceAccessError: If the caller may not.
        """
        digest = hashlib.sha256(json.dumps(self._asked, sort_keys=True).encode()).hexdigest()[:32]
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
            f"column {name!r} is {kind}, which Athena unloads into no file; cast it in the query"
            for name, kind in columns.items()
            if kind.split("(")[0] in _REFUSED and _time(kind) is None
        ]
        if problems:
            raise AthenaError("; ".join(problems), problems)
        shown = ", ".join(_shown(name, kind) for name, kind in columns.items())
        try:
            query = f"select {shown} from ({self._sql}) as asked"  # noqa: S608 - the caller's own query
            self._runs.run(unload(query, target))
        except BaseException:
            remove_all(objects)
            raise
        with _touching(str(objects)):
            if not objects.keys(_ROWS):
                raise AthenaError(f"the query answers no rows: {self._sql}")
            objects.put_once(_DONE, json.dumps(columns).encode())
        return columns


def unload(query: str, target: str, *, by: str | None = None) -> str:
    """Return the statement that writes what a query answers.

    Args:
        query: The query.
        target: ``s3://`` place without objects.
        by: The last column of the query, a folder for each of whose values is made.
    """
    options = ["format = 'PARQUET'", "compression = 'ZSTD'"]
    if by is not None:
        options.append(f"partitioned_by = array['{by}']")
    return f"unload ({query}) to '{target.rstrip('/')}/' with ({', '.join(options)})"


def microseconds(value: str) -> str:
    """Return the expression for a time as microseconds since 1970, exact until 2099."""
    return f"cast(round(to_unixtime({value}) * 1e6) as bigint)"


def remove_all(objects: Objects) -> None:
    """Remove all objects below a place, first the mark that none is missing."""
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
