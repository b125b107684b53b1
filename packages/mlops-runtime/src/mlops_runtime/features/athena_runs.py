"""Runs of Athena queries: check the workgroup, wait for the end, and raise failures with Athena's reason."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_runtime.features.access_errors import SourceError, allow, refusals

# https://docs.aws.amazon.com/athena/latest/ug/service-limits.html
MAX_STATEMENT = 262_144
# permissions that a caller needs for Athena; UNLOAD and results also need S3
ACTIONS = (
    "athena:StartQueryExecution",
    "athena:GetQueryExecution",
    "athena:GetQueryResults",
    "athena:StopQueryExecution",
    "athena:GetWorkGroup",
)
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
_LONGEST_PAUSE = 5.0
_STOPPING = 60


class AthenaError(SourceError):
    """Athena rejected a query, or it did not succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A query that succeeded: its id and engine version."""

    id: str
    engine: str


class AthenaRuns:
    """Run queries in a workgroup.

    Args:
        athena: A boto3 client of Athena.
        workgroup: The workgroup. Default: ``primary``.
        database: The database of unqualified table names. Default: Athena's.
        output: ``s3://`` output location. Default: the workgroup's.
        pause: Waits for a number of seconds.

    Raises:
        AthenaError: If the output location is not in S3.
    """

    def __init__(
        self,
        athena: Any,
        *,
        workgroup: str = "primary",
        database: str | None = None,
        output: str | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        if output is not None and (not isinstance(output, str) or not output.startswith("s3://")):
            raise AthenaError(f"output must be s3://bucket/prefix, got {output!r}")
        self._athena, self._workgroup, self._database, self._pause = athena, workgroup, database, pause
        self._output = None if output is None else output.rstrip("/")

    def place(self) -> str:
        """Return the output location: the workgroup's if it enforces one.

        Raises:
            AthenaError: If the workgroup is missing or disabled, has no output location, or enforces another; with every problem.
            SourceAccessError: If access is denied.
        """
        with self._access_errors(f"reading workgroup {self._workgroup}"):
            found = self._athena.get_work_group(WorkGroup=self._workgroup)["WorkGroup"]
        configured: Mapping[str, Any] = found.get("Configuration", {})
        own = str(configured.get("ResultConfiguration", {}).get("OutputLocation") or "").rstrip("/")
        problems = []
        if found.get("State") == "DISABLED":
            problems.append(f"workgroup {self._workgroup} is disabled; enable it, or name another")
        if configured.get("EnforceWorkGroupConfiguration") and self._output not in (None, own):
            problems.append(
                f"workgroup {self._workgroup} enforces its output location, {own or 'none'}; omit output=, got "
                f"{self._output}"
            )
        elif not own and self._output is None:
            problems.append(
                f"workgroup {self._workgroup} has no output location; pass one: output='s3://bucket/prefix'"
            )
        if problems:
            raise AthenaError("; ".join(problems), problems)
        return self._output or own

    def run(self, statement: str) -> Ended:
        """Run a statement and wait for its end; an interrupted wait also stops the query.

        Raises:
            AthenaError: If the statement exceeds Athena's maximum length, is rejected, or does not succeed; with Athena's reason.
            SourceAccessError: If access is denied.
        """
        size = len(statement.encode())
        if size > MAX_STATEMENT:
            raise AthenaError(f"an Athena statement has at most {MAX_STATEMENT:,} bytes, this one has {size:,}")
        request: dict[str, object] = {"QueryString": statement, "WorkGroup": self._workgroup}
        if self._database is not None:
            request["QueryExecutionContext"] = {"Database": self._database}
        if self._output is not None:
            request["ResultConfiguration"] = {"OutputLocation": f"{self._output}/"}
        with self._access_errors("running an Athena query"):
            run = self._athena.start_query_execution(**request)["QueryExecutionId"]
        return self._ended(run)

    def columns(self, query: str) -> dict[str, str]:
        """Return the Athena types of a query's columns, by name, without reading rows.

        Raises:
            AthenaError: As for ``run``, and if columns are unnamed or share a name.
        """
        run = self.run(f"select * from ({query}) as requested limit 0").id  # noqa: S608 - the caller's own query
        with self._access_errors("reading the columns of a query"):
            answer = self._athena.get_query_results(QueryExecutionId=run, MaxResults=1)
        found = answer["ResultSet"]["ResultSetMetadata"]["ColumnInfo"]
        names = [each["Name"] for each in found]
        problems = [
            f"column {i + 1} of the query has no name; give it one with as" for i, n in enumerate(names) if not n
        ]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems += [f"the query has {names.count(name)} columns {name!r}; give each its own name" for name in twice]
        if problems:
            raise AthenaError("; ".join(problems), problems)
        return {each["Name"]: _type(each) for each in found}

    def _ended(self, run: str) -> Ended:
        pause = 0.2
        try:
            while True:
                with self._access_errors(f"reading the state of query {run}"):
                    found = self._athena.get_query_execution(QueryExecutionId=run)["QueryExecution"]
                state = found["Status"]["State"]
                if state in _ENDED:
                    break
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        except BaseException:
            self._stop(run)
            raise
        if state != "SUCCEEDED":
            reason = found["Status"].get("StateChangeReason") or "Athena gave no reason"
            raise AthenaError(f"query {run} ended {state}: {reason}")
        return Ended(id=run, engine=str(found.get("EngineVersion", {}).get("EffectiveEngineVersion", "unknown")))

    def _stop(self, run: str) -> None:
        """Stop a query and wait for its end, because it may write until then."""
        self._athena.stop_query_execution(QueryExecutionId=run)
        for _ in range(_STOPPING):
            found = self._athena.get_query_execution(QueryExecutionId=run)["QueryExecution"]
            if found["Status"]["State"] in _ENDED:
                return
            self._pause(1.0)

    def _access_errors(self, what: str) -> Any:
        arn = f"arn:aws:athena:*:*:workgroup/{self._workgroup}"
        return refusals(
            what,
            allow(ACTIONS, arn),
            InvalidRequestException=(
                f"Athena rejected the request in workgroup {self._workgroup}: check that it exists and has an output location"
            ),
        )


def quoted(name: str) -> str:
    """Return a quoted SQL identifier.

    Example:
        >>> quoted("units")
        '"units"'
    """
    return '"' + name.replace('"', '""') + '"'


def _type(column: Mapping[str, Any]) -> str:
    kind = str(column["Type"])
    return f"decimal({column['Precision']},{column['Scale']})" if kind == "decimal" else kind
