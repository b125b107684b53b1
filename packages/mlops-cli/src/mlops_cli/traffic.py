"""``mlops traffic replay``: send rows at their own times, and upload their labels when they are due."""

import hashlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, answer, optional_first
from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.local_clock import moment, moved, span
from mlops_cli.sent_rows import EndpointAndFile, Ids, LeaveOut, SentRows, Texts
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.unit_entries import EndpointEntry

if TYPE_CHECKING:
    from mlops_runtime.labels.label_upload import LabelUpload
    from mlops_runtime.serving.row_calls import AnsweredCall
    from mlops_runtime.serving.traffic_replay import PutLabels, ReplayCounts, RowsOfHour

app = typer.Typer(help="Send rows to an endpoint as traffic.", no_args_is_help=True)

# a jump waits for the work that it triggers, such as retrainings; that of a whole day could exceed the call's timeout
_STRIDE = timedelta(hours=6)
_PROGRESS_SECONDS = 1.0  # between lines of progress


class InterruptedReplayError(UserError):
    """The user interrupted a replay between two calls; the message has the time to continue from."""

    code = 130


@app.callback()
def traffic() -> None:
    """Keep ``replay`` a subcommand although it is the only one."""


@app.command()
def replay(
    names: EndpointAndFile,
    *,
    time_column: Annotated[str, typer.Option("--time", help="Column with the time of a row.", metavar="COLUMN")],
    ids: Ids = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            help="Column with a row's label, uploaded when it is due; repeat it for each output of the model. Default: no labels.",
            metavar="COLUMN",
        ),
    ] = None,
    label_delay: Annotated[
        str, typer.Option(help="Delay of a label after its row, in whole hours.", metavar="SPAN")
    ] = "1d",
    now: Annotated[
        bool, typer.Option("--now", help="Send all rows now, in the order of their times. Required on AWS.")
    ] = False,
    shift: Annotated[
        bool, typer.Option("--shift", help="Shift the rows by whole weeks, so that the first is not in the past.")
    ] = False,
    speed: Annotated[
        float | None,
        typer.Option(
            help="Seconds of the rows' time per real second. Default: as fast as the endpoint responds.", min=0.001
        ),
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Skip rows before this time.", metavar="TIME")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Skip rows from this time on.", metavar="TIME")] = None,
    leave_out: LeaveOut = None,
    text: Texts = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Send rows at their own times: the embedded cloud's clock advances hour by hour, and schedules that become due run."""
    from mlops_runtime.labels.label_rows import LabelError
    from mlops_runtime.serving.endpoint_client import EndpointError, PersonalDataError
    from mlops_runtime.serving.row_calls import RowCalls
    from mlops_runtime.serving.traffic_replay import ReplayCounts, ReplayError, plan_hours, shifted

    endpoint, file = optional_first(names, "[ENDPOINT] FILE")
    delay, path = span(label_delay), Path(file)
    if delay % timedelta(hours=1):
        raise typer.BadParameter(f"--label-delay must be whole hours, got {label_delay}")
    times = [None if each is None else moment(each) for each in (since, until)]
    counts = ReplayCounts()
    with account(profile, home) as aws, shown(ReplayError, LabelError, EndpointError, PersonalDataError):
        is_moved = not now
        if is_moved and not aws.has_movable_clock():
            raise UserError(
                "rows are sent at their own times only on the embedded cloud, which has a movable clock; add --now to send them now"
            )
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        others = [time_column, *(labels or [])]
        sent = SentRows.open(path, entry, aws, ids=ids, leave_out=leave_out or [], texts=text or [], others=others)
        of_file = plan_hours(sent.file.values(time_column), since=times[0], until=times[1])
        hours = shifted(of_file, aws.caller()[1]) if shift else of_file
        moved(hours[-1].hour + timedelta(hours=1), delay, option="--label-delay")
        try:
            with_ids = ids if ids is not None else "" if labels else None
            if with_ids is not None:
                RowCalls(entry, client=aws.client, now=lambda: aws.caller()[1]).check_ids(with_ids)
            _run(counts, hours, sent, entry, aws, labels=labels or [], delay=delay, is_moved=is_moved, speed=speed)
        except KeyboardInterrupt:
            resume = _resume(counts, hours[0].hour - of_file[0].hour)
            raise InterruptedReplayError(resume, document=_document(entry.endpoint, counts)) from None
        except (ReplayError, LabelError) as error:
            raise UserError(str(error), document=_document(entry.endpoint, counts)) from error
    answer(_document(entry.endpoint, counts), _sentences(entry.endpoint, counts), as_json=as_json)


