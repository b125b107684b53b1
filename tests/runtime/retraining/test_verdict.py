"""The gate's adapter: where it reads, what it writes and answers."""

import json
from typing import Any

import pytest
from rollout_world import NOW, World

from mlops_runtime.business_unit.automation import Automation, read_freeze
from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import GateResult, GateVerdict
from mlops_runtime.contracts.retraining import GateSpec
from mlops_runtime.registry.package import container_sha256
from mlops_runtime.retraining.verdict import EvaluationUriError, Judge, time_of
from mlops_runtime.rollout.rollout_table import RolloutTable

URI = "s3://artifacts/evaluations/demand-forecast/one/evaluation.json"
PLACE = {
    "image": "image@sha256:1",
    "artifact_uri": "s3://artifacts/models/demand-forecast/one/model.tar.gz",
    "code": "s3://assets/0123.zip",
}
SIGNING_KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Retrain:one"


def _judge(world: World, windows: str = "[]") -> Judge:
    return Judge(
        s3=world.s3,
        bucket="artifacts",
        pipeline="demand-forecast",
        spec=GateSpec(resamples=200),
        signing_key=SIGNING_KEY,
        automation=Automation(
            freeze=read_freeze(f'{{"windows": {windows}}}'), table=RolloutTable(world.dynamodb, "rollout", "demand")
        ),
    )


def _answer(world: World, windows: str = "[]") -> dict[str, Any]:
    return _judge(world, windows).judge(URI, EXECUTION, NOW, **PLACE)


def _document(candidate: float) -> dict[str, Any]:
    blocks = [
        {
            "block": str(i),
            "rows": 10,
            "actual_sum": 100.0,
            "absolute_error": {"candidate": candidate, "naive": 30.0 + i % 2},
        }
        for i in range(20)
    ]
    return {
        "metric": "wape",
        "metrics": {"candidate": candidate / 100, "naive": 0.305},
        "blocks": blocks,
        "rows": 200,
        "trained_until": "2017-07-01",
        "holdout_from": "2017-07-01",
        "holdout_until": "2017-08-01",
        "artifact_sha256": "a" * 64,
        "model_sha256": "b" * 64,
        "training_set_id": "t",
        "baseline_uri": "s3://artifacts/evaluations/demand-forecast/one/baseline.json",
        "baseline_sha256": "8" * 64,
        "non_finite": {},
    }


def _put(world: World, document: object, uri: str = URI) -> None:
    key = uri.removeprefix("s3://artifacts/")
    world.s3.put_object(Bucket="artifacts", Key=key, Body=json.dumps(document).encode())


def test_answers_with_what_the_package_will_carry(world: World) -> None:
    """Verdict, reason, digests and URIs; the result lies beside them."""
    _put(world, _document(20.0))
    answer = _answer(world)
    assert answer["verdict"] == "PASSED"
    assert answer["gate_uri"] == "s3://artifacts/gates/demand-forecast/one.json"
    assert (answer["artifact_sha256"], answer["model_sha256"], answer["training_set_id"]) == ("a" * 64, "b" * 64, "t")
    _put(world, _document(20.0) | {"signature_sha256": "9" * 64})
    signed = _answer(world)["container"]["Environment"]
    assert signed["MLOPS_SIGNATURE_SHA256"] == "9" * 64
    assert answer["baseline_sha256"] == "8" * 64
    _put(world, _document(20.0) | {"baseline_sha256": "9" * 64})
    carried = _answer(world)
    assert (carried["baseline_sha256"], carried["container_sha256"] == answer["container_sha256"]) == ("9" * 64, False)
    _put(world, _document(20.0))
    written = world.s3.get_object(Bucket="artifacts", Key="gates/demand-forecast/one.json")["Body"].read()
    result = from_json(GateResult, written)
    assert (result.verdict, result.evaluation_uri) == (GateVerdict.PASSED, URI)
    assert answer == _answer(world)
    assert (answer["may_approve"], answer["rest"]) == (True, "")
    assert answer["container_sha256"] == container_sha256(answer["container"], answer)
    assert answer["container"] == {
        "Image": "image@sha256:1",
        "ModelDataUrl": "s3://artifacts/models/demand-forecast/one/model.tar.gz",
        "Environment": {"MLOPS_MODEL_SHA256": "b" * 64, "MLOPS_SIGNATURE_SHA256": ""},
    }


def test_while_automation_rests_the_machine_may_not_approve(world: World) -> None:
    """The verdict is the same; a person may approve what passed."""
    _put(world, _document(20.0))
    window = '[{"name": "peak", "start": "2017-08-01T00:00:00Z", "end": "2017-08-02T00:00:00Z"}]'
    answer = _answer(world, window)
    assert (answer["verdict"], answer["may_approve"]) == ("PASSED", False)
    assert answer["rest"] == "frozen by 'peak' until 2017-08-02T00:00:00Z"


def test_a_holdout_after_the_decision_fails_the_gate(world: World) -> None:
    """Nobody knows labels of tomorrow; the machine's time is that of the decision."""
    _put(world, _document(20.0) | {"holdout_until": "2017-08-02"})
    answer = _judge(world).judge(URI, EXECUTION, time_of("2017-08-01T09:00:00.000Z"), **PLACE)
    assert answer["verdict"] == "FAILED"
    assert "the holdout ends at 2017-08-02, after the decision" in str(answer["reason"])


def test_a_failed_gate_says_why(world: World) -> None:
    """The reason is what the audit record will carry."""
    _put(world, _document(40.0))
    answer = _answer(world)
    assert answer["verdict"] == "FAILED"
    assert str(answer["reason"]).startswith("loss against naive +3")


def test_a_loss_that_is_not_a_number_fails_the_gate(world: World) -> None:
    """Python writes NaN into JSON; it is a verdict, not a crash."""
    _put(world, _document(20.0) | {"metrics": {"candidate": float("nan"), "naive": 0.305}})
    assert "the candidate's wape is nan" in str(_answer(world)["reason"])


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/evaluations/demand-forecast/one/evaluation.json",
        "s3://artifacts/evaluations/pricing-elasticity/one/evaluation.json",
        "https://artifacts/evaluations/demand-forecast/one/evaluation.json",
    ],
)
def test_fails_when_the_evaluation_lies_elsewhere(world: World, uri: str) -> None:
    """Another bucket or pipeline is not read."""
    with pytest.raises(EvaluationUriError, match="must lie under s3://artifacts/evaluations/demand-forecast/"):
        _judge(world).judge(uri, EXECUTION, NOW, **PLACE)


def test_fails_when_it_is_no_evaluation(world: World) -> None:
    """Every missing field is named."""
    _put(world, {"metric": "wape"})
    with pytest.raises(ContractError, match=r"\$\.blocks is missing"):
        _answer(world)
