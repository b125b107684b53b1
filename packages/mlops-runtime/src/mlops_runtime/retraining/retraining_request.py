"""Adapter that requests a retraining, optionally with a model made elsewhere, and reads its outcome."""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops_runtime.contracts import canonical_json, from_dict, to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, request_source
from mlops_runtime.contracts.model import Metric, ModelSignature
from mlops_runtime.contracts.model_manifest import Flavor, Trust
from mlops_runtime.contracts.retraining import Candidate, Decision, GuardDecision, candidate_uri
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.refused_calls import Tolerated
from mlops_runtime.retraining.pipeline_access import PipelineAccess

# one call of PutObject: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
MAXIMUM_BYTES = 5 * 1024**3
_RUNNING = ("RUNNING", "PENDING_REDRIVE")
# kinds of predictions that each loss can measure
_KINDS: Mapping[Metric, tuple[str, ...]] = {
    "wape": ("number", "numbers"),
    "mae": ("number", "numbers"),
    "log_loss": ("probability", "number"),
    "brier": ("probability", "number"),
    "macro_log_loss": ("classes",),
    "custom_loss": ("vector",),
}
# outcomes of the machine with a registered package
REGISTERED_OUTCOMES = ("REGISTERED", "APPROVED")


class RetrainingRequestError(ValueError):
    """A retraining cannot be requested, or a model cannot be submitted; the message states the reason and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingOutcome:
    """Outcome of an execution: the machine's, or the status of an execution that ended otherwise.

    ``package`` is the ARN of the registered model package, if any.
    """

    outcome: str
    reason: str
    package: str | None = None

    @property
    def is_registered(self) -> bool:
        """Whether the model is in the registry."""
        return self.outcome in REGISTERED_OUTCOMES


class RetrainingRequests(PipelineAccess):
    """Requests to a pipeline and their outcomes."""

    def unpublished(self) -> str | None:
        """Return the fix if the pipeline has no published holdout; None if it has one, or if the caller may not list it."""
        place = self.pipeline.training_set
        if place is None:
            return None
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        with Tolerated("AccessDenied"):
            holdout = f"{prefix.strip('/')}/holdout/"
            if not self.s3.list_objects_v2(Bucket=bucket, Prefix=holdout, MaxKeys=1).get("Contents"):
                return (
                    f"no training set is published for {self.pipeline.pipeline}: {place} has no holdout; publish one with: "
                    f"mlops train {self.pipeline.pipeline} --data FILE --publish-only --reason ..."
                )
        return None

    def upload(
        self,
        archive: Path,
        *,
        sha256: str,
        flavor: Flavor | None = None,
        trust: Trust | None = None,
        predictions: Path | None = None,
    ) -> Candidate:
        """Upload an archive, and the team's predictions, below the prefix for registrations.

        Raises:
            RetrainingRequestError: If the archive exceeds the size limit of one S3 call.
        """
        size = archive.stat().st_size
        if size > MAXIMUM_BYTES:
            raise RetrainingRequestError(
                f"the model has {size} bytes packed, at most {MAXIMUM_BYTES} are allowed; leave out files that it does not need"
            )
        uri = candidate_uri(self.unit.artifacts_bucket, self.pipeline.pipeline, sha256)
        self._put(uri, archive, sha256)
        given = None
        if predictions is not None:
            digest = hashlib.sha256(predictions.read_bytes()).hexdigest()
            given = f"{uri.rpartition('/')[0]}/predictions-{digest[:16]}.parquet"
            self._put(given, predictions, digest)
        return Candidate(uri=uri, sha256=sha256, flavor=flavor, trust=trust, predictions_uri=given)

    def send(self, candidate: Candidate | None = None, *, caller: str, reason: str, again: bool = False) -> str:
        """Request a retraining, and return the id of the event.

        Args:
            candidate: An uploaded model to use instead of training one.
            caller: ``UserId`` of ``sts:GetCallerIdentity``; IAM allows the caller no other value.
            reason: Reason, for the record.
            again: Whether to evaluate a known model again. Default: False, its earlier outcome is returned.

        Raises:
            RetrainingRequestError: If the bus rejects the event.
        """
        attributes = {} if candidate is None else {"candidate": canonical_json(candidate).decode()}
        detail = EventDetail(
            id=uuid.uuid4().hex if candidate is None else candidate.sha256,
            subject=self.pipeline.pipeline,
            outcome="REQUESTED",
            reason=reason,
            attributes=attributes | ({"again": "true"} if again else {}),
        )
        answer = self.events.put_events(
            Entries=[
                {
                    "EventBusName": self.unit.bus,
                    "Source": request_source(self.unit.unit, caller),
                    "DetailType": DetailType.RETRAINING_REQUESTED.value,
                    "Detail": json.dumps(to_dict(detail)),
                }
            ]
        )
        (entry,) = answer["Entries"]
        if "EventId" not in entry:
            raise RetrainingRequestError(
                f"the bus {self.unit.bus} rejected the request: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
            )
        return entry["EventId"]

    def decision(self, event_id: str) -> GuardDecision | None:
        """Return the guard's decision on an event; ``None`` before the decision."""
        key: Any = {"pipeline": {"S": self.pipeline.pipeline}, "item": {"S": f"EVENT#{event_id}"}}
        item = self.dynamodb.get_item(TableName=self.pipeline.retraining_table, Key=key, ConsistentRead=True).get(
            "Item"
        )
        if item is None:
            return None
        return from_dict(GuardDecision, {name: value["S"] for name, value in item.items() if "S" in value})

    def outcome(self, execution: str) -> RetrainingOutcome | None:
        """Return the outcome of an execution; ``None`` while it runs, or if it has not started yet."""
        found = self._described(execution)
        if found is None or found["status"] in _RUNNING:
            return None
        if found["status"] != "SUCCEEDED":
            return RetrainingOutcome(
                outcome=found.get("error", found["status"]), reason=found.get("cause", "no cause is known")
            )
        output: dict[str, str] = json.loads(found.get("output", "{}"))
        return RetrainingOutcome(
            outcome=output.get("outcome", "FAILED"),
            reason=output.get("reason", ""),
            package=output.get("package") or None,
        )

    def require_idle(self) -> None:
        """Check that no execution runs, which would train on one published set and be evaluated on the next one.

        Raises:
            RetrainingRequestError: If an execution runs.
        """
        key: Any = {"pipeline": {"S": self.pipeline.pipeline}, "item": {"S": "STATE"}}
        state = self.dynamodb.get_item(TableName=self.pipeline.retraining_table, Key=key, ConsistentRead=True)
        owner = state.get("Item", {}).get("owner", {}).get("S")
        if owner is None:
            return
        found = self._described(owner, includedData="METADATA_ONLY")
        if found is not None and found["status"] in _RUNNING:
            name = owner.rpartition(":")[2]
            raise RetrainingRequestError(
                f"nothing was published: {name} of {self.pipeline.pipeline} is running on the current set, and would be evaluated "
                f"on another; wait until it has ended (mlops runs show {name} --pipeline {self.pipeline.pipeline})"
            )

    def _described(self, execution: str, **options: Any) -> Mapping[str, Any] | None:
        """Return the description of an execution; None if it was never started."""
        with Tolerated("ExecutionDoesNotExist"):
            return self.stepfunctions.describe_execution(executionArn=execution, **options)
        return None

    def _put(self, uri: str, file: Path, sha256: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with file.open("rb") as body:
            self.s3.put_object(
                Bucket=bucket, Key=key, Body=body, ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode()
            )


def kind_problem(pipeline: PipelineEntry, signature: ModelSignature) -> str | None:
    """Return why a pipeline's metric does not fit a model's predictions; None if it fits, or if the metric is unknown.

    Example:
        >>> pipeline = PipelineEntry(pipeline="demand-forecast", unit="demand", group="g", retraining_table="t",
        ...                          retrain_machine="m", queue_url="q", metric="wape")
        >>> print(kind_problem(pipeline, ModelSignature(inputs=(), output="churn", kind="probability")))
        the model is of kind 'probability', demand-forecast measures wape, which is of number or numbers; register it with ...
    """
    kind = signature.kind or "number"
    if pipeline.metric is None:
        return None
    if kind not in _KINDS[pipeline.metric]:
        fits = " or ".join(metric for metric, kinds in _KINDS.items() if kind in kinds)
        return (
            f"the model is of kind {kind!r}, {pipeline.pipeline} measures {pipeline.metric}, which is of "
            f"{' or '.join(_KINDS[pipeline.metric])}; "
            + (f"register it with a pipeline that measures {fits}" if fits else "serve it without retraining")
        )
    if (signature.outputs if kind == "numbers" else None) != pipeline.labels:
        wanted = ", ".join(pipeline.labels or (pipeline.label or "one number",))
        found = ", ".join(signature.outputs or (signature.output,))
        return f"the model predicts {found}, {pipeline.pipeline} measures {wanted} in this order"
    return None


def earlier_outcome(decision: GuardDecision) -> RetrainingOutcome | None:
    """Return the earlier outcome of a known model; None for other decisions, or while its run continues.

    Example:
        >>> known = GuardDecision(decision=Decision.KNOWN, event_id="e", at="2017-08-01T09:00:00Z", outcome="REJECTED",
        ...                       reason="already rejected by the gate")
        >>> earlier_outcome(known).reason
        'already rejected by the gate'
    """
    if decision.decision is not Decision.KNOWN or decision.outcome is None:
        return None
    return RetrainingOutcome(outcome=decision.outcome, reason=decision.reason, package=decision.package)


def refusal_of(decision: GuardDecision) -> str:
    """Return why a guard's decision started no retraining, with the fix.

    Example:
        >>> refusal_of(GuardDecision(decision=Decision.BUSY, event_id="e", at="2017-08-01T09:00:00Z", reason="another runs"))
        'the guard answered BUSY: another runs; wait until it has ended, then request it again'
    """
    if decision.decision is Decision.KNOWN:
        return decision.reason
    fixes = {
        Decision.BUSY: "wait until it has ended, then request it again",
        Decision.OVER_BUDGET: "request it again tomorrow, or raise max_runs_per_day and deploy the stack",
        Decision.STALE: "the clocks differ by more than the guard allows; request it again",
    }
    fix = fixes.get(decision.decision, "correct it and request it again")
    return f"the guard answered {decision.decision.value}: {decision.reason}; {fix}"
