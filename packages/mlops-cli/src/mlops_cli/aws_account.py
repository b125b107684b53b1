"""The account that a command talks to, and errors as one line without a traceback."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import typer

if TYPE_CHECKING:
    import boto3

Profile = Annotated[
    str | None,
    typer.Option(
        help="Profile of the AWS configuration. Default: $AWS_PROFILE or $AWS_ENDPOINT_URL if one is set, else the embedded "
        "cloud if it runs, else the SDK's default.",
        show_default=False,
    ),
]

_CHOSEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONNECTIONS = 20  # calls of one client at once: with fewer a list of runs drops connections and warns
_JUMP_SECONDS = 600  # what is due on the way of a jump may take long
_WITHOUT_ACCOUNT = (
    "on a laptop without an account: mlops local up, in the project's folder; an embedded cloud that was started in another folder "
    "is used from there, or by --home"
)
_UNKNOWN_KEYS = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidAccessKeyId")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


class UserError(Exception):
    """Something that the user can fix; the message says what, with which value, and the fix.

    Args:
        message: One line.
        document: What ``--json`` prints beside the message. Default: nothing.
    """

    code = 1  # with which the command ends

    def __init__(self, message: str, *, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.document = dict(document or {})


class VerdictError(UserError):
    """The command worked, and its verdict is no: of a gate, a check, a guard, or drift."""

    code = 3


@contextmanager
def shown(*kinds: type[Exception]) -> Iterator[None]:
    """Turn the named errors of a library call into a :class:`UserError` with the same words."""
    try:
        yield
    except kinds as error:
        raise UserError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where a command's calls go.

    Args:
        session: boto3's session.
        options: What every client is made with.
    """

    session: "boto3.Session"
    options: dict[str, Any]

    def client(self, service: str, region: str | None = None) -> Any:
        """Return a boto3 client; a service that is in few Regions names one of them."""
        from botocore.config import Config

        config = Config(connect_timeout=5, retries={"mode": "standard"}, max_pool_connections=_CONNECTIONS)
        options = self.options if region is None else {**self.options, "region_name": region}
        return self.session.client(service, config=config, **options)

    def environment(self) -> dict[str, str]:
        """Return the environment in which libraries that are not boto3 reach the same account, with the keys as of now."""
        # the embedded cloud's are in the options: a session without any would ask the metadata service of an instance
        keys = None if self.options else self.session.get_credentials()
        frozen = None if keys is None else keys.get_frozen_credentials()
        values = {
            "AWS_REGION": self.options.get("region_name", self.session.region_name),
            "AWS_ACCESS_KEY_ID": self.options.get("aws_access_key_id", frozen and frozen.access_key),
            "AWS_SECRET_ACCESS_KEY": self.options.get("aws_secret_access_key", frozen and frozen.secret_key),
            "AWS_SESSION_TOKEN": None if self.options else frozen and frozen.token,
            "AWS_ENDPOINT_URL": self.options.get("endpoint_url", os.environ.get("AWS_ENDPOINT_URL")),
        }
        if not self.options:
            values |= {name: os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_GLUE")}
        return {name: str(value) for name, value in values.items() if value}

    def caller(self) -> tuple[str, datetime]:
        """Return the caller's ARN and the cloud's time, which the command uses instead of the laptop's clock."""
        sts = self.client("sts")
        answer = sts.get_caller_identity()
        clock = self._embedded_clock(sts.meta.endpoint_url)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        now = parsedate_to_datetime(headers["date"]) if clock is None else clock.now
        return str(answer["Arn"]), now.astimezone(UTC).replace(microsecond=0)

    def clock_scale(self) -> float:
        """Return how many seconds pass in the cloud in a real one: 1 on AWS, what was chosen on the embedded cloud."""
        clock = self._embedded_clock(self.client("sts").meta.endpoint_url)
        return 1.0 if clock is None else clock.scale

    def has_movable_clock(self) -> bool:
        """Return whether the cloud is the embedded one, whose clock can be moved."""
        return self._embedded_clock(self.client("sts").meta.endpoint_url) is not None

    def move_clock(self, to: datetime) -> None:
        """Move the embedded cloud's clock; what is due on the way runs.

        Raises:
            UserError: If the clock refuses it.
        """
        endpoint_url = self.client("sts").meta.endpoint_url
        try:
            with urllib.request.urlopen(  # noqa: S310 - loopback
                self._clock_request(endpoint_url, {"jump_to": to.isoformat()}), timeout=_JUMP_SECONDS
            ):
                return
        except urllib.error.HTTPError as error:
            raise UserError(str(json.load(error)["message"])) from error
        except OSError as error:
            raise UserError(f"the embedded cloud at {endpoint_url} does not answer: {error}") from error

    def _embedded_clock(self, endpoint_url: str) -> "_Clock | None":
        """Return what the embedded clock says, where the endpoint is the embedded cloud; any caller of it may ask."""
        if urlsplit(endpoint_url).hostname not in _LOOPBACK or "AWS_SECRET_ACCESS_KEY" not in self.environment():
            return None
        try:
            with urllib.request.urlopen(self._clock_request(endpoint_url), timeout=5) as answer:  # noqa: S310 - loopback
                said = json.load(answer)
                return _Clock(datetime.fromisoformat(said["now"]), float(said["scale"]))
        except (OSError, ValueError, KeyError):
            return None  # some other endpoint on this machine

    def _clock_request(self, endpoint_url: str, body: object = None) -> urllib.request.Request:
        """Return a signed request to the embedded clock: a GET, or a POST of a body."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        keys, data = self.environment(), None if body is None else json.dumps(body).encode()
        method, url = "GET" if data is None else "POST", f"{endpoint_url.rstrip('/')}/_mlops/clock"
        signed = AWSRequest(method, url, data=data)
        found = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys.get("AWS_SESSION_TOKEN"))
        SigV4Auth(found, "mlops", keys.get("AWS_REGION", "us-east-1")).add_auth(signed)
        return urllib.request.Request(  # noqa: S310 - loopback
            str(signed.url), data=data, headers=dict(signed.headers.items()), method=method
        )


@contextmanager
def account(profile: str | None, home: Path | None, *, region: str | None = None) -> Iterator[Account]:
    """Choose the account; errors of AWS in the block become one line.

    Args:
        profile: The profile that the user named.
        home: Folder of the embedded cloud that the user named.
        region: Region. Default: the profile's, or the embedded cloud's.

    Raises:
        UserError: If none is found, or for an error of AWS.
    """
    if profile is not None and home is not None:
        raise UserError("give --profile or --home, not both: --profile is for AWS, --home for the embedded cloud")
    import boto3
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        running = None if profile is not None else _embedded(home)
        if running is None:
            yield Account(session=_session(profile, region), options={})
        else:
            if sys.stderr.isatty():  # an error stays one line for programs
                print(f"on the embedded cloud at {running['endpoint_url']}", file=sys.stderr)
            chosen = {} if region is None else {"region_name": region}
            yield Account(session=boto3.Session(), options=running | chosen)
    except ClientError as error:
        raise UserError(refusal(error.response.get("Error", {}), error.operation_name)) from error
    except S3UploadFailedError as error:
        cause = error.__context__  # boto3 puts words of its own around AWS's
        if not isinstance(cause, ClientError):
            raise UserError(_local_error(error)) from error
        raise UserError(refusal(cause.response.get("Error", {}), cause.operation_name)) from error
    except (NoCredentialsError, NoRegionError) as error:
        if profile is None and (stopped := _stopped_cloud()) is not None:
            raise UserError(stopped) from error
        raise UserError(_local_error(error)) from error
    except BotoCoreError as error:
        raise UserError(_local_error(error)) from error


def _session(profile: str | None, region: str | None) -> "boto3.Session":
    import boto3
    from botocore.exceptions import NoRegionError

    session = boto3.Session(profile_name=profile, region_name=region)
    if not session.region_name:  # an empty one would become part of a host's name
        raise NoRegionError
    return session


def refusal(error: Mapping[str, Any], operation: str) -> str:
    """Return what AWS answered to a call, and the fix where one is known, as one line.

    Example:
        >>> refusal({"Code": "ExpiredToken", "Message": "expired"}, "GetItem")
        'AWS refused GetItem (ExpiredToken): expired; the credentials have expired: sign in again'
    """
    code, message = str(error.get("Code", "unknown")), " ".join(str(error.get("Message", "")).split())
    fix = ""
    if code in _EXPIRED:
        fix = "; the credentials have expired: sign in again"
    elif code in _UNKNOWN_KEYS:
        fix = (
            "; these keys are of another account, or of an embedded cloud that has ended: sign in again, or unset "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
        )
    elif code in DENIED:
        fix = "; docs/operations.md lists what each command needs"
    return f"AWS refused {operation} ({code}): {message}{fix}"


def _embedded(home: Path | None) -> dict[str, Any] | None:
    """Return how to make clients of the embedded cloud: of the folder named, or of the default one if nothing else is chosen."""
    if home is None and any(os.environ.get(name) for name in _CHOSEN):
        return None
    if home is None and find_spec("mlops_local") is None:
        return None  # not installed, so none runs
    from mlops_local import cloud

    try:
        running = cloud.connect(cloud.default_home() if home is None else home)
    except cloud.CloudError as error:
        if home is None:
            return None
        raise UserError(str(error)) from error
    environment = running.environment()
    return {
        "endpoint_url": running.endpoint_url,
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }


def _stopped_cloud() -> str | None:
    """Return that the embedded cloud of the folder is stopped, where it was asked for and nothing else is chosen."""
    if any(os.environ.get(name) for name in _CHOSEN) or find_spec("mlops_local") is None:
        return None
    from mlops_local import cloud

    home = cloud.default_home()
    if not cloud.has_state(home):
        return None
    return f"the embedded cloud of {home.resolve()} is stopped, and its state kept; start it: mlops local up"


class _Clock(NamedTuple):
    now: datetime
    scale: float


def _local_error(error: Exception) -> str:
    text = " ".join(str(error).split())
    fixes = {
        "NoCredentialsError": f"sign in to AWS or set AWS_PROFILE; {_WITHOUT_ACCOUNT}",
        "NoRegionError": f"set AWS_DEFAULT_REGION; {_WITHOUT_ACCOUNT}",
        "ProfileNotFound": "name one that `aws configure list-profiles` shows",
        "EndpointConnectionError": "start what AWS_ENDPOINT_URL names, or unset it",
        "ConnectTimeoutError": "check the network and AWS_ENDPOINT_URL",
    }
    fix = fixes.get(type(error).__name__)
    text = text[:1].lower() + text[1:]
    return text if fix is None else f"{text.rstrip('.')}; {fix}"
