"""The registry of a model."""

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from mlops_constructs import Approval, BusinessUnit, ModelRegistry, Profile, ValidationError


def _registry(profile: Profile = Profile.PRODUCTION, name: str = "forecast") -> tuple[cdk.Stack, ModelRegistry]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    return stack, ModelRegistry(stack, "Registry", business_unit=unit, name=name)


@pytest.mark.parametrize(("profile", "policy"), [(Profile.PRODUCTION, "Retain"), (Profile.DEVELOPMENT, "Delete")])
def test_group_is_named_by_unit_and_model_and_follows_the_profile(profile: Profile, policy: str) -> None:
    """The name is the endpoint's too."""
    stack, registry = _registry(profile)

    assert registry.group_name == "demand-forecast"
    Template.from_stack(stack).has_resource(
        "AWS::SageMaker::ModelPackageGroup",
        {
            "DeletionPolicy": policy,
            "Properties": {
                "ModelPackageGroupName": "demand-forecast",
                "Tags": Match.array_with([{"Key": "mlops:unit", "Value": "demand"}]),
            },
        },
    )


def test_a_person_approves_by_default() -> None:
    """Nothing goes live by itself unless the stack says so."""
    _, registry = _registry()

    assert registry.approval == Approval.manual()


def test_reading_and_approving_are_granted_apart() -> None:
    """Whoever lists packages does not approve them."""
    stack, registry = _registry()
    reader = iam.User(stack, "Reader")
    approver = iam.Role(stack, "Approver", assumed_by=iam.AccountRootPrincipal())

    assert registry.grant_read(reader).success
    assert registry.grant_approve(approver).success

    actions: dict[str, set[str]] = {}
    for name, policy in Template.from_stack(stack).find_resources("AWS::IAM::Policy").items():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            found = statement["Action"]
            actions.setdefault(name[: name.index("DefaultPolicy")], set()).update(
                [found] if isinstance(found, str) else found
            )
    assert "sagemaker:UpdateModelPackage" not in actions["Reader"]
    assert "sagemaker:UpdateModelPackage" in actions["Approver"]
    assert actions["Reader"] < actions["Approver"]


@pytest.mark.parametrize("name", ["f", "Forecast", "a_b", "x" * 21])
def test_fails_on_a_name_that_sagemaker_refuses(name: str) -> None:
    """It becomes part of job names."""
    with pytest.raises(ValidationError, match="InvalidModelRegistry: name must be 2 to 20 lower-case letters"):
        _registry(name=name)
