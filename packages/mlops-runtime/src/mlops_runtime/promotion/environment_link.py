"""Names shared by an environment that releases a model and one that takes it.

Every name derives from unit, model, account and Region, so neither stack refers to the other, and either may be deployed first.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

# purpose of a role: copy and register in a target, send events to another account, check whether a release is still valid
LinkRole = Literal["promote", "send", "recheck"]

# suffixes of the names of chains
RELEASES = ".releases"
PROMOTIONS = ".promotions"
DOWNSTREAM = ".downstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedEnvironment:
    """An account and Region.

    Example:
        >>> LinkedEnvironment(account="111111111111", region="eu-west-1").arn("events", "event-bus/mlops-demand")
        'arn:aws:events:eu-west-1:111111111111:event-bus/mlops-demand'
    """

    account: str
    region: str

    @property
    def partition(self) -> str:
        """Partition of the Region.

        See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
        """
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(self.region.rsplit("-", 2)[0], "aws")

    def endpoint(self, service: str) -> str:
        """Return the host of a service there, as used in ``kms:ViaService`` conditions.

        See: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
        """
        return f"{service}.{self.region}.amazonaws.com" + (".cn" if self.partition == "aws-cn" else "")

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and Region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEnvironment:
    """An account and Region, with its name in the neighbouring environment's stack."""

    name: str
    account: str
    region: str

    @property
    def place(self) -> LinkedEnvironment:
        """Its account and Region."""
        return LinkedEnvironment(account=self.account, region=self.region)


def link_role_name(purpose: LinkRole, *, unit: str, model: str, environment: LinkedEnvironment) -> str:
    """Return the name of an environment's role, which policies of the other side refer to.

    Names of roles have at most 64 characters and are unique in an account, not in a Region.
    See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html

    Args:
        purpose: Purpose of the role.
        model: Name of the model, without the unit's.
        environment: The role's environment.

    Example:
        >>> build = LinkedEnvironment(account="111111111111", region="eu-west-1")
        >>> link_role_name("send", unit="demand", model="forecast", environment=build)
        'mlops-send-bcf88d65c6c93447'
    """
    named = "/".join((unit, model, environment.account, environment.region))
    return f"mlops-{purpose}-{hashlib.sha256(named.encode()).hexdigest()[:16]}"


def link_role_arn(purpose: LinkRole, *, unit: str, model: str, environment: LinkedEnvironment) -> str:
    """Return the ARN of the role; see ``link_role_name``."""
    name = link_role_name(purpose, unit=unit, model=model, environment=environment)
    return f"arn:{environment.partition}:iam::{environment.account}:role/{name}"


def inbox_name(*, unit: str, model: str) -> str:
    """Return the name of the event bus that receives the events of neighbours.

    Example:
        >>> inbox_name(unit="demand", model="forecast")
        'mlops-demand-forecast-inbox'
    """
    return f"mlops-{unit}-{model}-inbox"


def inbox_arn(*, unit: str, model: str, environment: LinkedEnvironment) -> str:
    """Return the ARN of an environment's inbox; see ``inbox_name``."""
    return environment.arn("events", f"event-bus/{inbox_name(unit=unit, model=model)}")


def release_key(*, group: str, binding: str) -> str:
    """Return the key of a release record.

    Example:
        >>> release_key(group="demand-forecast", binding="0" * 64)[:29]
        'releases/demand-forecast/0000'
    """
    return f"releases/{group}/{binding}.json"


def release_chain(group: str) -> str:
    """Return the name of a group's audit chain of releases if no endpoint of its stack promotes; names of endpoints have no dot.

    Example:
        >>> release_chain("demand-forecast")
        'demand-forecast.releases'
    """
    return f"{group}{RELEASES}"


def promotions_chain(group: str) -> str:
    """Return the name of a target's audit chain of promotions; names of endpoints have no dot.

    Example:
        >>> promotions_chain("demand-forecast")
        'demand-forecast.promotions'
    """
    return f"{group}{PROMOTIONS}"


def downstream_chain(group: str) -> str:
    """Return the key of the row in which a source stores the models that its targets serve.

    Example:
        >>> downstream_chain("demand-forecast")
        'demand-forecast.downstream'
    """
    return f"{group}{DOWNSTREAM}"
