"""What a Deploy execution does, as the machine reads it, and what that is decided on.

``slot_plan`` has the plan between two slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, TypeVar

from mlops_runtime.contracts import from_json, to_dict
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, ServingSpec
from mlops_runtime.eks.live_slots import Slots
from mlops_runtime.rollout.fleet_capacity import no_scaling
from mlops_runtime.rollout.instance_quota import Quotas
from mlops_runtime.rollout.live_fleet import Leftovers, Serving, Version
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.planned_bake import Traffic

POLL_SECONDS = 30
# the history of an execution has at most 25,000 events, and the longest rollout takes eight hours
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
# a poll that compares fleets takes 23 of them; what only waits for an end is polled half as often, for it has three loops
_POLLS, _LOOKS = 495, 248

Request = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the Deploy machine does, on any target.

    What an execution that died has left is adopted, reverted or discarded; see ``dead_execution``. ``live`` is the pointer that the
    plan ends in, or that of now where nothing is deployed; ``container_sha256`` is of the package that it is about. ``verdict``
    says what of both fleets is compared, empty where nothing is, each ``poll_seconds``; ``look_seconds`` is how often an end is
    looked for. ``probation_alarm`` is made at the promotion of a model that goes on probation, with the share of
    ``probation_share``.
    """

    action: Literal["create", "update", "nothing", "refuse", "wait", "adopt", "revert", "discard"]
    reason: str
    endpoint: str
    started: str
    variant: str = ""
    alarms: tuple[Request, ...] = ()
    alarm_names: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    model_name: str | None = None
    config_name: str | None = None
    previous_config: str | None = None
    previous_model: str | None = None
    leftovers: Leftovers = field(default_factory=Leftovers)
    poll_seconds: int = POLL_SECONDS
    look_seconds: int = POLL_SECONDS
    bake: int = 0
    min_invocations: int = 0
    probation: int = 0
    candidate_package: str | None = None
    requested_by: str | None = None
    live: LivePointer | None = None
    container_sha256: str | None = None
    verdict: Request = field(default_factory=dict)
    probation_alarm: Request = field(default_factory=dict)
    probation_share: Request = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return the plan as JSON with every key, ``null`` without a value: an expression must not meet an undefined one."""
        return {f.name: to_dict(getattr(self, f.name)) for f in fields(self)}


AnyPlan = TypeVar("AnyPlan", bound=Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerPlan(Plan):
    """A plan for a SageMaker endpoint: arguments of API calls, each empty where the call is not made.

    ``golden_sha256`` is of the golden requests that the package will have passed once it serves. ``again`` are those that the new
    fleet answers once more while it serves, ``stop`` the alarm by which a fleet that does not is rolled back, ``bodies`` the
    captures that are read for answers without numbers.
    """

    create_model: Request = field(default_factory=dict)
    create_endpoint_config: Request = field(default_factory=dict)
    create_endpoint: Request = field(default_factory=dict)
    update_endpoint: Request = field(default_factory=dict)
    revert_endpoint: Request = field(default_factory=dict)
    expired: tuple[str, ...] = ()
    remove: str | None = None
    rehearsal: Request = field(default_factory=dict)
    synthetic: Request = field(default_factory=dict)
    shadow: Request = field(default_factory=dict)
    scaling: Request = field(default_factory=no_scaling)
    golden_sha256: str | None = None
    again: Request = field(default_factory=dict)
    stop: Request = field(default_factory=dict)
    bodies: Request = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the sources say.

    Args:
        row: The endpoint's row.
        spec: The desired spec.
        serving: The live version.
        package: Description of the package that the request is about (see ``wanted_package``).
        alarm_states: States of the spec's alarms that exist, and of the one that the request names.
        group: Group whose packages this endpoint serves.
        versions: Those of the live pointer's previous and kept configs that still exist.
        live_spec: The spec that the live config was made by, as far as it can be read.
        leftovers: What executions that died have left.
        frozen: Which freeze window holds now.
        rests: Why automatic work is paused now; read if a policy approved the package.
        approval: Why the package's approval does not count.
        signature: Why the package's archive is not what was signed.
        promotion: The record that shows the package's very container as promoted.
        slots: Both slots, where the endpoint is served on EKS.
        spec_stored: When the desired spec was stored last.
        never_served: Whether the endpoint is one of ours that failed before it ever served.
        quotas: How many instances the account may have; None where nothing needs to be asked.
        trust: Why the registry does not allow loading the package's model.
        promises: Why the package's model would refuse what APIs promise of the endpoint.
        traffic: What the live fleet answers; None where no bake depends on it.
        answers: What it answered in the hour before; None where no alarm of the policy is in ALARM.
    """

    row: LockRow
    spec: ServingSpec | None
    serving: Serving | None
    package: Mapping[str, Any] | None
    alarm_states: Mapping[str, str]
    group: str
    versions: Mapping[str, Version] = field(default_factory=dict)
    live_spec: ServingSpec | None = None
    leftovers: Leftovers = field(default_factory=Leftovers)
    frozen: str | None = None
    rests: str | None = None
    approval: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()
    promotion: AuditRecord | None = None
    slots: Slots | None = None
    spec_stored: datetime | None = None
    never_served: bool = False
    quotas: Quotas | None = None
    trust: tuple[str, ...] = ()
    promises: tuple[str, ...] = ()
    traffic: Traffic | None = None
    answers: Counts | None = None


class RefusedError(Exception):
    """The request cannot be carried out now; the message is the reason that is recorded."""


class NothingToDoError(Exception):
    """What is asked for already is, or has nothing to be done with; the message says which."""


class BusyError(Exception):
    """Something is under way at the endpoint that must end first; the message says what."""


def live_pointer(row: LockRow) -> LivePointer | None:
    """Return the live pointer of a row."""
    return None if row.live is None else from_json(LivePointer, row.live)


def poll_seconds(maximum: int) -> int:
    """Return how often a rollout of at most ``maximum`` seconds is polled.

    Example:
        >>> poll_seconds(3600), poll_seconds(28800)
        (30, 60)
    """
    return max(POLL_SECONDS, -(-(maximum + 900) // _POLLS))


def look_seconds(maximum: int) -> int:
    """Return how often such a rollout looks whether something has ended: a rehearsal, a shadow, a way back, another update.

    Example:
        >>> look_seconds(3600), look_seconds(28800)
        (30, 120)
    """
    return max(POLL_SECONDS, -(-(maximum + 900) // _LOOKS))
