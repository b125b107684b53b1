"""A registry of another stack: what it grants, and what it refuses by name."""

import json

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    IModelRegistry,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    ValidationError,
)
from mlops_constructs._arguments import is_of

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


class Second:
    """A stack that imports a unit and a registry of it."""

    def __init__(self, *, knows_approver: bool = True, approval: Approval | None = None) -> None:
        self.stack = cdk.Stack(cdk.App(), "Second")
        self.unit = BusinessUnit.from_name(self.stack, "Unit", name="demand")
        approver = iam.Role.from_role_arn(self.stack, "Approver", "arn:aws:iam::111111111111:role/Approver")
        given = Approval.manual(approver=approver) if knows_approver else None
        self.registry = ModelRegistry.from_registry_name(
            self.stack,
            "Registry",
            business_unit=self.unit,
            name="forecast",
            approval=given if approval is None else approval,
        )
        self.role = iam.Role(self.stack, "Caller", assumed_by=iam.AccountRootPrincipal())

    def granted(self) -> str:
        """Statements of the caller's policy."""
        (policy,) = Template.from_stack(self.stack).find_resources("AWS::IAM::Policy").values()
        return json.dumps(policy["Properties"]["PolicyDocument"]["Statement"])


def test_names_follow_from_the_units() -> None:
    """Nothing is defined, and no value is read for it."""
    second = Second()
    arns = second.stack.resolve([second.registry.group_arn, second.registry.packages_arn])
    assert second.registry.group_name == "demand-forecast"
    assert [arn["Fn::Join"][1][-1] for arn in arns] == [
        ":model-package-group/demand-forecast",
        ":model-package/demand-forecast/*",
    ]
    assert is_of(second.registry, IModelRegistry)
    Template.from_stack(second.stack).resource_count_is("AWS::SageMaker::ModelPackageGroup", 0)


def test_people_read_review_and_approve() -> None:
    """With the owner's key, buckets and parameter; the approvers' role is the one that the import names."""
    second = Second()
    assert second.registry.grant_review(second.role).success
    assert second.registry.grant_approve(second.role).success
    text = second.granted()
    for part in (
        "model-package/demand-forecast/*",
        "/evaluations/*",
        "parameter/mlops/demand/registry/demand-forecast",
    ):
        assert part in text
    assert "sagemaker:UpdateModelPackage" in text
    assert second.registry.approver_role.role_name == "Approver"


def test_a_machine_registers_and_people_hear_of_it() -> None:
    """On the unit's topic; it approves nothing."""
    second = Second()
    second.registry.approve_by_policy(second.role)
    names = ("package", "reason", "execution", "training_set_id", "model_sha256", "evaluation_uri")
    message = second.registry.waiting_message({name: f"${name}" for name in names})
    assert "role/Approver" in str(message["Message"])
    assert second.registry.approve_statements() == []
    assert len(second.registry.notify_statements()) == 2


def test_an_endpoint_is_refused_with_the_fix() -> None:
    """Where artefacts are is written into the owner's parameter, in which an importing stack writes nothing."""
    second = Second()
    with pytest.raises(ValidationError) as error:
        ModelEndpoint(
            second.stack,
            "Endpoint",
            business_unit=second.unit,
            registry=second.registry,
            name="forecast",
            image=IMAGE,
            capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        )
    assert error.value.code == "RegistryOfAnotherStack"
    assert "no endpoint can serve its packages from s3://" in str(error.value)
    assert "define that in the registry's own stack, or a ModelRegistry(...) in this one" in str(error.value)


def test_a_machine_that_approves_is_refused() -> None:
    """The rule names the roles of machines, and is the owner's."""
    second = Second(approval=Approval.automatic())
    with pytest.raises(ValidationError, match=r"RegistryOfAnotherStack: .* no pipeline may approve its packages"):
        second.registry.approve_by_policy(second.role)
    with pytest.raises(ValidationError, match=r"RegistryOfAnotherStack: .* no function can read its rule"):
        _ = second.registry.approval_environment


def test_an_approver_that_was_not_named_is_missing() -> None:
    """Reading needs none."""
    second = Second(knows_approver=False)
    assert second.registry.grant_read(second.role).success
    with pytest.raises(ValidationError, match=r"UnknownApprover: .* with approval=Approval.manual\(approver=...\)"):
        second.registry.grant_review(second.role)


def test_fails_on_a_name_that_no_registry_has() -> None:
    """As where it is defined."""
    second = Second()
    with pytest.raises(ValidationError, match="InvalidModelRegistry: name must be 2 to 20 lower-case letters"):
        ModelRegistry.from_registry_name(second.stack, "Other", business_unit=second.unit, name="NO")
