"""Plan of a Deploy execution, as the state machine reads it, and the facts that it is based on.

See ``slot_plan`` for the plan between two slots.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import ModelPackageSpec
from mlops_runtime.contracts.rollout import AuditRecord, LivePointer, LockRow, ServingSpec
from mlops_runtime.eks.live_slots import Slots
from mlops_runtime.rollout.evidence_requests import BodiesRequest, VerdictRequest
from mlops_runtime.rollout.fleet_alarms import StopRequest
from mlops_runtime.rollout.fleet_capacity import Scaling, no_scaling
from mlops_runtime.rollout.instance_quota import Quotas
from mlops_runtime.rollout.live_fleet import Leftovers, Serving, Version
from mlops_runtime.rollout.live_history import Counts
from mlops_runtime.rollout.plan_requests import REQUEST, PlanPart, RehearsalRequest, ShadowRequest, SyntheticRequest
from mlops_runtime.rollout.planned_bake import Traffic
from mlops_runtime.rollout.probation_share import ShareRequest
from mlops_runtime.rollout.rehearsed_answers import GoldenRepeat

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import PutMetricAlarmInputTypeDef
    from mypy_boto3_sagemaker.type_defs import (
        CreateEndpointConfigInputTypeDef,
        CreateEndpointInputTypeDef,
        CreateModelInputTypeDef,
        UpdateEndpointInputTypeDef,
    )

POLL_SECONDS = 30
# an execution's history has at most 25,000 events, and the longest rollout takes eight hours
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
# a poll that compares fleets takes 23 events; polls that only wait for an end have three loops, so they run half as often
_POLLS, _LOOKS = 495, 248


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(PlanPart):
    """Plan of the Deploy machine, for any target.

    A candidate that a dead execution left is adopted, reverted or discarded; see ``dead_execution``. ``live`` is the pointer after
    the plan, or the current one if nothing is deployed. ``container_sha256`` is that of the candidate's package. ``verdict`` is the
    request to compare both fleets each ``poll_seconds``, None without a comparison; other waits poll each ``look_seconds``.
    ``probation_alarm`` is created at the promotion of a model that goes on probation, with the share of ``probation_share``.
    """

    action: Literal["create", "update", "nothing", "refuse", "wait", "adopt", "revert", "discard"]
    reason: str
    endpoint: str
    started: str
    variant: str = ""
    alarms: "tuple[PutMetricAlarmInputTypeDef, ...]" = ()
    alarm_names: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    model_name: str | None = None
    config_name: str | None = None
    previous_config: str | None = None
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
    verdict: VerdictRequest | None = field(default=None, metadata=REQUEST)
    probation_alarm: "PutMetricAlarmInputTypeDef | None" = field(default=None, metadata=REQUEST)
    probation_share: ShareRequest | None = field(default=None, metadata=REQUEST)


AnyPlan = TypeVar("AnyPlan", bound=Plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class SageMakerPlan(Plan):
    """A plan for a SageMaker endpoint: arguments of API calls, each None if the call is not made.

    ``golden_sha256`` is the hash of the golden set that the package must pass before promotion. ``again`` is the request to send
    the golden requests once more while the new fleet serves, ``stop`` the alarm that rolls a fleet back which fails them, and
    ``bodies`` the request to check captured responses for missing numbers.
    """

    create_model: "CreateModelInputTypeDef | None" = field(default=None, metadata=REQUEST)
    create_endpoint_config: "CreateEndpointConfigInputTypeDef | None" = field(default=None, metadata=REQUEST)
    create_endpoint: "CreateEndpointInputTypeDef | None" = field(default=None, metadata=REQUEST)
    update_endpoint: "UpdateEndpointInputTypeDef | None" = field(default=None, metadata=REQUEST)
    revert_endpoint: "UpdateEndpointInputTypeDef | None" = field(default=None, metadata=REQUEST)
    expired: tuple[str, ...] = ()
    remove: str | None = None
    rehearsal: RehearsalRequest | None = field(default=None, metadata=REQUEST)
    synthetic: SyntheticRequest | None = field(default=None, metadata=REQUEST)
    shadow: ShadowRequest | None = field(default=None, metadata=REQUEST)
    scaling: Scaling = field(default_factory=no_scaling)
    golden_sha256: str | None = None
    again: GoldenRepeat | None = field(default=None, metadata=REQUEST)
    stop: StopRequest | None = field(default=None, metadata=REQUEST)
    bodies: BodiesRequest | None = field(default=None, metadata=REQUEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts that a plan is based on, read from their sources."""

    row: LockRow  # the endpoint's row
    spec: ServingSpec | None  # the desired spec
    serving: Serving | None  # the live version
    package: Mapping[str, Any] | None  # description of the requested package (see `wanted_package`)
    alarm_states: Mapping[str, str]  # states of the spec's existing alarms, and of the alarm that the request names
    group: str  # group whose packages this endpoint serves
    # the live pointer's previous and kept configs that still exist
    versions: Mapping[str, Version] = field(default_factory=dict)
    live_spec: ServingSpec | None = None  # the spec of the live config, if it can be read
    leftovers: Leftovers = field(default_factory=Leftovers)  # resources that dead executions left behind
    frozen: str | None = None  # the active freeze window
    rests: str | None = None  # why automatic work is paused now; read if a policy approved the package
    approval: tuple[str, ...] = ()  # why the package's approval does not count
    signature: tuple[str, ...] = ()  # why the package's archive does not match its signature
    promotion: AuditRecord | None = None  # the record that shows the package's exact container as promoted
    slots: Slots | None = None  # both slots of an endpoint on EKS
    spec_stored: datetime | None = None  # when the desired spec was last stored
    never_served: bool = False  # whether the endpoint was created by a rollout and failed before it ever served
    quotas: Quotas | None = None  # quotas of the account's instances; None if none has to be checked
    trust: tuple[str, ...] = ()  # why the registry does not allow loading the package's model
    promises: tuple[str, ...] = ()  # why the package's model would reject requests that APIs of the endpoint allow
    traffic: Traffic | None = None  # traffic of the live fleet; None if no bake depends on it
    answers: Counts | None = None  # its responses in the hour before; None if no alarm of the policy is in ALARM


