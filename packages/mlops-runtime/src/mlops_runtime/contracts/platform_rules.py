"""What a platform team asks of every unit, as data: the unit's stacks obey it, and the compliance report reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.unit_entries import FreezeSpec

_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRules:
    """Limits of a platform. What is ``None`` is not limited.

    ``images`` and ``instance_types`` are patterns of ``*`` and ``?``. ``vpc_id`` and ``subnet_ids`` are the network, ``estate`` the
    Terraform estate that hands one over, ``key_arn`` the key of all data. ``tags`` are on every resource, ``required_tags`` are
    keys to which the unit gives values. ``log_days`` and ``audit_days`` are the shortest times that logs and audit records are
    kept. ``approval_seconds`` is the longest time in which a person may approve; with it no machine approves. ``rollout`` is the
    weakest that may take a model to traffic, ``freeze`` is added to each unit's calendar. With ``fleet`` an account's
    ``FleetReader`` reads what the unit's models do.
    """

    platform: str
    organization_id: str | None = None
    estate: str | None = None
    vpc_id: str | None = None
    subnet_ids: tuple[str, ...] | None = None
    key_arn: str | None = None
    images: tuple[str, ...] | None = None
    instance_types: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    profiles: tuple[str, ...] | None = None
    tags: Mapping[str, str] | None = None
    required_tags: tuple[str, ...] | None = None
    log_days: int | None = None
    audit_days: int | None = None
    approval_seconds: int | None = None
    rollout: RolloutSpec | None = None
    freeze: FreezeSpec | None = None
    fleet: bool | None = None
    format: Literal["mlops.platform-rules/1"] = "mlops.platform-rules/1"


def rules_digest(rules: PlatformRules) -> str:
    """Return the first 12 digits of the rules' hash, which is in the names of what the owner of a unit publishes.

    Example:
        >>> rules_digest(PlatformRules(platform="retail")) == rules_digest(PlatformRules(platform="retail", log_days=400))
        False
    """
    return content_hash(rules)[:_DIGITS]
