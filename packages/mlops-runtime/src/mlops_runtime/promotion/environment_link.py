"""One environment that releases a model and one that takes it: the names that both sides know without asking each other.

Every name follows from unit, model, account and Region, so neither stack refers to the other, and either may be deployed first.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

# what a role is for: copies and registers in a target, sends events to another account, checks whether a release is still valid
LinkRole = Literal["promote", "send", "recheck"]

# ends of the names of chains
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
        """Return the host of a service there, which ``kms:ViaService`` compares.

        See: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
        """
        return f"{service}.{self.region}.amazonaws.com" + (".cn" if self.partition == "aws-cn" else "")

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and Region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedEnvironment:
    """An account and Region, by the name that the stack beside it has for it."""

    name: str
    account: str
    region: str

    @property
    def place(self) -> LinkedEnvironment:
        """Its account and Region."""
        return LinkedEnvironment(account=self.account, region=self.region)


def link_role_name(purpose: LinkRole, *, unit: str, model: str, environment: LinkedEnvironment) -> str:
    """Return the name of a role of an environment that the other side's policies name.

    Names of roles have at most 64 characters and are unique in an account, not in a Region.
    See: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html

    Args:
        purpose: What it is for.
        unit: Name of the unit.
        model: Name of the model, without the unit's.
        environment: Whose role it is.

    Example:
        >>> build = LinkedEnvironment(account="111111111111", region="eu-west-1")
        >>> link_role_name("send", unit="demand", model="forecast", environment=build)
        'mlops-send-bcf88d65c6c93447'
    """
    named = "/".join((unit, model, environment.account, environment.region))
    return f"mlops-{purpose}-{hashlib.sha256(named.encode()).hexdigest()[:16]}"


def link_role_arn(purpose: LinkRole, *, unit: str, model: str, environment: LinkedEnvironment) -> str:
    """Return the ARN of such a role."""
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
    """Return the ARN of that bus of an environment."""
    return environment.arn("events", f"event-bus/{inbox_name(unit=unit, model=model)}")


def release_key(*, group: str, binding: str) -> str:
    """Return the key of a release record.

    Example:
        >>> release_key(group="demand-forecast", binding="0" * 64)[:29]
        'releases/demand-forecast/0000'
    """
    return f"releases/{group}/{binding}.json"


def release_chain(group: str) -> str:
    """Return the name of the audit chain of a group's releases, where no endpoint of its stack promotes; no endpoint's has a dot.

    Example:
        >>> release_chain("demand-forecast")
        'demand-forecast.releases'
    """
    return f"{group}{RELEASES}"


def promotions_chain(group: str) -> str:
    """Return the name of the audit chain of a target; no endpoint's name has a dot.

    Example:
        >>> promotions_chain("demand-forecast")
        'demand-forecast.promotions'
    """
    return f"{group}{PROMOTIONS}"


def downstream_chain(group: str) -> str:
    """Return the name of the row in which a source keeps what its targets serve, and of the audit chain that it heads.

    Example:
        >>> downstream_chain("demand-forecast")
        'demand-forecast.downstream'
    """
    return f"{group}{DOWNSTREAM}"
