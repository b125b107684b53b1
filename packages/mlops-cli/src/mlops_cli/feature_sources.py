"""Row sources of ``mlops features`` verbs: many files, or the result of an Athena query."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from mlops_cli.aws_account import UserError
from mlops_cli.feature_location import Place

if TYPE_CHECKING:
    from mlops_runtime.features.row_files import Format, RowSource
    from mlops_runtime.features.source_ingest import IngestedSource

Query = Annotated[
    str | None, typer.Option(metavar="SQL|@FILE", help="Athena query whose rows are read instead of files.")
]
Workgroup = Annotated[str, typer.Option(help="Athena workgroup for --query.")]
Results = Annotated[
    str | None,
    typer.Option("--output", metavar="s3://...", help="Result location of --query. Default: the workgroup's."),
]
Kind = Annotated[
    str | None,
    typer.Option("--format", metavar="parquet|csv|jsonl", help="Format of the files. Default: from their extensions."),
]

_TEXTS = (".csv", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowArguments:
    """Arguments of a verb that name its rows."""

    place: str | None
    query: str | None
    workgroup: str
    output: str | None
    kind: str | None

    def is_source(self, option: str) -> bool:
        """Return whether the rows, from the argument of this name, are read from a source other than one local Parquet file.

        Raises:
            UserError: If neither or both of ``place`` and ``query`` are given, or an option that does not apply.
        """
        if (self.place is None) == (self.query is None):
            raise UserError(f"give either {option} or --query: files of rows, or an Athena query")
        if self.query is None and self.output is not None:
            raise UserError("--output is the result location of --query; give both, or omit it")
        if self.query is not None and self.kind is not None:
            raise UserError("--format is the format of files; omit it with --query")
        if self.query is not None or self.kind is not None or str(self.place).startswith("s3://"):
            return True
        return Path(str(self.place)).is_dir() or str(self.place).removesuffix(".gz").endswith(_TEXTS)

    def source(self, place: Place) -> "RowSource":
        """Return the source, read with the clients of the store's account, or with the default ones for a local store."""
        from mlops_runtime.features.athena_query import AthenaQuery
        from mlops_runtime.features.row_files import RowFiles

        if self.query is None:
            is_remote = str(self.place).startswith("s3://")
            kind = cast("Format | None", self.kind)
            return RowFiles(str(self.place), format=kind, s3=_client(place, "s3") if is_remote else None)
        database = None if place.entry is None else place.entry.database
        return AthenaQuery(
            _text(self.query),
            athena=_client(place, "athena"),
            s3=_client(place, "s3"),
            workgroup=self.workgroup,
            database=database,
            output=self.output,
        )


def loaded_text(done: "IngestedSource") -> str:
    """Return a one-line summary of an ingest from a source."""
    known = f", {done.known:,} of them ingested before" * bool(done.known)
    again = f", {done.duplicates:,} of them ingested before" * bool(done.duplicates)
    repeated = f", {done.repeated:,} duplicate rows left out" * bool(done.repeated)
    return (
        f"{done.table}: {done.rows:,} rows of {done.files:,} files{known}, in {done.pieces:,} pieces{again}{repeated}"
    )


def _client(place: Place, service: str) -> Any:
    if place.aws is not None:
        return place.aws.client(service)
    import boto3

    return boto3.client(cast("Any", service))


def _text(query: str) -> str:
    if not query.startswith("@"):
        return query
    try:
        return Path(query[1:]).read_text()
    except OSError as error:
        raise UserError(f"--query @FILE cannot be read: {error.strerror}: {query[1:]}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--query @FILE must be text in UTF-8: {query[1:]}") from error
