"""Connection of the client and the command to an AWS account or embedded cloud, and the cloud's clock.

botocore is only imported when calls are made, to keep the command's help and completion fast.
"""

import importlib
import json
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

_CHOSEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL")
_PROFILE = re.compile(r"mlops-(\d{12})")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONNECTIONS = 20  # concurrent calls of one client; with fewer, listing runs drops connections with warnings
_JUMP_SECONDS = 600  # timeout of a jump, in which all due work runs
_CLOUD = "mlops_local.cloud"
_MAKING = Lock()  # shared by all connections: sessions with a common loader then load each service model only once


class EmbeddedCloudError(ValueError):
    """The named embedded cloud is not running, or it refused a request; the message has the fix."""


class Clock(NamedTuple):
    """The embedded cloud's time, and its speed in cloud seconds per real second."""

    now: datetime
    scale: float


class Identity(NamedTuple):
    """The caller's identity, and the time of AWS's response."""

    arn: str
    user_id: str
    answered: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConnection:
    """Connection to an AWS account or embedded cloud."""

    session: Any  # boto3 session
    options: dict[str, Any] = field(default_factory=dict)  # arguments for creating every client
    # clients created so far, by service and Region
    made: dict[tuple[str, str | None], Any] = field(default_factory=dict, repr=False, compare=False)

    def client(self, service: str, region: str | None = None) -> Any:
        """Return the client of a service; name a Region for services that exist only in some Regions."""
        with _MAKING:  # https://docs.aws.amazon.com/boto3/latest/guide/session.html: a session is not thread-safe
            if (service, region) not in self.made:
                from botocore.config import Config  # noqa: PLC0415 - slow

                config = Config(connect_timeout=5, retries={"mode": "standard"}, max_pool_connections=_CONNECTIONS)
                options = self.options if region is None else {**self.options, "region_name": region}
                self.made[service, region] = self.session.client(service, config=config, **options)
            return self.made[service, region]

    def environment(self) -> dict[str, str]:
        """Return environment variables with which other libraries reach the same account, with the current credentials."""
        # the embedded cloud's keys are in the options; without keys a session would query the instance metadata service
        is_embedded = "aws_access_key_id" in self.options
        keys = None if is_embedded else self.session.get_credentials()
        frozen = None if keys is None else keys.get_frozen_credentials()
        values = {
            "AWS_REGION": self.options.get("region_name", self.session.region_name),
            "AWS_ACCESS_KEY_ID": self.options.get("aws_access_key_id", frozen and frozen.access_key),
            "AWS_SECRET_ACCESS_KEY": self.options.get("aws_secret_access_key", frozen and frozen.secret_key),
            "AWS_SESSION_TOKEN": None if is_embedded else frozen and frozen.token,
            "AWS_ENDPOINT_URL": self.options.get("endpoint_url", os.environ.get("AWS_ENDPOINT_URL")),
        }
        if not self.options:
            values |= {name: os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_GLUE")}
        return {name: str(value) for name, value in values.items() if value}

    def identity(self) -> Identity:
        """Return the caller's identity."""
        answer = self.client("sts").get_caller_identity()
        answered = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return Identity(str(answer["Arn"]), str(answer["UserId"]), answered.astimezone(UTC))

    def now(self) -> datetime:
        """Return the cloud's time, which may differ from this machine's."""
        clock = self.clock()
        return self.identity().answered if clock is None else clock.now

    def clock(self) -> Clock | None:
        """Return the embedded cloud's clock, which every caller may read; ``None`` for AWS."""
        endpoint_url = self.client("sts").meta.endpoint_url
        if urlsplit(endpoint_url).hostname not in _LOOPBACK or "AWS_SECRET_ACCESS_KEY" not in self.environment():
            return None
        try:
            with urllib.request.urlopen(self._clock_request(endpoint_url), timeout=5) as answer:  # noqa: S310 - loopback
                reply = json.load(answer)
                return Clock(datetime.fromisoformat(reply["now"]).astimezone(UTC), float(reply["scale"]))
        except (OSError, ValueError, KeyError):
            return None  # another server on this machine

    def move_clock(self, to: datetime) -> None:
        """Advance the embedded cloud's clock; work that becomes due runs.

        Raises:
            EmbeddedCloudError: If the cloud refuses it, or does not respond.
        """
        endpoint_url = self.client("sts").meta.endpoint_url
        request = self._clock_request(endpoint_url, {"jump_to": to.isoformat()})
        try:
            with urllib.request.urlopen(request, timeout=_JUMP_SECONDS):  # noqa: S310 - loopback
                return
        except urllib.error.HTTPError as error:
            raise EmbeddedCloudError(str(json.load(error)["message"])) from error
        except OSError as error:
            raise EmbeddedCloudError(f"the embedded cloud at {endpoint_url} does not respond: {error}") from error

    def _clock_request(self, endpoint_url: str, body: object = None) -> urllib.request.Request:
        """Return a signed request to the embedded clock: a POST with a body, else a GET."""
        from botocore.auth import SigV4Auth  # noqa: PLC0415 - slow
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - slow
        from botocore.credentials import Credentials  # noqa: PLC0415 - slow

        keys, data = self.environment(), None if body is None else json.dumps(body).encode()
        method, url = "GET" if data is None else "POST", f"{endpoint_url.rstrip('/')}/_mlops/clock"
        signed = AWSRequest(method, url, data=data)
        found = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys.get("AWS_SESSION_TOKEN"))
        SigV4Auth(found, "mlops", keys.get("AWS_REGION", "us-east-1")).add_auth(signed)
        return urllib.request.Request(  # noqa: S310 - loopback
            str(signed.url), data=data, headers=dict(signed.headers.items()), method=method
        )


def is_account_chosen() -> bool:
    """Return whether the environment selects an account or endpoint, which takes precedence over a running embedded cloud."""
    return any(os.environ.get(name) for name in _CHOSEN)


def embedded_account(profile: str) -> str | None:
    """Return the account number in the name of an embedded cloud's profile; ``None`` for other profiles.

    Example:
        >>> embedded_account("mlops-222222222222")
        '222222222222'
        >>> embedded_account("production")
    """
    found = _PROFILE.fullmatch(profile)
    return None if found is None else found[1]


def embedded_options(home: str | Path | None, account: str | None = None) -> dict[str, object] | None:
    """Return the arguments for creating clients of the embedded cloud.

    Args:
        home: Its folder. ``None``: the default folder of ``mlops local up``, unless the environment selects an AWS account.
        account: Number of one of its accounts, in the Region of ``AWS_REGION`` if that is set. Default: the first account.

    Returns:
        ``None`` if no folder is given and no embedded cloud is running.

    Raises:
        EmbeddedCloudError: If no embedded cloud is running in the given folder, or it does not have the account.
    """
    if home is None and account is None and is_account_chosen():
        return None
    try:
        cloud = importlib.import_module(_CLOUD)  # an optional distribution, which clients of AWS do not need
    except ModuleNotFoundError as error:
        if home is None:
            return None
        raise EmbeddedCloudError("the embedded cloud is not installed; run: pip install 'mlops-cli[local]'") from error
    try:
        running = cloud.connect(cloud.default_home() if home is None else Path(home))
    except cloud.CloudError as error:
        if home is None:
            return None
        raise EmbeddedCloudError(str(error)) from error
    try:
        # as with every profile, the environment's Region takes precedence
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") if account else None
        environment = running.at(account, region).environment()
    except cloud.CloudError as error:
        raise EmbeddedCloudError(str(error)) from error
    return {
        "endpoint_url": running.endpoint_url,
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
