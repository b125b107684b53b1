"""Adapter: asks a pipeline for a retraining, also with a model made elsewhere, and reads what came of that."""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json, from_dict, to_dict
from mlops_runtime.contracts.events import DetailType, EventDetail, request_source
from mlops_runtime.contracts.model import Metric, ModelSignature
from mlops_runtime.contracts.model_manifest import Flavor, Trust
from mlops_runtime.contracts.retraining import Candidate, Decision, GuardDecision, candidate_uri
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.retraining.pipeline_access import PipelineAccess

# one call of PutObject: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
MAXIMUM_BYTES = 5 * 1024**3
_RUNNING = ("RUNNING", "PENDING_REDRIVE")
# what a prediction may mean, by the loss that measures it
_KINDS: Mapping[Metric, tuple[str, ...]] = {
    "wape": ("number", "numbers"),
    "mae": ("number", "numbers"),
    "log_loss": ("probability", "number"),
    "brier": ("probability", "number"),
    "macro_log_loss": ("classes",),
    "custom_loss": ("vector",),
}
# of the machine, whose other outcomes are not about a candidate
REGISTERED_OUTCOMES = ("REGISTERED", "APPROVED")


class RetrainingRequestError(ValueError):
    """A retraining cannot be asked for, or a model not be brought to it; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingOutcome:
    """What came of an execution: ``outcome`` is the machine's, or the status of an execution that was ended otherwise.

    ``package`` is the ARN of the model package, where one was registered.
    """

    outcome: str
    reason: str
    package: str | None = None

    @property
    def is_registered(self) -> bool:
        """Whether the model is in the registry."""
        return self.outcome in REGISTERED_OUTCOMES


class RetrainingRequests(PipelineAccess):
    """A pipeline as the caller of a retraining sees it."""

    def unpublished(self) -> str | None:
        """Return what to do where the pipeline has nothing to measure on; None where it has, or the caller may not look."""
        place = self.pipeline.training_set
        if place is None:
            return None
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        try:
            holdout = f"{prefix.strip('/')}/holdout/"
            found = self.s3.list_objects_v2(Bucket=bucket, Prefix=holdout, MaxKeys=1)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return None
        if found.get("Contents"):
            return None
        return (
            f"no training set is published for {self.pipeline.pipeline}: {place} has no holdout; publish one with: "
            f"mlops train {self.pipeline.pipeline} --data FILE --publish-only --reason ..."
        )

    def upload(
        self,
        archive: Path,
        *,
        sha256: str,
        flavor: Flavor | None = None,
        trust: Trust | None = None,
        predictions: Path | None = None,
    ) -> Candidate:
        """Write an archive, and what the team got from the model, below the prefix of those who may register.

        Raises:
            RetrainingRequestError: If the archive is larger than S3 takes in a call, or is not what its hash says.
        """
        size = archive.stat().st_size
        if size > MAXIMUM_BYTES:
            raise RetrainingRequestError(
                f"the model has {size} bytes packed, at most {MAXIMUM_BYTES} are taken; leave out what it does not need"
            )
        uri = candidate_uri(self.unit.artifacts_bucket, self.pipeline.pipeline, sha256)
        self._put(uri, archive, sha256)
        given = None
        if predictions is not None:
            digest = hashlib.sha256(predictions.read_bytes()).hexdigest()
            given = f"{uri.rpartition('/')[0]}/predictions-{digest[:16]}.parquet"
            self._put(given, predictions, digest)
        return Candidate(uri=uri, sha256=sha256, flavor=flavor, trust=trust, predictions_uri=given)

    def ask(self, candidate: Candidate | None = None, *, caller: str, reason: str, again: bool = False) -> str:
        """Ask for a retraining, and return the id of the event.

        Args:
            candidate: An uploaded model, which is taken instead of training one.
            caller: ``UserId`` of ``sts:GetCallerIdentity``; IAM allows the caller no other.
            reason: Why, for the record.
            again: Whether to measure a model again that was brought before. Default: what came of it answers.

        Raises:
            RetrainingRequestError: If the bus does not take the event.
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
                f"the bus {self.unit.bus} did not take the request: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
            )
        return entry["EventId"]

    def decision(self, event_id: str) -> GuardDecision | None:
        """Return what the guard decided on an event; ``None`` while it has not."""
        key: Any = {"pipeline": {"S": self.pipeline.pipeline}, "item": {"S": f"EVENT#{event_id}"}}
        item = self.dynamodb.get_item(TableName=self.pipeline.retraining_table, Key=key, ConsistentRead=True).get(
            "Item"
        )
        if item is None:
            return None
        return from_dict(GuardDecision, {name: value["S"] for name, value in item.items() if "S" in value})

    def outcome(self, execution: str) -> RetrainingOutcome | None:
        """Return what came of an execution; ``None`` while it runs, or where it was not started yet."""
        try:
            found = self.stepfunctions.describe_execution(executionArn=execution)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return None
            raise
        if found["status"] in _RUNNING:
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
        """Check that no execution runs: its training would be of one published set, and its evaluation of the next.

        Raises:
            RetrainingRequestError: If one runs.
        """
        key: Any = {"pipeline": {"S": self.pipeline.pipeline}, "item": {"S": "STATE"}}
        state = self.dynamodb.get_item(TableName=self.pipeline.retraining_table, Key=key, ConsistentRead=True)
        owner = state.get("Item", {}).get("owner", {}).get("S")
        if owner is None:
            return
        try:
            found = self.stepfunctions.describe_execution(executionArn=owner, includedData="METADATA_ONLY")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":  # it was never started
                return
            raise
        if found["status"] in _RUNNING:
            name = owner.rpartition(":")[2]
            raise RetrainingRequestError(
                f"nothing was published: {name} of {self.pipeline.pipeline} runs on the set that is there, and would be measured "
                f"on another; wait until it has ended (mlops runs show {name} --pipeline {self.pipeline.pipeline})"
            )

    def _put(self, uri: str, file: Path, sha256: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with file.open("rb") as body:
            self.s3.put_object(
                Bucket=bucket, Key=key, Body=body, ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode()
            )


def kind_problem(pipeline: PipelineEntry, signature: ModelSignature) -> str | None:
    """Return why a pipeline's metric does not measure what a model predicts; None where it does, or the metric is not known.

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
    """Return what came of a model that was brought before; None where its run goes on, or none answers.

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
    """Return why a guard's decision started nothing, with what to do.

    Example:
        >>> refusal_of(GuardDecision(decision=Decision.BUSY, event_id="e", at="2017-08-01T09:00:00Z", reason="another runs"))
        'the guard answered BUSY: another runs; wait until it has ended, then ask again'
    """
    if decision.decision is Decision.KNOWN:
        return decision.reason
    fixes = {
        Decision.BUSY: "wait until it has ended, then ask again",
        Decision.OVER_BUDGET: "ask again tomorrow, or raise max_runs_per_day and deploy the stack",
        Decision.STALE: "the clocks differ by more than the guard allows; ask again",
    }
    fix = fixes.get(decision.decision, "put that right and ask again")
    return f"the guard answered {decision.decision.value}: {decision.reason}; {fix}"
