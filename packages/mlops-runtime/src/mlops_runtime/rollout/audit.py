"""The audit chain: which record comes next, where the live pointer then is, and whether a chain is whole.

Each record names the hash of the one before; the head is in the endpoint's row. A record can therefore not be changed, left out,
put elsewhere or doubled without a break that ``verify`` names. Whoever can write the row as well can forge a chain that is whole in
itself: ``seals`` finds that.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mlops_runtime.contracts import ContractError, content_hash, from_dict, from_json, to_dict
from mlops_runtime.contracts.rollout import (
    SEAL,
    AuditRecord,
    DiedExecution,
    LivePointer,
    LockRow,
    Outcome,
    audit_key,
)
from mlops_runtime.registry.package import RegisteredPackage
from mlops_runtime.rollout.definition_hash import FIELD
from mlops_runtime.rollout.serving import Serving

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a state machine says came out; ``plan`` is the preflight's, empty where there is none.

    ``candidate`` is what a retraining knows of a model that never became a package: ``model_sha256``, ``training_set_id``;
    ``machine_sha256`` is the hash of the Deploy machine's definition, None where there is none.
    """

    outcome: Outcome
    reason: str
    execution: str
    at: datetime
    request: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    candidate: Mapping[str, Any] = field(default_factory=dict)
    machine_sha256: str | None = None


def claim_from(event: Mapping[str, Any]) -> Claim:
    """Build a claim from the arguments of ``rollout_record``.

    Raises:
        ContractError: If one is missing or wrong.
    """
    missing = [name for name in ("outcome", "execution", "now") if not isinstance(event.get(name), str)]
    if missing:
        raise ContractError(f"not a valid claim: {', '.join(missing)} must be text")
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
    )


def next_record(row: LockRow, claim: Claim, serving: Serving | None, package: RegisteredPackage | None) -> AuditRecord:
    """Return the record that follows the row's head. It says what serves, whatever was claimed.

    Args:
        row: The endpoint's.
        claim: What the execution says.
        serving: What serves.
        package: The package of that, None where there is none that could be deployed.
    """
    outcome, reason = _true_outcome(claim, serving, None if package is None else package.container_sha256)
    died = died_of(claim)
    planned: Mapping[str, Any] = claim.plan.get("live", {}) if claim.plan.get("config_name") else {}
    version = None if serving is None or not serving.is_answering else serving.version
    return AuditRecord(
        endpoint=row.endpoint,
        sequence=row.audit_sequence + 1,
        previous=row.audit_head,
        outcome=outcome,
        reason=reason if died is None else "; ".join(part for part in (_tells_of(died), reason) if part),
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
    )


def last_record(row: LockRow) -> AuditRecord | None:
    """Return the record at a row's head; None before the first, and if what the row carries is not the record that it names."""
    if row.audit_last is None:
        return None
    try:
        record = from_json(AuditRecord, row.audit_last)
    except ContractError:
        return None
    named = (row.endpoint, row.audit_sequence, row.audit_head)
    return record if (record.endpoint, record.sequence, content_hash(record)) == named else None


def not_before(record: AuditRecord, earlier: AuditRecord | None) -> AuditRecord:
    """Return a record whose time is not before that of the one that it follows: two executions may end within a moment."""
    before, now = (None if earlier is None else _time(earlier)), _time(record)
    if earlier is None or before is None or now is None or now >= before:
        return record
    return replace(record, at=earlier.at)


def died_of(claim: Claim) -> DiedExecution | None:
    """Return the execution that a claim's request recovers."""
    try:
        return from_dict(DiedExecution, claim.request["died"]) if claim.request.get("died") is not None else None
    except ContractError:
        return None  # a request that preflight did not take


def without_died(claim: Claim) -> Claim:
    """Return the claim of a recovery whose execution had told of itself before it died."""
    return replace(claim, request={**claim.request, "died": None})


def next_live(
    row: LockRow, claim: Claim, serving: Serving | None, package: RegisteredPackage | None
) -> LivePointer | None:
    """Return the live pointer that is true for what serves.

    A config that neither the plan nor the row knows was made elsewhere, or by an execution that died before it could record it: its
    pointer is rebuilt from its package, with an empty spec hash, so that the next deployment of the spec applies to it. What was
    recorded as live is its way back.
    """
    if serving is None or not serving.is_answering:
        return None
    known = None if row.live is None else from_json(LivePointer, row.live)
    if claim.plan.get("config_name") == serving.config:
        # between slots the next execution still can do what this one could not: take the traffic back to what is recorded
        if claim.plan.get("eks") and claim.outcome is not Outcome.PROMOTED and known is not None:
            return known
        return _on_probation(from_dict(LivePointer, claim.plan["live"]), claim)
    if known is not None and known.config == serving.config:
        return known
    if serving.version is None or package is None:
        return None
    return LivePointer(
        endpoint=row.endpoint,
        config=serving.config,
        model=serving.version.model,
        model_package_arn=package.arn,
        model_sha256=package.spec.model_sha256,
        artifact_uri=package.spec.artifact_uri,
        baseline_uri=package.spec.baseline_uri,
        evaluation_uri=package.spec.evaluation_uri,
        training_set_id=package.spec.training_set_id,
        spec_sha256="",
        spec_uri="",
        execution=claim.execution,
        since=str(to_dict(claim.at)),
        baseline_sha256=package.spec.baseline_sha256,
        artifact_sha256=package.spec.artifact_sha256,
        container_sha256=package.container_sha256,
        previous=None if known is None else known.config,
        kept=None
        if known is None
        else tuple(c for c in (known.previous, *(known.kept or ())) if c is not None) or None,
    )


