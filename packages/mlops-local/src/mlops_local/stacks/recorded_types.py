"""CloudFormation types that are recorded without effect, and the recorded resources of stacks.

Clients of a cloud import this module too: it does not import MiniStack.
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
    """A recorded resource of a stack."""

    stack: str
    logical_id: str  # logical id of the resource
    resource_type: str  # such as `AWS::EC2::FlowLog`
    physical_id: str  # physical id, the value of `Ref`


@functools.cache
def recorded_types() -> frozenset[str]:
    """Return the types with a schema, except for those that this package executes."""
    files = resources.files("mlops_local").joinpath("schemas").iterdir()
    names = {file.name.removesuffix(".json").replace("-", "::") for file in files if file.name.endswith(".json")}
    return frozenset(names - EXECUTED)


# types that are checked against a schema, but have an effect
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
    """Return the resources that an embedded cloud's stacks record without effect."""
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
