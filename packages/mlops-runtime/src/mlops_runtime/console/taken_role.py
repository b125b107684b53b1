"""An account as one of its IAM roles has it: the session is a person's, and its keys are renewed before they end."""

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
    """An account in an IAM role; the embedded clock, which AWS does not have, is asked with the caller's own keys.

    Args:
        base: The account as the caller has it.
        taken: The same in the role.
    """

    base: CloudConnection
    taken: CloudConnection

    def client(self, service: str) -> Any:
        """Return the client of a service, in the role."""
        return self.taken.client(service)

    def environment(self) -> dict[str, str]:
        """Return the environment of libraries that are not boto3, in the role."""
        return self.taken.environment()

    def identity(self) -> Identity:
        """Return the session of the role."""
        return self.taken.identity()

    def now(self) -> datetime:
        """Return the time in the cloud."""
        clock = self.clock()
        return self.identity().answered if clock is None else clock.now

    def clock(self) -> Clock | None:
        """Return what the embedded clock says; None elsewhere."""
        return self.base.clock()

    def move_clock(self, to: datetime) -> None:
        """Move the embedded cloud's clock."""
        self.base.move_clock(to)


# else each session reads the description of each service: 0.2 CPU s a role
_loader = cache(loaders.create_loader)


def take_role(
    base: CloudConnection, role: str, *, session: str, is_source: bool = False, region: str | None = None
) -> TakenRole:
    """Take a role at once, and again 15 minutes before the session ends; each session lasts an hour, the most of a role's role.

    Args:
        base: The account as the caller has it.
        role: ARN of the role.
        session: Name of the session, which its ARN ends with.
        is_source: Whether the session's source identity is ``session`` too: records and CloudTrail keep it. Default: it has
            none of its own.
        region: Region in which the role acts. Default: the caller's.

    Raises:
        ClientError: If AWS refuses the role.

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
    # botocore has no public way to give a session credentials that renew themselves
    botocore_session._credentials = RefreshableCredentials.create_from_metadata(keys(), keys, "sts-assume-role")  # type: ignore[attr-defined]
    botocore_session.set_config_variable("region", region or sts.meta.region_name)
    options = {name: value for name, value in base.options.items() if name in ("endpoint_url", "region_name")}
    if region is not None:
        options["region_name"] = region
    taken = CloudConnection(session=boto3.Session(botocore_session=botocore_session), options=options)
    return TakenRole(base=base, taken=taken)
