"""CloudFormation types that the embedded cloud records without effect, and what its stacks hold of them.

Clients of a cloud ask this too: nothing of MiniStack is loaded here.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol


class _StackClient(Protocol):
    def get_paginator(self, name: str) -> Any: ...


@dataclass(frozen=True)
class RecordedResource:
    """One recorded resource of a stack.

    Attributes:
        stack: The stack's name.
        logical_id: Its id in the template.
        resource_type: Such as `AWS::EC2::FlowLog`.
        physical_id: What `Ref` gives.
    """

    stack: str
    logical_id: str
    resource_type: str
    physical_id: str


@functools.cache
def recorded_types() -> frozenset[str]:
    """Name the types that have a schema here, without those that this package executes."""
    files = resources.files("mlops_local").joinpath("schemas").iterdir()
    names = {file.name.removesuffix(".json").replace("-", "::") for file in files if file.name.endswith(".json")}
    return frozenset(names - EXECUTED)


# checked against a schema as well, but with effect
EXECUTED = frozenset(
    {
        "AWS::ApplicationAutoScaling::ScalableTarget",
        "AWS::ApplicationAutoScaling::ScalingPolicy",
        "AWS::CloudWatch::CompositeAlarm",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EKS::AccessEntry",
        "AWS::EKS::PodIdentityAssociation",
        "AWS::Events::EventBusPolicy",
        "AWS::Oam::Link",
        "AWS::Oam::Sink",
    }
)


def list_recorded(cloudformation: _StackClient) -> list[RecordedResource]:
    """List what the stacks of an embedded cloud hold without effect.

    Args:
        cloudformation: A boto3 client of the embedded cloud.
    """
    found: list[RecordedResource] = []
    for page in cloudformation.get_paginator("list_stacks").paginate():
        for stack in page["StackSummaries"]:
            if stack["StackStatus"] != "DELETE_COMPLETE":
                found += _recorded_in(cloudformation, stack["StackName"])
    return found


def _recorded_in(cloudformation: _StackClient, stack: str) -> Iterable[RecordedResource]:
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
        for row in page["StackResourceSummaries"]:
            if row["ResourceType"] in recorded_types():
                yield RecordedResource(stack, row["LogicalResourceId"], row["ResourceType"], row["PhysicalResourceId"])