def _run(
    counts: "ReplayCounts",
    hours: "Sequence[RowsOfHour]",
    sent: SentRows,
    entry: EndpointEntry,
    aws: Account,
    *,
    labels: Sequence[str],
    delay: timedelta,
    is_moved: bool,
    speed: float | None,
) -> None:
    """Replay the rows, and report progress on standard error."""
    from mlops_runtime.serving.row_calls import RowCalls
    from mlops_runtime.serving.traffic_replay import TrafficReplay

    clock = _CloudClock(aws)
    calls, rows = RowCalls(entry, client=aws.client, now=clock.now), list(sent.rows())
    ids = _generated_ids(sent.file.path, len(rows)) if labels and sent.ids is None else sent.ids

    def send(part: Iterable[Mapping[str, object]], names: Sequence[str] | None, first: int) -> "Iterator[AnsweredCall]":
        return calls.send(part, names, first=first)

    printed, total = 0.0, sum(len(each.rows) for each in hours)
    for _ in TrafficReplay(
        hours=hours,
        rows=rows,
        send=send,
        clock=clock,
        is_moved=is_moved,
        wait=time.sleep,
        real=time.monotonic,
        ids=ids,
        labels=[sent.file.values(name) for name in labels],
        put=_label_feed(entry, aws, clock) if labels else None,
        delay=delay,
        speed=speed,
    ).run(counts):
        if time.monotonic() - printed >= _PROGRESS_SECONDS:
            printed = time.monotonic()
            print(f"{counts.hour:%Y-%m-%dT%H}: {counts.rows} of {total} rows", file=sys.stderr)


class _CloudClock:
    """Clock of the embedded cloud."""

    def __init__(self, aws: Account) -> None:
        self._aws = aws

    def now(self) -> datetime:
        return self._aws.caller()[1]

    def move(self, to: datetime) -> None:
        while (at := self._aws.caller()[1] + _STRIDE) < to:
            self._aws.move_clock(at)
        self._aws.move_clock(to)


def _label_feed(entry: EndpointEntry, aws: Account, clock: _CloudClock) -> "PutLabels":
    """Return a function that uploads labels; its uploads share a store, which caches objects."""
    from mlops_runtime.labels.label_upload import LabelStore, upload_labels

    store = LabelStore(aws.client("s3"), bucket=str(entry.capture_bucket), endpoint=entry.endpoint)

    def put(ids: Sequence[str], values: Sequence[Sequence[object]], since: datetime, until: datetime) -> "LabelUpload":
        return upload_labels(
            entry, client=aws.client, ids=ids, values=values, now=clock.now(), since=since, until=until, store=store
        )

    return put


def _generated_ids(path: Path, rows: int) -> list[str]:
    """Return ids for rows without ids, derived from the file's content."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [f"{digest[:16]}-{row}" for row in range(1, rows + 1)]


def _document(endpoint: str, counts: "ReplayCounts") -> dict[str, Any]:
    return {"endpoint": endpoint, **asdict(counts)}


def _resume(counts: "ReplayCounts", moved: timedelta) -> str:
    """Return the message about continuing an interrupted replay, in the rows' own time."""
    if counts.hour is None:
        return f"interrupted after {counts.rows} rows, in the first hour; run it again"
    hour = counts.hour - moved
    return (
        f"interrupted after {counts.rows} rows, the last complete hour is {hour:%Y-%m-%dT%H}; to continue, use the same options "
        f"and --from {hour + timedelta(hours=1):%Y-%m-%dT%H}; upload the labels of sent rows with mlops labels put"
    )


def _sentences(endpoint: str, counts: "ReplayCounts") -> str:
    lines = [f"{endpoint}: {counts.rows} rows in {counts.calls} calls"]
    lines += [
        f"{status}: {rows} rows" + (f" ({counts.problems[status]})" if status in counts.problems else "")
        for status, rows in sorted(counts.answers.items())
    ]
    if counts.labels_added or counts.labels_replaced or counts.labels_unchanged or counts.labels_unknown:
        lines.append(
            f"labels: {counts.labels_added} added, {counts.labels_replaced} replaced, {counts.labels_unchanged} unchanged, "
            f"{counts.labels_unknown} without a call"
        )
    return "\n".join(lines)
