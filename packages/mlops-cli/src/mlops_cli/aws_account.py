"""Account that a command works on, and translation of AWS errors into one-line messages."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.cloud_connection import (
    CloudConnection,
    EmbeddedCloudError,
    embedded_account,
    embedded_options,
    is_account_chosen,
)
from mlops_runtime.refused_calls import refusal

if TYPE_CHECKING:
    import boto3

Profile = Annotated[
    str | None,
    typer.Option(
        help="Profile of the AWS configuration, or mlops-<number> for an account of the embedded cloud. Default: $AWS_PROFILE or "
        "$AWS_ENDPOINT_URL if one is set, else the embedded cloud if it is running, else the SDK's default."
    ),
]

_WITHOUT_ACCOUNT = (
    "without an AWS account: run mlops local up in the project's folder; to use an embedded cloud started in another folder, run "
    "the command there or give --home"
)


class UserError(Exception):
    """An error that the user can fix; the message names the problem, the value and the fix.

    Args:
        message: One line.
        document: Further keys that ``--json`` prints with the message. Default: none.
    """

    code = 1  # exit code of the command

    def __init__(self, message: str, *, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.document = dict(document or {})


class VerdictError(UserError):
    """The command ran, and a gate, check, guard or drift test gave a negative verdict."""

    code = 3


@contextmanager
def shown(*kinds: type[Exception]) -> Iterator[None]:
    """Convert the given exceptions of a library call to a :class:`UserError` with the same message."""
    try:
        yield
    except kinds as error:
        raise UserError(str(error)) from error


@contextmanager
def writing(path: Path, fix: str = "give another --output") -> Iterator[None]:
    """Convert a failure to write a file to a :class:`UserError` with the fix."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; {fix}") from error


class Account(CloudConnection):
    """The AWS account or embedded cloud that a command calls."""

    __slots__ = ()

    def caller(self) -> tuple[str, datetime]:
        """Return the caller's ARN and the cloud's time, which commands use instead of the local clock."""
        identity, clock = self.identity(), self.clock()
        now = identity.answered if clock is None else clock.now
        return identity.arn, now.replace(microsecond=0)

    def at(self, region: str) -> "Account":
        """Return the same account in another Region, with the same credentials."""
        return Account(session=self.session, options={**self.options, "region_name": region})

    def clock_scale(self) -> float:
        """Return the speed of the cloud's clock, in cloud seconds per real second: 1 on AWS, configurable on the embedded cloud."""
        clock = self.clock()
        return 1.0 if clock is None else clock.scale

    def has_movable_clock(self) -> bool:
        """Return whether the cloud is the embedded one, whose clock can be moved."""
        return self.clock() is not None


@contextmanager
def account(profile: str | None, home: Path | None, *, region: str | None = None) -> Iterator[Account]:
    """Select the account; AWS errors in the block become one-line messages.

    Args:
        profile: Value of ``--profile``: a profile of the AWS configuration, or of an account of the embedded cloud.
        home: Value of ``--home``: folder of the embedded cloud.
        region: Region. Default: the profile's, or the embedded cloud's.

    Raises:
        UserError: If no account is found, or for an AWS error.
    """
    if profile is not None and embedded_account(profile) is None and home is not None:
        raise UserError("give --profile or --home, not both: --profile is for AWS, --home for the embedded cloud")
    from boto3.exceptions import S3UploadFailedError

    try:
        found = open_account(profile, home, region=region)
        if found.options and sys.stderr.isatty():  # programs read one line of error alone
            print(f"on the embedded cloud at {found.options['endpoint_url']}", file=sys.stderr)
        yield found
    except (EmbeddedCloudError, NotDeployedError) as error:
        raise UserError(str(error)) from error
    except ClientError as error:
        raise UserError(refusal(error.response.get("Error", {}), error.operation_name)) from error
    except S3UploadFailedError as error:
        cause = error.__context__  # boto3 wraps AWS's message in its own
        if not isinstance(cause, ClientError):
            raise UserError(_local_error(error)) from error
        raise UserError(refusal(cause.response.get("Error", {}), cause.operation_name)) from error
    except (NoCredentialsError, NoRegionError) as error:
        if profile is None and (stopped := _stopped_cloud()) is not None:
            raise UserError(stopped) from error
        raise UserError(_local_error(error)) from error
    except BotoCoreError as error:
        raise UserError(_local_error(error)) from error


def open_account(profile: str | None, home: Path | None, *, region: str | None = None) -> Account:
    """Return the account of a profile, of AWS or of the embedded cloud, without printing.

    Args:
        profile: The profile. Default: the embedded cloud if it is running, else the SDK's default.
        home: Folder of the embedded cloud. Default: the one of this folder.
        region: Region. Default: the profile's, or the embedded cloud's.

    Raises:
        EmbeddedCloudError: If the named embedded cloud does not exist or is not running.
        BotoCoreError: If the profile is not found, or has no Region.
    """
    import boto3

    number = None if profile is None else embedded_account(profile)
    running = None if profile is not None and number is None else embedded_options(home, number)
    if running is None:
        return Account(session=_session(profile, region), options={})
    return Account(session=boto3.Session(), options=running | ({} if region is None else {"region_name": region}))


def _session(profile: str | None, region: str | None) -> "boto3.Session":
    import boto3

    session = boto3.Session(profile_name=profile, region_name=region)
    if not session.region_name:  # an empty Region would become part of a host name
        raise NoRegionError
    return session


def _stopped_cloud() -> str | None:
    """Return a message if this folder's embedded cloud is stopped and no AWS account is configured."""
    if is_account_chosen() or find_spec("mlops_local") is None:
        return None
    from mlops_local import cloud

    home = cloud.default_home()
    if not cloud.has_state(home):
        return None
    return f"the embedded cloud of {home.resolve()} is stopped and its state is saved; start it: mlops local up"


def _local_error(error: Exception) -> str:
    text = " ".join(str(error).split())
    fixes = {
        "NoCredentialsError": f"sign in to AWS or set AWS_PROFILE; {_WITHOUT_ACCOUNT}",
        "NoRegionError": f"set AWS_DEFAULT_REGION; {_WITHOUT_ACCOUNT}",
        "ProfileNotFound": "name one that `aws configure list-profiles` shows",
        "EndpointConnectionError": "start the service at AWS_ENDPOINT_URL, or unset the variable",
        "ConnectTimeoutError": "check the network and AWS_ENDPOINT_URL",
    }
    fix = fixes.get(type(error).__name__)
    text = text[:1].lower() + text[1:]
    return text if fix is None else f"{text.rstrip('.')}; {fix}"
