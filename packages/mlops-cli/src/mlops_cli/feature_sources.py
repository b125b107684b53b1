"""Rows that a verb of ``mlops features`` reads from elsewhere: many files, or what a query of Athena answers."""

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
    str | None,
    typer.Option(
        metavar="SQL|@FILE", help="Query of Athena whose rows are read, instead of files.", show_default=False
    ),
]
Workgroup = Annotated[str, typer.Option(help="Athena's workgroup, for --query.")]
Results = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="s3://...", help="Results of --query. Default: the workgroup's place.", show_default=False
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="parquet|csv|jsonl",
        help="Kind of the files. Default: what their names end in.",
        show_default=False,
    ),
]

_TEXTS = (".csv", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsAsked:
    """Where rows are said to lie: the arguments of a verb."""

    place: str | None
    query: str | None
    workgroup: str
    output: str | None
    kind: str | None

    def is_source(self, option: str) -> bool:
        """Return whether it is more than one Parquet file.

        Args:
            option: What names the place.

        Raises:
            UserError: If neither or both of place and query are given, or options that do not go with them.
        """
        if (self.place is None) == (self.query is None):
            raise UserError(f"give {option} or --query: files of rows, or a query of Athena")
        if self.query is None and self.output is not None:
            raise UserError("--output is the place of results of --query; give both, or leave it out")
        if self.query is not None and self.kind is not None:
            raise UserError("--format says what files are; a query needs none")
        if self.query is not None or self.kind is not None or str(self.place).startswith("s3://"):
            return True
        return Path(str(self.place)).is_dir() or str(self.place).removesuffix(".gz").endswith(_TEXTS)

    def source(self, place: Place) -> "RowSource":
        """Return the rows, read with the clients of a store's account, or with this machine's for a store in a folder."""
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
    """Return what an ingest of a source did, in a line."""
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
