"""Units with a service on an EKS cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Template

from mlops_constructs import (
    Bootstrap,
    BusinessUnit,
    DataCapture,
    Delivery,
    EksCluster,
    EksInferenceService,
    EksTenant,
    ModelRegistry,
    Network,
    Profile,
    RolloutChecks,
    RolloutPolicy,
    TenantQuota,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CERTIFICATE = "arn:aws:acm:us-east-1:111111111111:certificate/0"
CLUSTER = {
    "name": "retail",
    "security_group_id": "sg-0123456789abcdef0",
    "subnet_cidrs": ["10.0.0.0/17", "10.0.128.0/17"],
}


@dataclass
class Place:
    """A stack with a unit and its namespace on a cluster."""

    stack: cdk.Stack
    unit: BusinessUnit
    cluster: EksCluster
    tenant: EksTenant
    registry: ModelRegistry

    def serve(self, id: str = "Service", **changes: Any) -> EksInferenceService:
        """Define a service."""
        known = {
            "name": "forecast",
            "registry": self.registry,
            "certificate": acm.Certificate.from_certificate_arn(self.stack, f"{id}Certificate", CERTIFICATE),
        }
        return EksInferenceService(
            self.stack,
            id,
            tenant=self.tenant,
            **{**known, **changes},
        )

    @cached_property
    def template(self) -> dict[str, Any]:
        """The template; nothing can be added to the stack afterwards."""
        found: dict[str, Any] = dict(Template.from_stack(self.stack).to_json())
        return found

    def resources(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a type by logical id."""
        return {name: r for name, r in self.template["Resources"].items() if r["Type"] == kind}

    def one(self, kind: str, part: str = "") -> dict[str, Any]:
        """Return the properties of the only resource of a type whose logical id contains ``part``."""
        (resource,) = (r for name, r in self.resources(kind).items() if part in name)
        found: dict[str, Any] = resource["Properties"]
        return found

    def statements(self, part: str) -> list[dict[str, Any]]:
        """Return the statements of managed policies whose logical id contains ``part``."""
        found = self.resources("AWS::IAM::ManagedPolicy").items()
        return [s for name, r in found if part in name for s in r["Properties"]["PolicyDocument"]["Statement"]]

    def allowed(self, part: str) -> dict[str, list[Any]]:
        """Return the resources by action of these statements."""
        found: dict[str, list[Any]] = {}
        for statement in self.statements(part):
            actions, resources = statement["Action"], statement["Resource"]
            for action in actions if isinstance(actions, list) else [actions]:
                found.setdefault(action, []).extend(resources if isinstance(resources, list) else [resources])
        return found


def make_place(*, profile: Profile = Profile.PRODUCTION, tenant: dict[str, Any] | None = None, **cluster: Any) -> Place:
    """Return a function that defines a unit's namespace; further arguments are the cluster's."""
    stack = cdk.Stack(cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}), "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile, network=Network.create(availability_zones=2))
    made = EksCluster.from_cluster_attributes(stack, "Cluster", **{**CLUSTER, **cluster})
    place = EksTenant(stack, "Tenant", business_unit=unit, cluster=made, **(tenant or {}))
    return Place(stack, unit, made, place, ModelRegistry(stack, "Registry", business_unit=unit, name="forecast"))


@pytest.fixture
def place() -> Callable[..., Place]:
    """Define a unit's namespace."""
    return make_place


@pytest.fixture(scope="session")
def roomy() -> Place:
    """A production unit with room for many services, for invalid services; never synthesized."""
    return make_place(tenant={"quota": TenantQuota(cpu="4000", memory="4000Gi", pods=4000)})


@pytest.fixture(scope="session")
def served() -> Place:
    """A production unit with a service that captures all calls."""
    made = make_place()
    made.serve(capture=DataCapture(sampling_percent=100))
    return made


@pytest.fixture(scope="session")
def changed() -> Place:
    """A development unit with a custom policy and a caller."""
    made = make_place(profile=Profile.DEVELOPMENT)
    checks = RolloutChecks(max_error_count=7, max_latency=cdk.Duration.millis(250))
    service = made.serve(rollout=RolloutPolicy.linear(step_percent=20, bake=cdk.Duration.minutes(10), checks=checks))
    service.allow_from(ec2.SecurityGroup.from_security_group_id(made.stack, "Callers", "sg-87654321"))
    return made


@pytest.fixture(scope="session")
def developed() -> Place:
    """A development unit without a certificate, whose manifests are applied elsewhere."""
    made = make_place(profile=Profile.DEVELOPMENT, tenant={"bootstrap": Bootstrap.yaml()}, auto_mode=False)
    made.serve(certificate=None, delivery=Delivery.git_ops())
    return made
