"""The order of a stack's resources: one that respects dependencies, and the strictest of those."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.stacks.creation_order import creation_order

KINDS = ("AWS::EC2::VPCEndpoint", "AWS::SQS::Queue", "Custom::Work")


def _stack(kinds: list[str], edges: list[tuple[int, int]]) -> dict[str, dict[str, object]]:
    """Return resources ``R0`` to ``Rn``; an edge (a, b) makes the later of the two depend on the earlier."""
    resources: dict[str, dict[str, object]] = {f"R{i}": {"Type": kind, "DependsOn": []} for i, kind in enumerate(kinds)}
    for one, other in edges:
        early, late = sorted((one % len(kinds), other % len(kinds)))
        if early != late:
            needed = resources[f"R{late}"]["DependsOn"]
            assert isinstance(needed, list)
            needed.append(f"R{early}")
    return resources


def _needs(resources: dict[str, dict[str, object]], name: str) -> set[str]:
    found, left = set(), [name]
    while left:
        needed = resources[left.pop()]["DependsOn"]
        assert isinstance(needed, list)
        left += [one for one in needed if one not in found]
        found |= set(needed)
    return found


stacks = st.builds(
    _stack,
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25),
)


@given(resources=stacks)
def test_dependants_go_first(resources: dict[str, dict[str, object]]) -> None:
    """Each resource is created after all its dependencies, and deleted before them."""
    order = creation_order(resources, {})

    assert sorted(order) == sorted(resources)
    place = {name: number for number, name in enumerate(order)}
    assert all(place[needed] < place[name] for name in resources for needed in _needs(resources, name))


@given(resources=stacks)
def test_a_custom_resource_meets_nothing_that_it_does_not_depend_on(resources: dict[str, dict[str, object]]) -> None:
    """At its creation only dependencies of custom resources exist; at its deletion all other resources are gone."""
    order = creation_order(resources, {})
    custom = [name for name in order if resources[name]["Type"] == "Custom::Work"]
    needed = set().union(*(_needs(resources, name) for name in custom), custom)

    first_other = next((number for number, name in enumerate(order) if name not in needed), len(order))
    assert all(order.index(name) < first_other for name in custom)


def test_what_others_rely_on_in_silence_is_created_last() -> None:
    """An endpoint without references is created after a queue and deleted before it, whatever their ids."""
    resources = {"A": {"Type": "AWS::EC2::VPCEndpoint"}, "B": {"Type": "AWS::SQS::Queue"}}

    assert creation_order(resources, {}) == ["B", "A"]


def test_a_condition_leaves_resources_out() -> None:
    """A resource that is not created is not a dependency."""
    resources = {
        "A": {"Type": "AWS::SQS::Queue", "Condition": "No"},
        "B": {"Type": "AWS::SQS::Queue", "DependsOn": "A"},
    }

    assert creation_order(resources, {"No": False}) == ["B"]


def test_a_circle_is_refused_by_name() -> None:
    """With CloudFormation's message."""
    resources = {name: {"Type": "AWS::SQS::Queue", "DependsOn": other} for name, other in (("A", "B"), ("B", "A"))}

    with pytest.raises(ValueError, match="Circular dependency detected among resources: A, B"):
        creation_order(resources, {})


@pytest.mark.cloud
def test_stacks_are_made_and_deleted_in_this_order(cloud, unique) -> None:
    """Events of create, rollback and delete in the running cloud."""
    client = cloud.client("cloudformation")
    endpoint = {
        "Type": "AWS::EC2::VPCEndpoint",
        "Properties": {"VpcId": "vpc-1", "ServiceName": "com.amazonaws.us-east-1.s3"},
    }
    queue = {"Type": "AWS::SQS::Queue", "Properties": {}}
    bad = {"Type": "AWS::SQS::Queue", "DependsOn": "Way", "Properties": {"FifoQueue": True, "QueueName": "not-fifo"}}

    def run(name: str, resources: dict[str, object]) -> list[tuple[str, str]]:
        stack = client.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))["StackId"]
        _settle(client, stack)
        client.delete_stack(StackName=stack)
        _settle(client, stack)
        events = client.describe_stack_events(StackName=stack)["StackEvents"][::-1]
        return [
            (event["LogicalResourceId"], event["ResourceStatus"])
            for event in events
            if event["LogicalResourceId"] in resources and event["ResourceStatus"].endswith("_COMPLETE")
        ]

    assert run(f"{unique}-order", {"A": endpoint, "Z": queue}) == [
        ("Z", "CREATE_COMPLETE"), ("A", "CREATE_COMPLETE"), ("A", "DELETE_COMPLETE"), ("Z", "DELETE_COMPLETE"),
    ]  # fmt: skip
    assert run(f"{unique}-rollback", {"Way": endpoint, "Z": queue, "Bad": bad}) == [
        ("Z", "CREATE_COMPLETE"), ("Way", "CREATE_COMPLETE"), ("Way", "DELETE_COMPLETE"), ("Z", "DELETE_COMPLETE"),
    ]  # fmt: skip


def _settle(client, stack: str) -> None:
    while client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS"):
        time.sleep(0.05)
