"""Permissions of a label feed."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import aws_iam as iam

from mlops_constructs import DataCapture, EndpointCapacity, ValidationError

CAPACITY = EndpointCapacity.instances("ml.m5.large", instance_count=2)


def _ends(resources: Any) -> list[str]:
    listed = resources if isinstance(resources, list) else [resources]
    return sorted(str(each["Fn::Join"][1][-1]) if "Fn::Join" in each else "" for each in listed)


def test_a_feed_of_labels_reads_no_captures(serve: Callable[..., Any]) -> None:
    """It writes labels and row ids of its endpoint only, and reads the entry that tells numbers from classes."""
    made = serve(CAPACITY, capture=DataCapture(sampling_percent=100))
    role = iam.Role(made.stack, "Feed", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    assert made.endpoint.grant_labels(role).success

    (policy,) = (
        r["Properties"]["PolicyDocument"]["Statement"]
        for name, r in made.template["Resources"].items()
        if name.startswith("FeedDefaultPolicy")
    )
    objects, listing, baselines, row, parameter, key = policy
    assert objects["Action"] == ["s3:GetObject", "s3:PutObject"]
    assert _ends(objects["Resource"]) == ["/ids/demand-forecast/*", "/labels/demand-forecast/*"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["labels/demand-forecast/*", "ids/demand-forecast/*"]}}
    assert (baselines["Action"], _ends(baselines["Resource"])) == ("s3:GetObject", ["/evaluations/demand-forecast/*"])
    assert row["Action"] == "dynamodb:GetItem"
    assert (parameter["Action"], _ends(parameter["Resource"])) == (
        "ssm:GetParameter",
        [":parameter/mlops/demand/endpoint/demand-forecast"],
    )
    assert set(key["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}


def test_fails_without_capture(serve: Callable[..., Any]) -> None:
    """Without capture labels cannot be joined."""
    made = serve(CAPACITY)
    role = iam.Role(made.stack, "Feed", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    with pytest.raises(
        ValidationError, match=r"an endpoint without capture has no labels; give it capture=DataCapture"
    ):
        made.endpoint.grant_labels(role)
