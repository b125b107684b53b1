"""``mlops labels``: bring what became known of predictions to the monitors."""

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

if TYPE_CHECKING:
    from mlops_runtime.labels.label_upload import LabelUpload

app = typer.Typer(help="Bring labels: what became known of predictions.", no_args_is_help=True)


@app.callback()
def labels() -> None:
    """Keep ``put`` a sub-command, so that later verbs find room beside it."""


@app.command()
def put(
    names: EndpointAndFile,
    *,
    ids: Annotated[str, typer.Option(help="Column with the ids that the rows were sent with.", metavar="COLUMN")],
    value: Annotated[
        list[str],
        typer.Option(
            help="Column with the labels; of a model of several outputs one for each, in their order.", metavar="COLUMN"
        ),
    ],
    time: Annotated[
        str | None,
        typer.Option(
            help="Column that says when a label became known: the newest of an id counts. Default: an id has one label.",
            metavar="COLUMN",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Oldest call that labels may be for. Default: 35 days ago.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    text: Texts = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Upload labels by id, as monitors read them. What is there already is not written again; all problems are reported at once."""
    from mlops_runtime.business_unit.deployed_entries import Entries
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
            f"{done.older} labels became known before those that are there, which stay; to replace them, put "
            "the rows without --time"
        )
    if done.nulls:
        lines.append(f"{done.nulls} rows have no label yet")
    if done.repeated:
        lines.append(f"{done.repeated} rows repeat the id of another one")
    if done.unknown:
        lines.append(
            f"{done.unknown} ids are of no captured call and are left out ({', '.join(done.examples)}); captures come minutes "
            "after their calls: put the file again later"
        )
    if done.unchecked:
        lines.append(
            f"{done.unchecked} ids were taken as inference ids without a check, since this caller may not read captures"
        )
    return "\n".join(lines)
