"""Rows of a file to send to an endpoint: the columns of the live model, and an id for each row."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.aws_account import Account, UserError, shown

if TYPE_CHECKING:
    from mlops_runtime.contracts.unit_entries import EndpointEntry
    from mlops_runtime.serving.live_baseline import ModelInputs
    from mlops_runtime.serving.row_file import RowFile

EndpointAndFile = Annotated[
    list[str],
    typer.Argument(
        help="Endpoint, required if there are several, and file: .parquet, .csv with a header, or .jsonl.",
        metavar="[ENDPOINT] FILE",
    ),
]
Ids = Annotated[
    str | None,
    typer.Option(
        help="Column with the id of each row, to put labels by later. Default: rows have no ids.", metavar="COLUMN"
    ),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        help="Column to exclude. Default: columns that are not inputs of the live model, if you have access to its baseline.",
        metavar="COLUMN",
    ),
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="Column of a CSV file to read as text although its values are numbers. Default: as in the live model's inputs.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRows:
    """The rows of a file for one endpoint."""

    file: "RowFile"
    columns: tuple[str, ...]  # columns to send
    inputs: "ModelInputs | None"  # inputs of the live model; `None` if unknown
    ids: list[str] | None  # id of each row; `None` without ids

    @classmethod
    def open(
        cls,
        path: Path,
        entry: "EndpointEntry",
        aws: Account,
        *,
        ids: str | None,
        leave_out: Sequence[str] = (),
        texts: Sequence[str] = (),
        others: Sequence[str] = (),
    ) -> "SentRows":
        """Open a file's rows, and report the columns that are not sent.

        Args:
            path: The file.
            entry: Entry of the endpoint.
            aws: The account.
            ids: Column with the id of each row.
            leave_out: Columns to exclude.
            texts: Columns of a CSV file to read as text.
            others: Columns about a row, such as its time; only sent if they are inputs of the live model.

        Raises:
            UserError: If the file or a column cannot be read, the ids are invalid, or no column remains.
        """
        from mlops_runtime.labels.label_rows import LabelError, check_ids
        from mlops_runtime.serving.live_baseline import ModelInputs, live_baseline
        from mlops_runtime.serving.row_file import RowFile, RowFileError

        baseline = live_baseline(entry, aws.client)
        inputs = None if baseline is None else ModelInputs.of(baseline)
        named = [name for name in (ids, *others) if name is not None]
        with shown(RowFileError, LabelError):
            file = RowFile.open(path)
            file.require([*named, *leave_out, *texts])
            known = set(texts) if inputs is None else {*texts, *inputs.texts}
            file = RowFile.open(path, texts=[name for name in file.columns if name in known])
            chosen = set(file.columns).difference(leave_out)
            chosen = chosen.difference(named) if inputs is None else chosen.intersection(inputs.names)
            columns = tuple(name for name in file.columns if name in chosen)
            found = None if ids is None else check_ids(file.values(ids))
        if not columns:
            takes = "" if inputs is None else f"; the inputs of the live model are {', '.join(inputs.names)}"
            raise UserError(f"no column of {path.name} can be sent, it has {', '.join(file.columns)}{takes}")
        unused = [name for name in file.columns if name not in (*chosen, *named, *leave_out)]
        if unused:
            print(f"not sent: {', '.join(unused)}", file=sys.stderr)
        return cls(file=file, columns=columns, inputs=inputs, ids=found)

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield the rows to send."""
        for piece in self.file.pieces(self.columns):
            for row in piece:
                yield row if self.inputs is None else self.inputs.fit(row)