def _on_probation(live: LivePointer, claim: Claim) -> LivePointer:
    """Return the pointer from the time of its record on; a new model's probation begins then."""
    live = replace(live, since=str(to_dict(claim.at)))
    seconds = claim.plan.get("probation", 0)
    return replace(live, probation_until=str(to_dict(claim.at + timedelta(seconds=seconds)))) if seconds else live


def is_same(record: AuditRecord, claim: Claim, serving: Serving | None) -> bool:
    """Whether a record already says what came of this execution: it is about the same one, and the same config serves.

    A rejection is about a candidate, whatever serves meanwhile.
    """
    if record.execution == claim.execution and record.outcome is claim.outcome is Outcome.REJECTED:
        return True
    config = None if serving is None or not serving.is_answering else serving.config
    return record.execution == claim.execution and record.serving_config == config


def verify(objects: Mapping[str, bytes], *, endpoint: str, head: str, sequence: int) -> list[str]:
    """Return what is wrong with a chain; empty if it is whole.

    Args:
        objects: Content of each audit object by key; seals among them are left to ``seals.broken_seals``.
        endpoint: Whose chain it is.
        head: Hash that the endpoint's row names as the newest record's.
        sequence: Sequence that the row names.
    """
    problems: list[str] = []
    records: dict[str, AuditRecord] = {}  # by hash
    for key, content in sorted(objects.items()):
        if key.endswith(SEAL):
            continue
        try:
            record = from_json(AuditRecord, content)
        except ContractError as error:
            problems.append(f"{key} is changed: {error}")
            continue
        digest = hashlib.sha256(content).hexdigest()
        if key != audit_key(endpoint, record.sequence, digest) or record.endpoint != endpoint:
            problems.append(
                f"{key} is changed: its content belongs to {audit_key(record.endpoint, record.sequence, digest)}"
            )
            continue
        records[digest] = record
    numbers = Counter(record.sequence for record in records.values())
    problems += [
        f"sequence {number} is forked: {count} records" for number, count in sorted(numbers.items()) if count > 1
    ]
    problems += [f"sequence {number} is missing" for number in range(1, sequence + 1) if number not in numbers]
    problems += [f"sequence {number} is before the first" for number in sorted(numbers) if number < 1]
    problems += [f"sequence {number} is past the head at {sequence}" for number in sorted(numbers) if number > sequence]
    return problems + _broken_links(records, head, sequence) + _backward_times(records.values())


def _broken_links(records: Mapping[str, AuditRecord], head: str, sequence: int) -> list[str]:
    expected = head
    for number in range(sequence, 0, -1):
        record = records.get(expected)
        if record is None:
            return [f"sequence {number} does not have the hash {expected[:16]} that follows from the head"]
        if record.sequence != number:
            return [f"reordered: the record after sequence {number} follows sequence {record.sequence}"]
        expected = record.previous
    return [] if expected == GENESIS else [f"the first record follows {expected[:16]}, not the beginning"]


def _backward_times(records: Iterable[AuditRecord]) -> list[str]:
    problems = []
    newest: datetime | None = None
    for record in sorted(records, key=lambda record: record.sequence):
        time = _time(record)
        if time is None or (newest is not None and time < newest):
            problems.append(f"sequence {record.sequence} is of {record.at}, earlier than a record before it")
        newest = time if newest is None else max(newest, time or newest)
    return problems


def _time(record: AuditRecord) -> datetime | None:
    try:
        time = datetime.fromisoformat(record.at)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _tells_of(died: DiedExecution) -> str:
    about = "" if died.model_package_arn is None else f" of {died.model_package_arn}"
    return (
        f"recovers {died.execution.rpartition(':')[2]}, which was {died.status}: {died.reason}{about}, asked for by "
        f"{died.requested_by}"
    )


def _true_outcome(claim: Claim, serving: Serving | None, container: str | None) -> tuple[Outcome, str]:
    planned, previous = claim.plan.get("config_name"), claim.plan.get("previous_config")
    settled = serving is not None and serving.status == "InService"
    config = None if serving is None else serving.config
    if claim.outcome is Outcome.PROMOTED and not (settled and config == planned):
        found = "no endpoint" if serving is None else f"{config}, {serving.status}"
        outcome = Outcome.ROLLED_BACK if settled and config == previous else Outcome.FAILED
        return outcome, f"meant to promote {planned}, but the endpoint has {found}; {claim.reason}".rstrip("; ")
    wanted = claim.plan.get("live", {}).get("container_sha256") if claim.outcome is Outcome.PROMOTED else None
    if wanted != container and wanted is not None:
        found = "cannot be deployed any more" if container is None else f"holds {container}"
        reason = (
            f"{planned} serves, but its package, planned as {wanted}, {found}: it was changed meanwhile; {claim.reason}"
        )
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
