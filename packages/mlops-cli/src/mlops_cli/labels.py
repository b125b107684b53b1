"""``mlops labels``: upload ground-truth labels of predictions for the monitors."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, answer, optional_first
from mlops_cli.aws_account import Profile, account, shown
from mlops_cli.local import Home
from mlops_cli.local_clock import moment
from mlops_cli.sent_rows import EndpointAndFile, Texts
from mlops_runtime.business_unit.deployed_entries import Entries

if TYPE_CHECKING:
    from mlops_runtime.labels.label_upload import LabelUpload

app = typer.Typer(help="Upload ground-truth labels of predictions.", no_args_is_help=True)


@app.callback()
def labels() -> None:
    """Keep ``put`` a subcommand although it is the only one."""


@app.command()
def put(
    names: EndpointAndFile,
    *,
    ids: Annotated[str, typer.Option(help="Column with the ids that the rows were sent with.", metavar="COLUMN")],
    value: Annotated[
        list[str],
        typer.Option(
            help="Column with the labels; repeat it for each output of the model, in their order.", metavar="COLUMN"
        ),
    ],
    time: Annotated[
        str | None,
        typer.Option(
            help="Column with the time at which a label became known; the newest label of an id counts. Default: one label per id.",
            metavar="COLUMN",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="Oldest call to accept labels for. Default: 35 days ago.", metavar="TIME"),
    ] = None,
    text: Texts = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Upload labels by id for the monitors. Existing labels are not written again; all problems are reported at once."""
    from mlops_runtime.labels.label_rows import LabelError
    from mlops_runtime.labels.label_upload import upload_labels
    from mlops_runtime.serving.row_file import RowFile, RowFileError

    endpoint, path = optional_first(names, "[ENDPOINT] FILE")
    oldest = None if since is None else moment(since)
    with account(profile, home) as aws, shown(LabelError, RowFileError):
        columns = list(dict.fromkeys([ids, *value, *([] if time is None else [time])]))
        file = RowFile.open(Path(path), texts=text or ())
        found: dict[str, list[object]] = {name: [] for name in columns}
        for piece in file.pieces(columns):
            for name in columns:
                found[name] += [row[name] for row in piece]
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        _, now = aws.caller()
        done = upload_labels(
            entry,
            client=aws.client,
            ids=found[ids],
            values=[found[name] for name in value],
            times=None if time is None else found[time],
            now=now,
            since=oldest,
        )
    answer({"endpoint": entry.endpoint, **asdict(done)}, _sentences(entry.endpoint, done, now), as_json=as_json)


def _sentences(endpoint: str, done: "LabelUpload", now: datetime) -> str:
    lines = [
        f"{endpoint}: {done.added} labels added, {done.replaced} replaced, {done.unchanged} unchanged, "
        f"of {done.rows} rows, in the hour {now:%Y-%m-%dT%H}"
    ]
    if done.older:
        lines.append(
            f"{done.older} labels are older than the stored ones, which were kept; to replace these, put the rows without --time"
        )
    if done.nulls:
        lines.append(f"{done.nulls} rows have no label yet")
    if done.repeated:
        lines.append(f"{done.repeated} rows repeat the id of another row")
    if done.unknown:
        lines.append(
            f"{done.unknown} ids match no captured call and were skipped ({', '.join(done.examples)}); captures arrive minutes "
            "after their calls: put the file again later"
        )
    if done.unchecked:
        lines.append(
            f"{done.unchecked} ids were used as inference ids unchecked, because this caller has no read access to captures"
        )
    return "\n".join(lines)
