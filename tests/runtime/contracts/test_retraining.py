"""Requests of the Retrain machine, its plans, and the tags of its jobs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mlops_runtime.aws_api import check_request
from mlops_runtime.contracts import from_dict, to_dict
from mlops_runtime.contracts.retraining import (
    Decision,
    EvaluationPlan,
    GateSpec,
    GuardDecision,
    JobTags,
    RetrainRequest,
    TrainingSetPlan,
    Trigger,
)


def test_job_tags_are_tags_of_sagemaker() -> None:
    """Each field has the prefix and the format of a job's tags; cost allocation uses these keys."""
    job = "arn:aws:sagemaker:us-east-1:123456789012:training-job/j"
    tags = JobTags(unit="demand", owner="planning", cost_center="4711", model="forecast", execution="run-1").as_tags()

    assert tags == [
        {"Key": "mlops:unit", "Value": "demand"},
        {"Key": "mlops:owner", "Value": "planning"},
        {"Key": "mlops:cost-center", "Value": "4711"},
        {"Key": "mlops:model", "Value": "forecast"},
        {"Key": "mlops:execution", "Value": "run-1"},
    ]
    assert check_request("sagemaker", "AddTags", {"ResourceArn": job, "Tags": tags}) == []


def test_jobs_have_a_units_further_tags_too() -> None:
    """They cannot replace the job's own."""
    own = JobTags(unit="demand", owner="planning", cost_center="4711", model="forecast", execution="run-1")

    tags = replace(own, further={"platform": "retail"}).as_tags()

    assert tags == [*own.as_tags(), {"Key": "platform", "Value": "retail"}]


def test_a_request_says_who_asked_and_when(example: Callable[..., Any]) -> None:
    """The trigger is one of a fixed set."""
    request = from_dict(RetrainRequest, example("RetrainRequest", detail=...))

    assert request == RetrainRequest(
        trigger=Trigger.ALARM,
        event_id="844e2571-85d4-695f-b930-0153b71dcb42",
        as_of="2017-08-01T09:00:00Z",
        requested_by="demand-drift",
    )


@pytest.mark.parametrize("decision", Decision)
def test_every_decision_is_kept(decision: Decision, example: Callable[..., Any]) -> None:
    """Only a start names an execution."""
    document = example("GuardDecision", decision=decision.value, execution=...)

    kept = from_dict(GuardDecision, document)

    assert (kept.decision, kept.execution) == (decision, None)
    assert to_dict(kept) == document


def test_the_gate_is_strict_without_being_told() -> None:
    """Two percent worse than the champion at 95 % confidence, on enough rows, reproducible; no absolute bound."""
    gate = from_dict(GateSpec, {})

    assert (gate.max_regression, gate.confidence, gate.resamples, gate.minimum_rows, gate.maximum_loss) == (
        0.02,
        0.95,
        2000,
        200,
        None,
    )
    assert from_dict(GateSpec, to_dict(gate)) == gate
    assert to_dict(gate)["seed"] == 7


def test_plans_name_columns_by_group(example: Callable[..., Any]) -> None:
    """All history by default; clusters only if named."""
    plan = from_dict(TrainingSetPlan, example("TrainingSetPlan"))
    evaluation = from_dict(EvaluationPlan, example("EvaluationPlan", cluster=..., metric=...))

    assert (plan.features, plan.history_days) == ({"prices": ("price", "discount")}, None)
    assert evaluation == EvaluationPlan(label="units", block="store_id", baselines=("last_week", "mean_4_weeks"))
    assert (evaluation.metric, evaluation.cluster) == ("wape", None)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            RetrainRequest,
            {"trigger": "ALARM"},
            "$.trigger must be one of 'alarm', 'schedule', 'manual', 'new_data', 'recheck', 'target', got 'ALARM'",
        ),
        (RetrainRequest, {"as_of": ...}, "$.as_of is missing"),
        (RetrainRequest, {"event_id": 7}, "$.event_id must be a string, got 7"),
        (
            RetrainRequest,
            {"format": "mlops.deploy-request/1"},
            "$.format must be one of 'mlops.retrain-request/1', got 'mlops.deploy-request/1'",
        ),
        (
            GuardDecision,
            {"decision": "IGNORED"},
            "$.decision must be one of 'STARTED', 'ASKED', 'DUPLICATE', 'KNOWN', 'STALE', 'COOLING_DOWN', 'OVER_BUDGET', 'BUSY', "
            "'NOT_CONFIRMED', 'INVALID', 'PAUSED', 'FROZEN', 'TOO_FEW_LABELS', 'RELEASED', got 'IGNORED'",
        ),
        (GuardDecision, {"reason": ...}, "$.reason is missing"),
        (TrainingSetPlan, {"features": {"prices": "price"}}, "$.features.prices must be an array, got 'price'"),
        (TrainingSetPlan, {"features": ["price"]}, "$.features must be an object, got ['price']"),
        (TrainingSetPlan, {"holdout_days": "28"}, "$.holdout_days must be an integer, got '28'"),
        (TrainingSetPlan, {"history_days": 0.5}, "$.history_days must be an integer, got 0.5"),
        (TrainingSetPlan, {"label": ...}, "$.label is missing"),
        (
            EvaluationPlan,
            {"metric": "auc"},
            "$.metric must be one of 'wape', 'mae', 'log_loss', 'brier', 'macro_log_loss', 'custom_loss', got 'auc'",
        ),
        (EvaluationPlan, {"baselines": "last_week"}, "$.baselines must be an array, got 'last_week'"),
        (GateSpec, {"confidence": "95 %"}, "$.confidence must be a number, got '95 %'"),
        (GateSpec, {"resamples": 0.5}, "$.resamples must be an integer, got 0.5"),
        (GateSpec, {"maximum_loss": [0.5]}, "$.maximum_loss must be a number, got [0.5]"),
    ],
)
def test_fails_on_a_document_that_starts_nothing(
    kind: type, changes: dict[str, Any], message: str, example: Callable[..., Any], refusal: Callable[..., str]
) -> None:
    """Inputs of a machine or job are complete or rejected."""
    assert refusal(kind, example(kind.__name__, **changes)) == f"not a valid {kind.__name__}: {message}"


def test_fails_on_job_tags_that_miss_who_pays(refusal: Callable[..., str]) -> None:
    """All problems are reported together."""
    message = refusal(JobTags, {"unit": "demand", "owner": "planning", "cost_center": 4711})

    assert message == (
        "not a valid JobTags: $.cost_center must be a string, got 4711; $.model is missing; $.execution is missing"
    )
