"""Adapter of ``gate``: reads the evaluation, writes the gate's result, answers the Retrain machine.

The answer also says whether the machine may approve by policy now: while the unit's automation rests, a person has to.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.model import Evaluation
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.registry.package import ABSENT, MODEL_SHA256, registered_metadata
from mlops_runtime.retraining.gate import evaluate_gate

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from mlops_runtime.business_unit.automation import Automation


SIGNATURE_SHA256 = (
    "MLOPS_SIGNATURE_SHA256"  # what the server compares signature.json with; an empty one it does not compare
)


class EvaluationUriError(ValueError):
    """The evaluation is not where the pipeline's evaluations lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The gate of one pipeline.

    Args:
        s3: Client.
        bucket: Artifacts bucket.
        pipeline: Its name.
        spec: When a candidate may be registered.
        signing_key: ARN of the key that the archive of a candidate that passes is signed with.
        automation: Whether the unit's automation rests.
    """

    s3: "S3Client"
    bucket: str
    pipeline: str
    spec: GateSpec
    signing_key: str
    automation: "Automation"

    def judge(
        self, evaluation_uri: str, execution: str, now: datetime, *, image: str, artifact_uri: str, code: str
    ) -> dict[str, Any]:
        """Return verdict, reason, and the package's container and metadata; write ``gates/<pipeline>/<execution>.json``.

        Args:
            evaluation_uri: Where the evaluation job wrote.
            execution: ARN of the Retrain execution.
            now: The time in the cloud.
            image: Image that would serve, by digest.
            artifact_uri: What was evaluated, where nobody writes it a second time.
            code: Where the training job had its code from, as SageMaker describes the job; empty if it had none.

        Raises:
            EvaluationUriError: If it lies elsewhere than under ``evaluations/<pipeline>/``.
            ContractError: If it is not an evaluation.
        """
        root = f"s3://{self.bucket}/"
        if not evaluation_uri.startswith(f"{root}evaluations/{self.pipeline}/"):
            raise EvaluationUriError(
                f"evaluation must lie under {root}evaluations/{self.pipeline}/, got {evaluation_uri!r}"
            )
        key = evaluation_uri.removeprefix(root)
        content = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        evaluation = from_json(Evaluation, content)
        digest = hashlib.sha256(content).hexdigest()
        result = evaluate_gate(evaluation, self.spec, uri=evaluation_uri, sha256=digest, now=now)
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
        }
        container = {
            "Image": image,
            "ModelDataUrl": artifact_uri,
            "Environment": {
                MODEL_SHA256: evaluation.model_sha256,
                SIGNATURE_SHA256: evaluation.signature_sha256 or "",
            },
        }
        rest = self.automation.rests(now)
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
