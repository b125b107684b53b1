"""Rows of a file as an endpoint takes them: the live model's columns, and an id a row."""

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
        help="Endpoint, needed where there are several, and file: .parquet, .csv with a header, or .jsonl.",
        metavar="[ENDPOINT] FILE",
        show_default=False,
    ),
]
Ids = Annotated[
    str | None,
    typer.Option(
        help="Column with an id a row, by which labels can be put. Default: rows have none.",
        metavar="COLUMN",
        show_default=False,
    ),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        help="Column that is not sent. Default: what the live model does not take, if you may read its baseline.",
        metavar="COLUMN",
        show_default=False,
    ),
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="COLUMN",
        help="Column of a CSV that is text although its values are numbers. Default: as the live model takes it.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRows:
    """The rows of a file for one endpoint.

    Args:
        file: The file.
        columns: Columns that are sent.
        inputs: What the live model takes; None where that is not known.
        ids: Id a row; None without.
    """

    file: "RowFile"
    columns: tuple[str, ...]
    inputs: "ModelInputs | None"
    ids: list[str] | None

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
        """Return a file's rows, and report the columns that are not sent.

        Args:
            path: The file.
            entry: What the endpoint's stack published.
            aws: The account.
            ids: Column with an id a row.
            leave_out: Columns that are not sent.
            texts: Columns of a CSV that are texts.
            others: Columns that say something about a row, as its time: sent only if the live model takes them.

        Raises:
            UserError: If the file or a column cannot be read, the ids are not ids, or no column is left.
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
            takes = "" if inputs is None else f"; the live model takes {', '.join(inputs.names)}"
            raise UserError(f"no column of {path.name} can be sent, it has {', '.join(file.columns)}{takes}")
        unused = [name for name in file.columns if name not in (*chosen, *named, *leave_out)]
        if unused:
            print(f"not sent: {', '.join(unused)}", file=sys.stderr)
        return cls(file=file, columns=columns, inputs=inputs, ids=found)

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield the rows as they are sent."""
        for piece in self.file.pieces(self.columns):
            for row in piece:
                yield row if self.inputs is None else self.inputs.fit(row)
