"""``mlops invoke``: send a request to an endpoint, as its callers do."""

import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from mlops_cli.account import Profile, account
from mlops_cli.errors import UserError
from mlops_cli.local import Home

if TYPE_CHECKING:
    from mlops_cli.account import Account

_TYPES = {".csv": "text/csv", ".json": "application/json", ".jsonl": "application/jsonlines"}
_SECONDS = 70  # SageMaker gives a container 60 and answers for it


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
    """Send a request and print the answer as it comes."""
    body = _body(file)
    kind = _content_type(file) if content_type is None else content_type
    from mlops_cli.entries import Entries

    with account(profile, home) as aws:
        entry = Entries(ssm=aws.client("ssm")).endpoint(endpoint)
        answer = _by_sagemaker(aws, endpoint, body, kind) if entry.url is None else by_url(entry.url, body, kind)
    sys.stdout.buffer.write(answer)
    if not answer.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")


def by_url(url: str, body: bytes, content_type: str) -> bytes:
    """Send a request to a service that has an address of its own.

    Args:
        url: Address of the service.
        body: The request.
        content_type: Its content type.

    Raises:
        UserError: If the service cannot be reached, or refuses.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"the endpoint's address must be http or https, got {url!r}; deploy its stack again")
    request = urllib.request.Request(  # noqa: S310 - http or https
        f"{url.rstrip('/')}/invocations", data=body, headers={"Content-Type": content_type}
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - http or https
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        said = " ".join(error.read(1000).decode(errors="replace").split())
        raise UserError(f"{url} answers {error.code}: {said}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{url} cannot be reached: {reason}; it answers within its network only, "
            "and on the embedded cloud where `mlops local status --json` says under load_balancing"
        ) from error


def _by_sagemaker(aws: "Account", endpoint: str, body: bytes, content_type: str) -> bytes:
    from botocore.exceptions import ClientError

    runtime = aws.client("sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType=content_type)
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError" and "not found" in str(error):
            raise UserError(
                f"endpoint {endpoint!r} serves nothing yet: it is born when the first model is approved; "
                f"look with mlops status"
            ) from error
        raise
    return bytes(answer["Body"].read())


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
