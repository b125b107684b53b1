"""On what an EKS service runs, and that a spec without it is written as before."""

from collections.abc import Callable
from typing import Any

from mlops_runtime.contracts import content_hash, from_dict, to_dict
from mlops_runtime.contracts.eks import SLOTS, SlotState, SlotVersion
from mlops_runtime.contracts.rollout import ServingSpec

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


def test_a_spec_on_eks_survives_the_way_there_and_back(example: Callable[..., Any]) -> None:
    """The slots are part of the hash, so that another rule is another spec."""
    document = example("ServingSpec", eks=_EKS)
    spec = from_dict(ServingSpec, document)

    assert to_dict(spec) == document
    assert content_hash(spec) != content_hash(from_dict(ServingSpec, example("ServingSpec")))


def test_a_slot_says_what_it_runs_or_that_it_never_ran() -> None:
    """A slot without a version has no pods either."""
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
