"""Rules of a platform team for every unit, as data: enforced in the unit's stacks and read by the compliance report."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.rollout import RolloutSpec
from mlops_runtime.contracts.unit_entries import FreezeSpec

_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRules:
    """Limits of a platform; ``None`` means no limit.

    ``images`` and ``instance_types`` are patterns of ``*`` and ``?``. ``vpc_id`` and ``subnet_ids`` are the network, ``estate``
    the Terraform estate that provides one, ``key_arn`` the key of all data. ``tags`` are on every resource; the unit sets the
    values of ``required_tags``. ``log_days`` and ``audit_days`` are the minimum retention of logs and audit records.
    ``approval_seconds`` is the longest time for a person's approval; with it, no automatic approval is allowed. ``rollout`` is
    the weakest rollout policy that may shift traffic to a model. ``freeze`` is added to each unit's calendar. With ``fleet``,
    an account's ``FleetReader`` reads the state of the unit's models.
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
    """Return the first 12 digits of the rules' hash, part of the names of what the owner of a unit publishes.

    Example:
        >>> rules_digest(PlatformRules(platform="retail")) == rules_digest(PlatformRules(platform="retail", log_days=400))
        False
    """
    return content_hash(rules)[:_DIGITS]
