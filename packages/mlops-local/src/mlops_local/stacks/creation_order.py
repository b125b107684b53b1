"""Order of creation and deletion of a stack's resources: the worst that its dependencies allow.

AWS works in parallel where possible: a resource is created after all that it refers to or depends on, and deleted after all that
refers to it or depends on it; how long each takes is unknown. MiniStack processes one resource after another, in alphabetical order
of the ready ones, which hides missing dependencies in a template. Here the sequence is the worst that may occur in AWS:

* a custom resource, whose function runs code, is created as early and deleted as late as its dependencies allow, so that only the
  dependencies of custom resources exist at that time;
* resources that others rely on implicitly (endpoints, routes and rules of a network, policies) are created as late and deleted as
  early as they allow.

Custom resources that are ready at the same time form a wave; they are adjacent in this order, and ``stacks.waves`` runs them
concurrently. All other resources take no time. A wave starts after the previous one, whereas AWS starts each resource on its own: a
custom resource that depends on a quick one never runs beside a slow one of the same wave.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ministack.services.cloudformation import engine, stacks

_RELIED_ON = frozenset({
    "AWS::EC2::Route", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCEndpoint", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy",
    "AWS::Lambda::Permission", "AWS::S3::BucketPolicy",
})  # fmt: skip
_CUSTOM = 2  # position in the order


def install() -> None:
    """Replace MiniStack's order for creation, update, rollback and deletion."""
    stacks._topological_sort = creation_order


def creation_order(resources: Mapping[str, Mapping[str, Any]], conditions: Mapping[str, bool]) -> list[str]:
    """Return the ids of a template's resources in creation order; deletion and rollback use the reverse order.

    Raises:
        ValueError: For circular dependencies, with CloudFormation's message.

    Example:
        >>> creation_order({"Way": {"Type": "AWS::EC2::VPCEndpoint"}, "Worker": {"Type": "Custom::Work"}}, {})
        ['Worker', 'Way']
        >>> worker = {"Type": "Custom::Work", "DependsOn": ["Way"]}
        >>> creation_order({"Way": {"Type": "AWS::EC2::VPCEndpoint"}, "Worker": worker}, {})
        ['Way', 'Worker']
    """
    # claim: cloudformation-works-in-parallel
    # claim: cloudformation-deletes-dependents-first
    needs = _needs(resources, conditions)
    wave = _waves(resources, needs)
    dependents = dict.fromkeys(needs, 0)
    for needed in needs.values():
        for name in needed:
            dependents[name] += 1
    free = _heap(resources, (name for name in needs if not dependents[name]), wave)
    deletion = []
    while free:
        turn = free[0][0]
        going = [heapq.heappop(free)[1]]
        while turn[0] == _CUSTOM and free and free[0][0] == turn:
            going.append(heapq.heappop(free)[1])
        deletion += going
        for freed in (one for name in going for one in needs[name]):
            dependents[freed] -= 1
            if not dependents[freed]:
                heapq.heappush(free, (_turn(resources[freed], wave.get(freed, 0)), freed))
    return deletion[::-1]


def waves(resources: Mapping[str, Mapping[str, Any]], conditions: Mapping[str, bool]) -> dict[str, int]:
    """Return the wave number of each custom resource: the length of its longest chain of preceding custom resources.

    Raises:
        ValueError: For circular dependencies, with CloudFormation's message.

    Example:
        >>> queue = {"Type": "AWS::SQS::Queue", "DependsOn": ["First"]}
        >>> second = {"Type": "Custom::Work", "DependsOn": ["Queue"]}
        >>> waves({"First": {"Type": "Custom::Work"}, "Queue": queue, "Second": second}, {})
        {'First': 0, 'Second': 1}
    """
    return _waves(resources, _needs(resources, conditions))


def is_custom(resource_type: str) -> bool:
    """Return whether a resource type is implemented by a custom resource function."""
    return resource_type.startswith("Custom::") or resource_type == "AWS::CloudFormation::CustomResource"


def _needs(resources: Mapping[str, Mapping[str, Any]], conditions: Mapping[str, bool]) -> dict[str, set[str]]:
    active = {name for name, resource in resources.items() if conditions.get(resource.get("Condition", ""), True)}
    return {name: set(engine._extract_deps(resources[name], active)) - {name} for name in sorted(active)}


def _waves(resources: Mapping[str, Mapping[str, Any]], needs: Mapping[str, set[str]]) -> dict[str, int]:
    # claim: cloudformation-deletes-dependents-first
    before: dict[str, int] = {}
    try:
        for name in TopologicalSorter(needs).static_order():
            customs = (before[needed] + is_custom(_type(resources[needed])) for needed in needs[name])
            before[name] = max(customs, default=0)
    except CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        raise ValueError(f"Circular dependency detected among resources: {circle}") from None
    return {name: before[name] for name in needs if is_custom(_type(resources[name]))}


def _heap(
    resources: Mapping[str, Mapping[str, Any]], names: Iterable[str], wave: Mapping[str, int]
) -> list[tuple[tuple[int, int], str]]:
    heap = [(_turn(resources[name], wave.get(name, 0)), name) for name in names]
    heapq.heapify(heap)
    return heap


def _turn(resource: Mapping[str, Any], wave: int) -> tuple[int, int]:
    """Return the deletion priority among deletable resources, lowest first; of custom resources the latest wave first."""
    kind = _type(resource)
    if is_custom(kind):
        return _CUSTOM, -wave
    return 0 if kind in _RELIED_ON else 1, 0


def _type(resource: Mapping[str, Any]) -> str:
    return str(resource.get("Type", ""))
