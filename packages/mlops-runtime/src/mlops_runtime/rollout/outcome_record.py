"""Record of a state machine's outcome: the next record of the endpoint's audit chain, and the live pointer that moves with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import ContractError, from_dict, to_dict
from mlops_runtime.contracts.rollout import (
    AuditRecord,
    DiedExecution,
    LivePointer,
    LockRow,
    Outcome,
    RolloutVerdict,
    next_taken_back,
)
from mlops_runtime.eks.live_slots import serving as read_slots
from mlops_runtime.eks.slot_reader import SlotReader
from mlops_runtime.registry.model_package import PackageError, RegisteredPackage, read_package
from mlops_runtime.rollout.audit_chain import LOOK_BACK, AuditChain, Move, last_record, not_before
from mlops_runtime.rollout.definition_hash import FIELD
from mlops_runtime.rollout.deploy_plan import live_pointer, package_pointer
from mlops_runtime.rollout.kept_minutes import written_minutes
from mlops_runtime.rollout.live_fleet import Serving, read_description, read_serving
from mlops_runtime.rollout.passport import passport_of, read_gate

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_OF_NO_VERSION = (Outcome.REJECTED, Outcome.ASKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The outcome that a state machine reports.

    ``plan`` is the preflight's, empty without one. ``candidate`` describes a retraining's model that never became a package:
    ``model_sha256``, ``training_set_id``. ``machine_sha256`` is the hash of the Deploy machine's definition, None if unknown.
    ``verdict`` is the result of the comparison of both fleets, None without a comparison.
    """

    outcome: Outcome
    reason: str
    execution: str
    at: datetime
    request: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    candidate: Mapping[str, Any] = field(default_factory=dict)
    machine_sha256: str | None = None
    verdict: RolloutVerdict | None = None


def claim_from(event: Mapping[str, Any]) -> Claim:
    """Build a claim from the arguments of ``rollout_record``.

    Raises:
        ContractError: If an argument is missing or invalid.
    """
    missing = [name for name in ("outcome", "execution", "now") if not isinstance(event.get(name), str)]
    if missing:
        raise ContractError(f"not a valid claim: {', '.join(missing)} must be a string")
    outcomes = [outcome.value for outcome in Outcome]
    if event["outcome"] not in outcomes:
        raise ContractError(
            f"not a valid claim: outcome must be one of {', '.join(outcomes)}, got {event['outcome']!r}"
        )
    return Claim(
        outcome=Outcome(event["outcome"]),
        reason=str(event.get("reason", "")),
        execution=event["execution"],
        at=datetime.fromisoformat(event["now"]),
        request=_object(event, "request"),
        plan=_object(event, "plan"),
        candidate=_object(event, "candidate"),
        machine_sha256=_sha256(event.get(FIELD)),
        verdict=from_dict(RolloutVerdict, event["verdict"]) if event.get("verdict") else None,
    )


def next_record(row: LockRow, claim: Claim, serving: Serving | None, package: RegisteredPackage | None) -> AuditRecord:
    """Return the record that follows the row's head. It states the version that is live, regardless of the claimed one.

    Args:
        row: The endpoint's row.
        claim: The outcome that the execution reports.
        serving: The live version.
        package: Its package; None without a deployable one.
    """
    outcome, reason = _true_outcome(claim, serving, None if package is None else package.container_sha256)
    died = died_of(claim)
    planned = _planned_live(claim) if claim.plan.get("config_name") else {}
    version = None if serving is None or not serving.is_answering else serving.version
    promoted = None if outcome is not Outcome.PROMOTED or package is None else package.spec
    return AuditRecord(
        endpoint=row.endpoint,
        sequence=row.audit_sequence + 1,
        previous=row.audit_head,
        outcome=outcome,
        reason=reason if died is None else "; ".join(part for part in (_mentions(died), reason) if part),
        execution=claim.execution,
        at=str(to_dict(claim.at)),
        requested_by=str(_first(claim.plan.get("requested_by"), claim.request.get("requested_by"), "unknown")),
        serving_config=None if serving is None or not serving.is_answering else serving.config,
        serving_package=None if version is None else version.package,
        candidate_package=_first(
            None if died is None else died.model_package_arn,
            claim.plan.get("candidate_package"),
            claim.request.get("model_package_arn"),
        ),
        model_sha256=_first(planned.get("model_sha256"), claim.candidate.get("model_sha256")),
        training_set_id=_first(planned.get("training_set_id"), claim.candidate.get("training_set_id")),
        spec_sha256=planned.get("spec_sha256"),
        recovers=None if died is None else died.execution,
        container_sha256=planned.get("container_sha256"),
        golden_sha256=claim.plan.get("golden_sha256") if outcome is Outcome.PROMOTED else None,
        flavor=_first(promoted and promoted.flavor, claim.candidate.get("flavor")),
        trust=_first(promoted and promoted.trust, claim.candidate.get("trust")),
        verdict=claim.verdict,
    )


