"""A unit with one endpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from mlops_constructs import BusinessUnit, EndpointCapacity, ModelEndpoint, ModelImage, ModelRegistry, Profile


@dataclass
class Served:
    """A stack with an endpoint, and its template."""

    stack: cdk.Stack
    unit: BusinessUnit
    endpoint: ModelEndpoint

    @cached_property
    def template(self) -> dict[str, Any]:
        """The template; nothing can be added to the stack afterwards."""
        return Template.from_stack(self.stack).to_json()

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return all resources of a type, with dependencies."""
        return [r for r in self.template["Resources"].values() if r["Type"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        """Return the properties of the only resource of a type."""
        (resource,) = self.all(kind)
        found: dict[str, Any] = resource["Properties"]
        return found

    def statements(self, part: str) -> list[dict[str, Any]]:
        """Return the statements of managed policies whose logical id contains ``part``."""
        policies = self.template["Resources"].items()
        return [
            s
            for name, r in policies
            if r["Type"] == "AWS::IAM::ManagedPolicy" and part in name
            for s in r["Properties"]["PolicyDocument"]["Statement"]
        ]

    def allowed(self, part: str) -> dict[str, list[Any]]:
        """Return the resources by action of these statements."""
        found: dict[str, list[Any]] = {}
        for statement in self.statements(part):
            actions, resources = statement["Action"], statement["Resource"]
            for action in actions if isinstance(actions, list) else [actions]:
                found.setdefault(action, []).extend(resources if isinstance(resources, list) else [resources])
        return found


def make_served(
    capacity: EndpointCapacity | Callable[[cdk.Stack], EndpointCapacity],
    *,
    profile: Profile = Profile.PRODUCTION,
    **changes: Any,
) -> Served:
    """Return a function that defines a unit with one endpoint."""
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="forecast",
        image=image,
        capacity=capacity if isinstance(capacity, EndpointCapacity) else capacity(stack),
        **changes,
    )
    return Served(stack, unit, endpoint)


@pytest.fixture(scope="session")
def serve() -> Callable[..., Served]:
    """Define a unit with one endpoint."""
    return make_served
