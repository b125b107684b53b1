"""Results of a gate that accepted a candidate: the stored archive, its evaluation, the gate's result."""

import hashlib
from typing import Any

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict

EVALUATION = Evaluation(
    metric="wape",
    metrics={"candidate": 0.2},
    blocks=(),
    rows=1,
    trained_until="2017-07-01T00:00:00Z",
    holdout_from="2017-07-01T00:00:00Z",
    holdout_until="2017-07-08T00:00:00Z",
    artifact_sha256=hashlib.sha256(b"archive").hexdigest(),
    model_sha256="b" * 64,
    training_set_id="c" * 64,
    baseline_uri="s3://artifacts/evaluations/demand-forecast/one/baseline.json",
    baseline_sha256="8" * 64,
)


def gate_of(evaluation: bytes, *, execution: str, verdict: GateVerdict = GateVerdict.PASSED) -> GateResult:
    """Return the gate's result for an evaluation."""
    return GateResult(
        verdict=verdict,
        checks=(),
        evaluation_uri=f"s3://artifacts/evaluations/demand-forecast/{execution}/evaluation.json",
        evaluation_sha256=hashlib.sha256(evaluation).hexdigest(),
        reason="beats last_week",
    )


def put_passed(s3: Any, *, execution: str = "one", evaluation: Evaluation = EVALUATION) -> str:
    """Write archive, evaluation and result of an execution; return the result's URI."""
    content = canonical_json(evaluation)
    s3.put_object(
        Bucket="artifacts",
        Key=f"models/demand-forecast/{execution}/model.tar.gz",
        Body=b"archive",
        ChecksumAlgorithm="SHA256",
    )
    s3.put_object(Bucket="artifacts", Key=f"evaluations/demand-forecast/{execution}/evaluation.json", Body=content)
    gate = f"gates/demand-forecast/{execution}.json"
    s3.put_object(Bucket="artifacts", Key=gate, Body=canonical_json(gate_of(content, execution=execution)))
    return f"s3://artifacts/{gate}"