def died_of(claim: Claim) -> DiedExecution | None:
    """Return the execution that a claim's request recovers."""
    try:
        return from_dict(DiedExecution, claim.request["died"]) if claim.request.get("died") is not None else None
    except ContractError:
        return None  # a request that preflight rejected


def without_died(claim: Claim) -> Claim:
    """Return a recovery's claim without the dead execution, which had written its own record before it died."""
    return replace(claim, request={**claim.request, "died": None})


def next_live(
    row: LockRow, claim: Claim, serving: Serving | None, package: RegisteredPackage | None
) -> LivePointer | None:
    """Return the live pointer for the version that is live.

    A config that neither plan nor row contains was created elsewhere, or by an execution that died before recording it. Its pointer
    is rebuilt from its package, with an empty spec hash so that the next deployment of the spec applies, and with the recorded
    version as its previous one.
    """
    if serving is None or not serving.is_answering:
        return None
    known = live_pointer(row)
    if claim.plan.get("config_name") == serving.config:
        # between slots, the next execution can still return the traffic to the recorded version
        if claim.plan.get("eks") and claim.outcome is not Outcome.PROMOTED and known is not None:
            return known
        return _on_probation(from_dict(LivePointer, claim.plan["live"]), claim)
    if known is not None and known.config == serving.config:
        return known
    if serving.version is None or package is None:
        return None
    return package_pointer(
        package.spec,
        package.container_sha256,
        endpoint=row.endpoint,
        config=serving.config,
        model=serving.version.model,
        spec_sha256="",
        spec_uri="",
        execution=claim.execution,
        since=str(to_dict(claim.at)),
        previous=None if known is None else known.config,
        kept=None
        if known is None
        else tuple(c for c in (known.previous, *(known.kept or ())) if c is not None) or None,
    )


def _on_probation(live: LivePointer, claim: Claim) -> LivePointer:
    """Return the pointer with the time of its record, when a new model's probation begins."""
    live = replace(live, since=str(to_dict(claim.at)))
    seconds = claim.plan.get("probation", 0)
    return replace(live, probation_until=str(to_dict(claim.at + timedelta(seconds=seconds)))) if seconds else live


def is_same(record: AuditRecord, claim: Claim, serving: Serving | None) -> bool:
    """Whether a record already reports this execution's outcome: with the same live config, or a rejection or a question."""
    if record.execution == claim.execution and record.outcome is claim.outcome and claim.outcome in _OF_NO_VERSION:
        return True
    config = None if serving is None or not serving.is_answering else serving.config
    return record.execution == claim.execution and record.serving_config == config


def _mentions(died: DiedExecution) -> str:
    about = "" if died.model_package_arn is None else f" of {died.model_package_arn}"
    return (
        f"recovers {died.execution.rpartition(':')[2]}, which ended {died.status}: {died.reason}{about}, requested by "
        f"{died.requested_by}"
    )


def _planned_live(claim: Claim) -> Mapping[str, Any]:
    return claim.plan.get("live") or {}


