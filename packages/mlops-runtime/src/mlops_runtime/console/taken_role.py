"""Connection to an account with an assumed IAM role, in a user's session with automatically refreshed credentials."""

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import boto3
from botocore import loaders
from botocore.credentials import RefreshableCredentials
from botocore.session import get_session

from mlops_runtime.cloud_connection import Clock, CloudConnection, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRole:
    """Connection with an assumed role; the embedded cloud's clock is read with the caller's own credentials."""

    base: CloudConnection  # connection with the caller's own credentials
    taken: CloudConnection  # connection with the role

    def client(self, service: str) -> Any:
        """Return the client of a service, with the role."""
        return self.taken.client(service)

    def environment(self) -> dict[str, str]:
        """Return environment variables for other libraries, with the role."""
        return self.taken.environment()

    def identity(self) -> Identity:
        """Return the identity of the role session."""
        return self.taken.identity()

    def now(self) -> datetime:
        """Return the cloud's time."""
        clock = self.clock()
        return self.identity().answered if clock is None else clock.now

    def clock(self) -> Clock | None:
        """Return the embedded cloud's clock; ``None`` for AWS."""
        return self.base.clock()

    def move_clock(self, to: datetime) -> None:
        """Advance the embedded cloud's clock."""
        self.base.move_clock(to)


# shared, since otherwise each session loads all service models: 0.2 CPU s per role
_loader = cache(loaders.create_loader)


def take_role(
    base: CloudConnection, role: str, *, session: str, is_source: bool = False, region: str | None = None
) -> TakenRole:
    """Assume a role now, and again 15 minutes before each session expires, after an hour, the limit of role chaining.

    Args:
        base: Connection with the caller's own credentials.
        role: ARN of the role.
        session: Name of the session, the last part of its ARN.
        is_source: Whether ``session`` is also the session's source identity, which CloudTrail records. Default: no source identity.
        region: Region of the connection. Default: the caller's.

    Raises:
        ClientError: If AWS refuses to assume the role.

    See: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    """
    sts = base.client("sts")
    more = {"SourceIdentity": session} if is_source else {}

    def keys() -> dict[str, str]:
        found = sts.assume_role(RoleArn=role, RoleSessionName=session, **more)["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }

    botocore_session = get_session()
    botocore_session.register_component("data_loader", _loader(botocore_session.get_config_variable("data_path")))
    # botocore has no public API for refreshable credentials of a session
    botocore_session._credentials = RefreshableCredentials.create_from_metadata(keys(), keys, "sts-assume-role")  # type: ignore[attr-defined]
    botocore_session.set_config_variable("region", region or sts.meta.region_name)
    options = {name: value for name, value in base.options.items() if name in ("endpoint_url", "region_name")}
    if region is not None:
        options["region_name"] = region
    taken = CloudConnection(session=boto3.Session(botocore_session=botocore_session), options=options)
    return TakenRole(base=base, taken=taken)
