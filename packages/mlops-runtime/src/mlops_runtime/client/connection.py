"""Adapter: the account or embedded cloud that a client talks to, and the time there."""

import importlib
import json
import os
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_CHOSEN = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONNECTIONS = 20  # calls of one client at once
_CLOUD = "mlops_local.cloud"


class UnitError(ValueError):
    """Something that is asked of a unit is not there or not possible; the message says what, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a client's calls go.

    Args:
        session: boto3's session.
        options: What every client is made with.
    """

    session: "boto3.Session"
    options: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, session: "boto3.Session | None" = None, home: str | Path | None = None) -> "Connection":
        """Choose where calls go.

        Args:
            session: Of an account.
            home: Folder of an embedded cloud. Default: as ``mlops`` finds one that runs, unless the environment names an account.

        Raises:
            UnitError: If both are given, or no embedded cloud runs there.
        """
        if session is not None and home is not None:
            raise UnitError("give session or home, not both: a session is for AWS, home for the embedded cloud")
        if session is not None:
            return cls(session=session)
        if home is None and any(os.environ.get(name) for name in _CHOSEN):
            return cls(session=boto3.Session())
        running = _embedded(home)
        return cls(session=boto3.Session(), options={} if running is None else running)

    def client(self, service: str) -> Any:
        """Return the client of a service."""
        if service not in self.made:
            config = Config(connect_timeout=5, retries={"mode": "standard"}, max_pool_connections=_CONNECTIONS)
            self.made[service] = self.session.client(service, config=config, **self.options)
        return self.made[service]

    def user_id(self) -> str:
        """Return the id by which the caller asks in its own name."""
        return str(self.client("sts").get_caller_identity()["UserId"])

    def now(self) -> datetime:
        """Return the time in the cloud, which may be another than this machine's."""
        sts = self.client("sts")
        if urlsplit(sts.meta.endpoint_url).hostname in _LOOPBACK:
            found = self._embedded_time(sts.meta.endpoint_url)
            if found is not None:
                return found
        headers = sts.get_caller_identity()["ResponseMetadata"]["HTTPHeaders"]
        return parsedate_to_datetime(headers["date"]).astimezone(UTC)

    def _embedded_time(self, url: str) -> datetime | None:
        request = AWSRequest("GET", f"{url.rstrip('/')}/_mlops/clock")
        keys: Credentials = self.client("sts")._request_signer._credentials
        SigV4Auth(keys, "mlops", self.client("sts").meta.region_name).add_auth(request)
        asked = urllib.request.Request(str(request.url), headers=dict(request.headers.items()))  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - loopback
                return datetime.fromisoformat(json.load(answer)["now"])
        except (OSError, ValueError, KeyError):
            return None  # some other endpoint on this machine


def _embedded(home: str | Path | None) -> dict[str, Any] | None:
    """Return how to make clients of the embedded cloud; None where none is named and none runs."""
    try:
        cloud = importlib.import_module(_CLOUD)  # a distribution of its own, which a client on an account does not have
    except ModuleNotFoundError as error:
        if home is None:
            return None
        raise UnitError("the embedded cloud is not installed; run: pip install 'mlops-cli[local]'") from error
    try:
        running = cloud.connect(cloud.default_home() if home is None else Path(home))
    except cloud.CloudError as error:
        if home is None:
            return None
        raise UnitError(str(error)) from error
    environment = running.environment()
    return {
        "endpoint_url": running.endpoint_url,
        "region_name": environment["AWS_REGION"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
    }