def _true_outcome(claim: Claim, serving: Serving | None, container: str | None) -> tuple[Outcome, str]:
    planned, previous = claim.plan.get("config_name"), claim.plan.get("previous_config")
    settled = serving is not None and serving.status == "InService"
    config = None if serving is None else serving.config
    if claim.outcome is Outcome.PROMOTED and not (settled and config == planned):
        found = "no endpoint" if serving is None else f"{config}, {serving.status}"
        outcome = Outcome.ROLLED_BACK if settled and config == previous else Outcome.FAILED
        return outcome, f"meant to promote {planned}, but the endpoint has {found}; {claim.reason}".rstrip("; ")
    wanted = _planned_live(claim).get("container_sha256") if claim.outcome is Outcome.PROMOTED else None
    if wanted != container and wanted is not None:
        found = "can no longer be deployed" if container is None else f"has {container}"
        reason = f"{planned} is live, but its package, planned as {wanted}, {found}: it was changed in the meantime; {claim.reason}"
        return Outcome.FAILED, reason.rstrip("; ")
    if claim.outcome is Outcome.ROLLED_BACK and planned is not None and config == planned:
        return Outcome.FAILED, f"meant to be rolled back, but {planned} still serves; {claim.reason}".rstrip("; ")
    return claim.outcome, claim.reason


def _object(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ContractError(f"not a valid claim: {name} must be an object, got {value!r}")
    return value


def _sha256(value: Any) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) else None


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def record(
    claim: Claim,
    *,
    sagemaker: "SageMakerClient",
    chain: AuditChain,
    slots: SlotReader | None = None,
    has_endpoint: bool = True,
) -> dict[str, object]:
    """Append an execution's outcome, once, and move the live pointer to the live version.

    The pointer moves only for the execution that holds the lock, and never for a rejection, which has no rollout.

    Args:
        claim: The outcome that the execution reports.
        sagemaker: Client.
        chain: The endpoint's chain and row.
        slots: Reader of the endpoint's slots on EKS. Default: a SageMaker endpoint.
        has_endpoint: Whether this account has the endpoint; without one, the chain has only rejections and questions.
            Default: True.

    Returns:
        ``{"sequence", "serving_config", "outcome"}`` of the record.

    Raises:
        AuditError: If other writers kept moving the head.
    """
    serving = None
    if has_endpoint:
        serving = read_serving(sagemaker, chain.table.endpoint) if slots is None else read_slots(slots.read())
    description = _described(sagemaker, serving)
    package = _package(description)
    minutes = None if claim.verdict is None else written_minutes(chain.s3, claim.verdict)

    def follow(row: LockRow) -> Move | AuditRecord:
        newest = chain.newest(row, LOOK_BACK)
        for earlier in newest:
            if is_same(earlier, claim, serving):
                return earlier
        died = died_of(claim)
        is_recorded = died is not None and any(earlier.execution == died.execution for earlier in newest)
        new = next_record(row, without_died(claim) if is_recorded else claim, serving, package)
        new = chain.keep_minutes(not_before(new, last_record(row)), minutes)
        if new.outcome is Outcome.PROMOTED:
            passport = passport_of(
                new, package, description, read_gate(chain.s3, description), machine_sha256=claim.machine_sha256
            )
            new = replace(new, passport_sha256=chain.write_passport(passport))
        moves = claim.outcome not in _OF_NO_VERSION and row.owner == claim.execution
        live = next_live(row, claim, serving, package) if moves else None
        return Move(
            record=new,
            live=live,
            owner=claim.execution if moves else None,
            taken_back=next_taken_back(row, new) if moves else None,
        )

    return _answer(chain.append(follow))


def _answer(written: AuditRecord) -> dict[str, object]:
    return {"sequence": written.sequence, "serving_config": written.serving_config, "outcome": written.outcome.value}


def _described(sagemaker: "SageMakerClient", serving: Serving | None) -> Mapping[str, Any]:
    """Return the description of the live package; empty without one."""
    if serving is None or serving.version is None or serving.version.package is None:
        return {}
    return read_description(sagemaker, serving.version.package) or {}


def _package(description: Mapping[str, Any]) -> RegisteredPackage | None:
    try:
        return read_package(description) if description else None
    except PackageError:
        return None  # an unusable package has no baseline to point at
