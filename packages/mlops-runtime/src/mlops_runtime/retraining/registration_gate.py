"""Gate of a candidate's registration: absolute limits, naive baselines, and the champion, overall and by segment."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.business_unit.automation import Automation
from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import (
    ComparedPredictions,
    Evaluation,
    GateCheck,
    GateResult,
    GateVerdict,
    SegmentCoverage,
)
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.contracts.serving import RequestPromise
from mlops_runtime.inference_api.request_promise import broken_promises
from mlops_runtime.registry.model_package import ABSENT, MLOPS_TRUST, MODEL_SHA256, registered_metadata
from mlops_runtime.registry.package_approval import trust_problems
from mlops_runtime.retraining.evaluation_evidence import loss_of, problems
from mlops_runtime.retraining.loss_intervals import (
    CANDIDATE,
    CHAMPION,
    MINIMUM_BLOCKS,
    MINIMUM_PERIODS,
    UNBOUNDED,
    Bound,
    intervals,
    two_way_bound,
)
from mlops_runtime.retraining.segment_checks import coverage, coverage_text, segment_checks
from mlops_runtime.rollout.kept_promises import desired_promises
from mlops_runtime.rollout.rollout_table import RolloutTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MAXIMUM_REASON = 1500

SIGNATURE_SHA256 = (
    "MLOPS_SIGNATURE_SHA256"  # the server compares the hash of signature.json with it, unless it is empty
)


def evaluate_gate(
    evaluation: Evaluation,
    spec: GateSpec,
    *,
    uri: str,
    sha256: str,
    now: datetime | None = None,
    trust: Sequence[str] | None = None,
    promises: Sequence[RequestPromise] = (),
) -> GateResult:
    """Return the verdict with all its comparisons.

    The candidate must beat every baseline: the interval of the relative loss difference must be below 0. Against the champion, if
    there is one, the upper bound must be below ``max_regression``, and in each segment the lower bound must not exceed its limit.
    Segments that are too small for an interval are pooled, and checked by ratios of their sums (`segment_checks`). An inconsistent
    evaluation fails without a comparison.

    Args:
        evaluation: Result of the evaluation job.
        spec: Limits, confidence, resamples, seed.
        uri: URI of the evaluation.
        sha256: Hash of its bytes.
        now: The time of the decision; a holdout that ends later is invalid. Default: not compared.
        trust: Allowed effects of loading a model. Default: reading data and running code of the model itself.
        promises: Request promises of the endpoint's APIs; a candidate that would reject such requests fails. Default: none.
    """
    found = trust_problems(evaluation.flavor, evaluation.trust, allowed=trust)
    found += [*problems(evaluation, spec, now), *_too_few(evaluation)]
    checks = () if found else (*_checks(evaluation, spec), *segment_checks(evaluation, spec))
    covered = coverage(evaluation, checks)
    failures = (
        found + broken_promises(promises, evaluation.signature) + [check.reason for check in checks if not check.passed]
    )
    return GateResult(
        verdict=GateVerdict.FAILED if failures else GateVerdict.PASSED,
        checks=checks,
        evaluation_uri=uri,
        evaluation_sha256=sha256,
        reason=_shortened("; ".join(failures) if failures else _success(checks, evaluation, covered)),
        metric=evaluation.metric,
        metrics={name: loss for name, loss in evaluation.metrics.items() if math.isfinite(loss)},
        coverage=covered or None,
    )


def _too_few(evaluation: Evaluation) -> Iterator[str]:
    if len(evaluation.blocks) < MINIMUM_BLOCKS:
        yield f"{len(evaluation.blocks)} blocks are fewer than the {MINIMUM_BLOCKS} that an interval needs"
    if evaluation.periods is not None and len(evaluation.periods) < MINIMUM_PERIODS:
        yield (
            f"{len(evaluation.periods)} periods are fewer than the {MINIMUM_PERIODS} that an interval over periods needs; "
            "hold out more of them"
        )


def _checks(evaluation: Evaluation, spec: GateSpec) -> Iterator[GateCheck]:
    rivals = sorted(name for name in evaluation.metrics if name != CANDIDATE)
    # a champion that cannot predict every row has no loss to compare, which must not protect it
    silent = evaluation.non_finite.get(CHAMPION, 0)
    compared = [rival for rival in rivals if rival != CHAMPION or silent == 0]
    bounds = _bounds(evaluation, compared, spec)
    for rival in compared:
        low, high = bounds[rival].low, bounds[rival].high
        limit = spec.max_regression if rival == CHAMPION else 0.0
        passed = high < limit
        yield GateCheck(
            rival=rival,
            passed=passed,
            low=low,
            high=high,
            limit=limit,
            reason=f"loss against {rival} {low:+.1%} to {high:+.1%}, must be below {limit:+.1%}",
        )
    reason = _not_compared(evaluation, silent)
    if reason is not None:
        yield GateCheck(
            rival=CHAMPION, passed=True, low=-UNBOUNDED, high=-UNBOUNDED, limit=spec.max_regression, reason=reason
        )


def _not_compared(evaluation: Evaluation, silent: int) -> str | None:
    if evaluation.champion_left_out is not None:
        return f"the champion is not compared: {evaluation.champion_left_out}"
    if silent:
        return f"the champion has no finite prediction for {silent} rows and is not compared"
    return None


def _bounds(evaluation: Evaluation, rivals: Sequence[str], spec: GateSpec) -> dict[str, Bound]:
    if evaluation.periods is not None:
        tail = (1 - spec.confidence) / 2
        return {rival: two_way_bound(evaluation.periods, rival, tail=tail) for rival in rivals}
    found = intervals(evaluation.blocks, rivals, confidence=spec.confidence, resamples=spec.resamples, seed=spec.seed)
    return {rival: Bound(low=low, high=high) for rival, (low, high) in found.items()}


def _success(checks: Sequence[GateCheck], evaluation: Evaluation, covered: Sequence[SegmentCoverage]) -> str:
    parts = [] if evaluation.trust is None else [f"{evaluation.flavor} model with trust {evaluation.trust!r}"]
    if evaluation.metric_sha256 is not None:
        parts.append(f"measured by the metric function {evaluation.metric_sha256}")
    parts += [f"{evaluation.metric} {loss_of(evaluation.blocks, evaluation.metric, CANDIDATE):.4f}"]
    parts += [check.reason for check in checks if check.segment is None and check.rival == CHAMPION]
    if evaluation.compared is not None:
        parts.append(compared_text(evaluation.compared))
    if evaluation.champion_sha256 == evaluation.artifact_sha256:
        parts.append("its archive is the live model, so there is nothing to compare it with")
    elif evaluation.segments and not covered:
        parts.append("no segment compared, as there is no champion to compare with")
    parts += map(coverage_text, covered)  # before the baselines: an approval keeps the first part of a long reason
    parts += [check.reason for check in checks if check.segment is None and check.rival != CHAMPION]
    if CHAMPION in evaluation.metrics and evaluation.champion_trained_until is None:
        parts.append("the champion's end of training is unknown, so it may have been trained on the holdout")
    return "; ".join(parts)


def compared_text(compared: ComparedPredictions) -> str:
    """Return the result of the comparison with the predictions of the team that registers a model.

    Example:
        >>> compared_text(ComparedPredictions(rows=3001, largest_difference=1.2e-7))
        '3001 predictions of its team compared, the largest difference is 1.2e-05 %'
    """
    return f"{compared.rows} predictions of its team compared, the largest difference is {100 * compared.largest_difference:.2g} %"


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _MAXIMUM_REASON else f"{reason[:_MAXIMUM_REASON]}..."


class EvaluationUriError(ValueError):
    """The evaluation is not below the prefix of the pipeline's evaluations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The gate of one pipeline."""

    s3: "S3Client"
    bucket: str  # artifacts bucket
    pipeline: str
    spec: GateSpec  # conditions of a registration
    signing_key: str  # ARN of the key that signs the archive of a candidate that passes
    automation: Automation  # the unit's freeze calendar and pause
    endpoint: RolloutTable  # the endpoint's row, which refers to the spec with the request promises of APIs
    # allowed effects of loading a model. Default: reading data and running code of the model itself
    trust: tuple[str, ...] | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], client: Callable[[str], Any]) -> "Judge":
        """Create it from the function's environment variables."""
        dynamodb = client("dynamodb")
        return cls(
            s3=client("s3"),
            bucket=environ["ARTIFACTS_BUCKET"],
            pipeline=environ["PIPELINE"],
            spec=from_json(GateSpec, environ["GATE"]),
            signing_key=environ["SIGNING_KEY"],
            automation=Automation.from_environment(environ, dynamodb),
            endpoint=RolloutTable(dynamodb, environ["ROLLOUT_TABLE"], environ["ENDPOINT"]),
            trust=tuple(environ["MLOPS_TRUST"].split(",")) if "MLOPS_TRUST" in environ else None,
        )

    def judge(
        self,
        evaluation_uri: str,
        execution: str,
        now: datetime,
        *,
        image: str,
        artifact_uri: str,
        code: str,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, object]:
        """Return verdict, reason, and the package's container and metadata; write ``gates/<pipeline>/<execution>.json``.

        Args:
            evaluation_uri: URI of the evaluation job's result.
            execution: ARN of the Retrain execution.
            now: Current time of the cloud.
            image: Serving image, by digest.
            artifact_uri: URI of the evaluated archive, which is written once.
            code: Source of the training job's code, from SageMaker's description of the job; empty without one.
            environment: Environment variables of a custom container. Default: none.

        Raises:
            EvaluationUriError: If it is not below ``evaluations/<pipeline>/``.
            ContractError: If it is not an evaluation.
        """
        root = f"s3://{self.bucket}/"
        if not evaluation_uri.startswith(f"{root}evaluations/{self.pipeline}/"):
            raise EvaluationUriError(
                f"evaluation must be below {root}evaluations/{self.pipeline}/, got {evaluation_uri!r}"
            )
        key = evaluation_uri.removeprefix(root)
        content = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        evaluation = from_json(Evaluation, content)
        digest = hashlib.sha256(content).hexdigest()
        result = evaluate_gate(
            evaluation,
            self.spec,
            uri=evaluation_uri,
            sha256=digest,
            now=now,
            trust=self.trust,
            promises=desired_promises(self.s3, self.bucket, self.endpoint),
        )
        gate_key = f"gates/{self.pipeline}/{execution.rpartition(':')[2]}.json"
        self.s3.put_object(
            Bucket=self.bucket, Key=gate_key, Body=canonical_json(result), ContentType="application/json"
        )
        carried = {
            "artifact_sha256": evaluation.artifact_sha256,
            "model_sha256": evaluation.model_sha256,
            "training_set_id": evaluation.training_set_id,
            "baseline_uri": evaluation.baseline_uri,
            "evaluation_uri": evaluation_uri,
            "evaluation_sha256": digest,
            "baseline_sha256": evaluation.baseline_sha256,
            "signing_key": self.signing_key,
            "code": code or ABSENT,
            "trained_until": evaluation.trained_until,
        }
        if evaluation.feature_service is not None:
            carried["feature_service"] = evaluation.feature_service.text
        loads = {}
        if evaluation.flavor is not None and evaluation.trust is not None:
            carried |= {"flavor": evaluation.flavor, "trust": evaluation.trust}
            loads = {MLOPS_TRUST: evaluation.trust}
        container = {
            "Image": image,
            "ModelDataUrl": artifact_uri,
            "Environment": {
                **({} if environment is None else environment),
                MODEL_SHA256: evaluation.model_sha256,
                SIGNATURE_SHA256: evaluation.signature_sha256 or "",
                **loads,
            },
        }
        rest = self.automation.rests(now)
        if rest is None and evaluation.champion_left_out is not None:
            rest = "as it was not compared with the live model"
        return {
            "verdict": result.verdict.value,
            "reason": result.reason,
            "gate_uri": root + gate_key,
            **registered_metadata(container, carried),
            "container": container,
            "may_approve": rest is None,
            "rest": "" if rest is None else rest,
        }


def time_of(text: str) -> datetime:
    """Return the time that a machine passes as ``$now()``.

    Example:
        >>> time_of("2017-08-01T09:00:00.000Z").isoformat()
        '2017-08-01T09:00:00+00:00'
    """
    return datetime.fromisoformat(text).astimezone(UTC)
