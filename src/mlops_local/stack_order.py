"""The order in which CloudFormation creates and deletes the resources of a stack: the harshest that its dependencies allow.

AWS works in parallel to the extent possible: a resource starts once all that it refers to or depends on is created, and is deleted
once all that refers to it or depends on it is gone; how long each takes, nobody knows. MiniStack works on one resource after
another, in the alphabetical order of what is ready, which hides what a template forgot to say. Here that one-after-another is the
worst of the orders that AWS may come to:

* a custom resource, whose function runs code, is created as early and deleted as late as its dependencies allow, so that it meets
  nothing that it does not depend on;
* what others silently rely on (endpoints, routes and rules of a network, policies) is deleted as early and created as late as they
  allow.

One after another differs from AWS: two custom resources never run at the same time. What finds each order safe is safe in every
order; what needs two of them at once to fail is not found here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from ministack.services.cloudformation import engine, stacks

from mlops_local import compat

compat.expect(
    "ministack.services.cloudformation.engine",
    _extract_deps="(resource_def, all_resource_names)",
)
compat.expect(
    "ministack.services.cloudformation.stacks",
    _topological_sort="(resources, conditions)",
)

_RELIED_ON = frozenset({
    "AWS::EC2::Route", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::SubnetRouteTableAssociation", "AWS::EC2::VPCEndpoint", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy",
    "AWS::Lambda::Permission", "AWS::S3::BucketPolicy",
})  # fmt: skip


def install() -> None:
    """Put the order in place of MiniStack's: of creation, update, rollback and deletion alike."""
    stacks._topological_sort = creation_order


def creation_order(resources: Mapping[str, Mapping[str, Any]], conditions: Mapping[str, bool]) -> list[str]:
    """Return the ids of a template's resources in the order of their creation; deletion and rollback go backwards.

    Args:
        resources: The template's resources.
        conditions: Its conditions, evaluated.

    Raises:
        ValueError: If resources depend on each other in a circle, in CloudFormation's words.

    Example:
        >>> creation_order({"Way": {"Type": "AWS::EC2::VPCEndpoint"}, "Worker": {"Type": "Custom::Work"}}, {})
        ['Worker', 'Way']
        >>> worker = {"Type": "Custom::Work", "DependsOn": ["Way"]}
        >>> creation_order({"Way": {"Type": "AWS::EC2::VPCEndpoint"}, "Worker": worker}, {})
        ['Way', 'Worker']
    """
    # claim: cloudformation-works-in-parallel
    # claim: cloudformation-deletes-dependents-first
    active = {name for name, resource in resources.items() if conditions.get(resource.get("Condition", ""), True)}
    needs = {name: set(engine._extract_deps(resources[name], active)) - {name} for name in active}
    dependents = dict.fromkeys(active, 0)
    for needed in needs.values():
        for name in needed:
            dependents[name] += 1
    free = _heap(resources, (name for name in active if not dependents[name]))
    deletion = []
    while free:
        _, name = heapq.heappop(free)
        deletion.append(name)
        for needed in needs[name]:
            dependents[needed] -= 1
            if not dependents[needed]:
                heapq.heappush(free, (_turn(resources[needed]), needed))
    if len(deletion) != len(active):
        circle = ", ".join(sorted(active.difference(deletion)))
        raise ValueError(f"Circular dependency detected among resources: {circle}")
    return deletion[::-1]


def _heap(resources: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[tuple[int, str]]:
    heap = [(_turn(resources[name]), name) for name in names]
    heapq.heapify(heap)
    return heap


def _turn(resource: Mapping[str, Any]) -> int:
    """Return when a resource is deleted among those that are free to go: the lowest first."""
    kind = str(resource.get("Type", ""))
    if kind in _RELIED_ON:
        return 0
    return 2 if kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource" else 1
