"""Endpoint capacities and EKS services: new fields do not change the hash of stored specs."""

from collections.abc import Callable
from typing import Any

import pytest

from mlops_runtime.contracts import content_hash, from_dict, to_dict
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.contracts.serving import SLOTS, SlotState, SlotVersion

_SHADOW = {"percent": 50, "bake": 600, "instance_count": 1}
_GOLDEN = {"uri": "s3://b/golden.jsonl", "sha256": "a" * 64, "max_deviation": 0.5}
_SCALING = {
    "minimum": 1,
    "maximum": 4,
    "target": 600.0,
    "metric": "INVOCATIONS_PER_INSTANCE",
    "scale_in_cool_down": 300,
    "scale_out_cool_down": 60,
    "schedules": [
        {"name": "night", "schedule": "cron(0 20 * * ? *)", "minimum": 1, "maximum": 1, "timezone": "Europe/Berlin"}
    ],
}


_EKS = {
    "cluster": "platform",
    "namespace": "bu-demand",
    "service_account": "forecast",
    "rule": "arn:aws:elasticloadbalancing:eu-west-1:111122223333:listener-rule/app/a/1/2/3",
    "target_groups": {
        slot: f"arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/{slot}/1" for slot in SLOTS
    },
    "minimum": 2,
    "maximum": 4,
    "cpu": "500m",
    "memory": "1Gi",
    "ingress_cidrs": ["10.0.0.0/24"],
    "egress_cidrs": ["10.0.0.0/16"],
    "alarms": {"blue": ["demand-forecast-blue-errors"], "green": ["demand-forecast-green-errors"]},
    "cpu_target": 60,
    "architecture": "amd64",
    "binding_api": "eks.amazonaws.com/v1",
    "zones": ["eu-west-1a", "eu-west-1b"],
}
_VERSION = {
    "config": "demand-forecast-0a1b2c3d",
    "package": "arn:aws:sagemaker:eu-west-1:111122223333:model-package/demand-forecast/1",
    "image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mlops-runtime@sha256:" + "a" * 64,
    "artifact_uri": "s3://bucket/models/model.tar.gz",
    "artifact_sha256": "b" * 64,
    "model_sha256": "c" * 64,
    "spec_sha256": "d" * 64,
    "environment": {"MLOPS_MODEL_SHA256": "c" * 64},
}


def test_a_spec_without_the_later_fields_is_written_as_before(example: Callable[..., Any]) -> None:
    """Their keys contain the hash, so absent options stay absent."""
    document = example("ServingSpec")

    assert to_dict(from_dict(ServingSpec, document)) == document


@pytest.mark.parametrize(
    "changes",
    [
        {"scaling": _SCALING},
        {"serverless": {"memory_mb": 2048, "max_concurrency": 5}},
        {"asynchronous": {"output": "s3://b/out", "failures": "s3://b/bad", "max_concurrency": 2}},
        {"variants": [{"name": "Gpu", "instance_type": "ml.g4dn.xlarge", "instance_count": 1, "weight": 0.5}]},
        {"rollout.golden": _GOLDEN, "rollout.synthetic": 30},
        {"rollout.shadow": _SHADOW},
        {"rollout.probation": 3600, "rollout.probation_alarms": ["demand-forecast-drift"], "rollout.keep": 3},
        {"rollout.max_latency_ratio": 1.5},
        {"rollout.max_bake": 3600},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_option_survives_the_way_there_and_back(changes: dict[str, Any], example: Callable[..., Any]) -> None:
    """Options are part of the hash."""
    document = example("ServingSpec", **changes)
    spec = from_dict(ServingSpec, document)

    assert to_dict(spec) == document
    assert content_hash(spec) != content_hash(from_dict(ServingSpec, example("ServingSpec")))


def test_a_rule_on_the_units_own_metric_has_sagemakers_comparison(
    refusal: Callable[[type, object], str], example: Callable[..., Any]
) -> None:
    """Only CloudWatch's names of comparisons are allowed."""
    rule = {"namespace": "MLOps/demand", "metric": "Baskets", "threshold": 3.0, "comparison": "LargerThan"}
    document = example("ServingSpec", **{"rollout.metrics": [rule]})["rollout"]

    assert "comparison must be one of 'GreaterThanThreshold'" in refusal(RolloutSpec, document)


def test_a_spec_on_eks_survives_the_way_there_and_back(example: Callable[..., Any]) -> None:
    """The slots are part of the hash."""
    document = example("ServingSpec", eks=_EKS)
    spec = from_dict(ServingSpec, document)

    assert to_dict(spec) == document
    assert content_hash(spec) != content_hash(from_dict(ServingSpec, example("ServingSpec")))


def test_a_slot_says_what_it_runs_or_that_it_never_ran() -> None:
    """A slot without a version has no pods."""
    document = {
        "slot": "green",
        "version": _VERSION,
        "desired": 2,
        "ready": 1,
        "updated": 2,
        "unsorted": 1,
        "reason": "starting",
    }
    state = from_dict(SlotState, document)

    assert to_dict(state) == document
    assert state.version == from_dict(SlotVersion, _VERSION)
    empty = from_dict(SlotState, {"slot": "blue", "version": None})
    assert (empty.version, empty.desired) == (None, 0)