class RefusedError(Exception):
    """The request cannot be carried out now; the message is recorded as the reason."""


class NothingToDoError(Exception):
    """The requested state is already reached, or there is nothing to change; the message states which."""


class BusyError(Exception):
    """An operation on the endpoint must end first; the message names it."""


def live_pointer(row: LockRow) -> LivePointer | None:
    """Return the live pointer of a row."""
    return None if row.live is None else from_json(LivePointer, row.live)


def package_pointer(package: ModelPackageSpec, container_sha256: str, **deployed: Any) -> LivePointer:
    """Return a live pointer to a registered package.

    Args:
        container_sha256: The hash of its content.
        deployed: The pointer's other fields, which do not follow from the package.
    """
    return LivePointer(
        model_package_arn=package.package_arn or "",
        model_sha256=package.model_sha256,
        artifact_uri=package.artifact_uri,
        baseline_uri=package.baseline_uri,
        evaluation_uri=package.evaluation_uri,
        training_set_id=package.training_set_id,
        baseline_sha256=package.baseline_sha256,
        artifact_sha256=package.artifact_sha256,
        container_sha256=container_sha256,
        image=package.needed_image,
        flavor=package.flavor,
        trained_until=package.trained_until,
        **deployed,
    )


def poll_seconds(maximum: int) -> int:
    """Return the polling interval in seconds of a rollout that takes at most ``maximum`` seconds.

    Example:
        >>> poll_seconds(3600), poll_seconds(28800)
        (30, 60)
    """
    return max(POLL_SECONDS, -(-(maximum + 900) // _POLLS))


def look_seconds(maximum: int) -> int:
    """Return the polling interval in seconds for the end of a rehearsal, a shadow, a rollback or another update.

    Example:
        >>> look_seconds(3600), look_seconds(28800)
        (30, 120)
    """
    return max(POLL_SECONDS, -(-(maximum + 900) // _LOOKS))
