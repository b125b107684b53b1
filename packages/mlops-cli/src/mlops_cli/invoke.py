"""``mlops invoke``: invoke an endpoint with one request or with the rows of a file."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, optional_first, print_json
from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_cli.sent_rows import Ids, LeaveOut, SentRows, Texts
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts.unit_entries import EndpointEntry

if TYPE_CHECKING:
    from mlops_runtime.serving.row_calls import AnsweredCall

_TYPES = {".csv": "text/csv", ".json": "application/json"}


def invoke(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Endpoint, required if there are several, and file: rows as .parquet, .csv with a header or .jsonl; a request as "
            ".json or .csv without a header; or - for a request on standard input.",
            metavar="[ENDPOINT] FILE",
        ),
    ],
    *,
    ids: Ids = None,
    leave_out: LeaveOut = None,
    text: Texts = None,
    content_type: Annotated[
        str | None,
        typer.Option(
            help="Send the file unchanged with this content type. Default: rows are sent as JSON; for a request by its extension, "
            "application/json for -."
        ),
    ] = None,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Print an endpoint's predictions, one per row. Rows are sent in calls of at most 2,000 rows and 4 MB.

    Personal fields are hashed or removed before sending.
    """
    from mlops_runtime.serving.endpoint_client import EndpointClient, EndpointError, PersonalDataError

    endpoint, file = optional_first(names, "[ENDPOINT] FILE")
    is_rows = content_type is None and _has_rows(file)
    if not is_rows:
        if ids is not None or leave_out or text:
            raise typer.BadParameter(
                "--ids, --leave-out and --text are for rows: a .parquet, a .csv with a header, or a .jsonl"
            )
        body, kind = _body(file), _content_type(file) if content_type is None else content_type
    with account(profile, home) as aws, shown(EndpointError, PersonalDataError):
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        if is_rows:
            _send_rows(entry, aws, Path(file), ids=ids, leave_out=leave_out or [], texts=text or [], as_json=as_json)
            return
        answer = EndpointClient(entry, client=aws.client).send(body, kind)
    if as_json:
        print_json({"endpoint": entry.endpoint, "answer": _document(answer)})
        return
    sys.stdout.buffer.write(answer)
    if not answer.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")


def _send_rows(
    entry: EndpointEntry,
    aws: Account,
    path: Path,
    *,
    ids: str | None,
    leave_out: list[str],
    texts: list[str],
    as_json: bool,
) -> None:
    """Send the rows of a file and print their predictions."""
    from mlops_runtime.serving.row_calls import RowCalls

    calls = RowCalls(entry, client=aws.client, now=lambda: aws.caller()[1])
    if ids is not None:
        calls.check_ids(ids)
    sent = SentRows.open(path, entry, aws, ids=ids, leave_out=leave_out, texts=texts)
    found: list[dict[str, Any]] = []
    made = answered = 0
    for call in calls.send(sent.rows(), sent.ids):
        if call.problem is not None:
            raise UserError(_refused(call, path.name), document={"endpoint": entry.endpoint, "answered": answered})
        made, answered = made + 1, answered + call.rows
        if as_json:
            found += [
                {"prediction": prediction} | ({"id": call.ids[row]} if call.ids else {})
                for row, prediction in enumerate(call.predictions)
            ]
        else:
            sys.stdout.write("".join(_lines(call)))
    if as_json:
        print_json({"endpoint": entry.endpoint, "rows": answered, "calls": made, "predictions": found})
    else:
        print(f"{answered} rows in {made} calls", file=sys.stderr)


def _lines(call: "AnsweredCall") -> list[str]:
    texts = [json.dumps(prediction) for prediction in call.predictions]
    if not call.ids:
        return [f"{text}\n" for text in texts]
    return [f"{name}\t{text}\n" for name, text in zip(call.ids, texts, strict=True)]


def _refused(call: "AnsweredCall", name: str) -> str:
    last = call.first + call.rows - 1
    problem = str(call.problem)
    fix = "; name text columns with --text" if "must be text" in problem and name.endswith(".csv") else ""
    return f"rows {call.first} to {last} of {name} were refused ({call.status}): {problem}{fix}"


def _has_rows(file: str) -> bool:
    from mlops_runtime.serving.row_file import FORMATS, RowFileError, has_header

    path = Path(file)
    kind = FORMATS.get(path.suffix.lower()) if file != "-" and path.is_file() else None
    with shown(RowFileError):
        return kind is not None and (kind != "csv" or has_header(path))


def _document(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace")


def _body(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    path = Path(file)
    if not path.is_file():
        raise UserError(f"file {file!r} not found; name a file, or - for standard input")
    return path.read_bytes()


def _content_type(file: str) -> str:
    if file == "-":
        return "application/json"
    kind = _TYPES.get(Path(file).suffix.lower())
    if kind is None:
        raise UserError(f"the extension of {file!r} is not .parquet, .csv, .jsonl or .json; give --content-type")
    return kind
