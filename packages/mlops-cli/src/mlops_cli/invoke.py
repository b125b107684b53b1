"""``mlops invoke``: send a request to an endpoint, as its callers do."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops_cli.account import Profile, account
from mlops_cli.errors import UserError
from mlops_cli.local import Home

_TYPES = {".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonlines"}


def invoke(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    file: Annotated[str, typer.Argument(help="File with the request, or - for standard input.")],
    content_type: Annotated[
        str | None,
        typer.Option(help="Content type. Default: by the file's name; application/json of -.", show_default=False),
    ] = None,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """Send a request and print the answer as it comes; personal fields are hashed or left out before."""
    body = _body(file)
    kind = _content_type(file) if content_type is None else content_type
    from mlops_cli.entries import Entries
    from mlops_runtime.serving.endpoint_client import EndpointClient, EndpointError, PersonalDataError

    with account(profile, home) as aws:
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        try:
            answer = EndpointClient(entry, client=aws.client).send(body, kind)
        except (EndpointError, PersonalDataError) as error:
            raise UserError(str(error)) from error
    sys.stdout.buffer.write(answer)
    if not answer.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")


def _body(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    path = Path(file)
    if not path.is_file():
        raise UserError(f"there is no file {file!r}; name one, or - for standard input")
    return path.read_bytes()


def _content_type(file: str) -> str:
    if file == "-":
        return "application/json"
    kind = _TYPES.get(Path(file).suffix.lower())
    if kind is None:
        raise UserError(
            f"the content type of {file!r} is not known by its name ({', '.join(_TYPES)}); give --content-type"
        )
    return kind
