"""A registry of another stack: grants, serving and validation."""

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
    Profile,
    ValidationError,
)
from mlops_constructs._arguments import is_of

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)


class Second:
    """A stack that imports a unit and a registry of it."""

    def __init__(
        self, *, knows_approver: bool = True, approval: Approval | None = None, pipelines: list[str] | None = None
    ) -> None:
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
            pipelines=pipelines,
        )
        self.role = iam.Role(self.stack, "Caller", assumed_by=iam.AccountRootPrincipal())

    def granted(self) -> str:
        """Return the statements of the caller's policy."""
        (policy,) = Template.from_stack(self.stack).find_resources("AWS::IAM::Policy").values()
        return json.dumps(policy["Properties"]["PolicyDocument"]["Statement"])


def _endpoint(second: Second) -> ModelEndpoint:
    """Define an endpoint of the imported registry."""
    return ModelEndpoint(
        second.stack,
        "Endpoint",
        business_unit=second.unit,
        registry=second.registry,
        name="regional",
        image=IMAGE,
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
    )


def test_names_follow_from_the_units() -> None:
    """Defines nothing and reads no parameter for names."""
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
    """Uses the owner's key, buckets and parameter; the import names the approvers' role."""
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
    """It publishes to the unit's topic and cannot approve."""
    second = Second()
    second.registry.approve_by_policy(second.role)
    names = ("package", "reason", "execution", "training_set_id", "model_sha256", "evaluation_uri")
    message = second.registry.waiting_message({name: f"${name}" for name in names})
    assert "role/Approver" in str(message["Message"])
    assert second.registry.approve_statements() == []
    assert len(second.registry.notify_statements()) == 2


def test_an_endpoint_takes_the_owners_rule_and_reads_the_named_pipelines() -> None:
    """Reads the rule from the owner's parameter; the role and preflight read these folders only."""
    second = Second(pipelines=["weekly", "daily"])
    endpoint = _endpoint(second)
    template = Template.from_stack(second.stack)
    (variables,) = (
        each["Properties"]["Environment"]["Variables"]
        for name, each in template.find_resources("AWS::Lambda::Function").items()
        if "Preflight" in name
    )
    parameters = template.to_json()["Parameters"]
    assert parameters[variables["REGISTRY"]["Ref"]]["Default"] == "/mlops/demand/registry/demand-forecast"
    assert "APPROVAL" not in variables
    names = ("regional", "weekly", "daily")
    parts = [part for part in variables["MODELS"]["Fn::Join"][1] if isinstance(part, str)]
    assert [name for part in parts for name in names if f"/models/demand-{name}/" in part] == list(names)

    (policy,) = (
        each["Properties"]
        for name, each in template.find_resources("AWS::IAM::ManagedPolicy").items()
        if name.startswith("EndpointRolloutModels")
    )
    granted = json.dumps(policy["PolicyDocument"])
    assert ("models/demand-weekly/*" in granted, "models/demand-daily/*" in granted) == (True, True)
    readers = [
        name
        for name, each in template.find_resources("AWS::IAM::Role").items()
        if "EndpointRolloutModels" in json.dumps(each["Properties"].get("ManagedPolicyArns", []))
    ]
    assert sorted(name.rstrip("0123456789ABCDEF") for name in readers) == [
        "EndpointRole",
        "EndpointRolloutPreflightRole",
    ]
    assert endpoint.endpoint_name == "demand-regional"


def test_a_pipeline_of_the_endpoints_name_needs_no_other_policy() -> None:
    """The endpoint may read models of its own name anyway."""
    second = Second(pipelines=["regional"])
    _endpoint(second)
    policies = Template.from_stack(second.stack).find_resources("AWS::IAM::ManagedPolicy")
    assert not [name for name in policies if name.startswith("EndpointRolloutModels")]


def test_a_machine_that_approves_is_refused() -> None:
    """The rule names machine roles and belongs to the owner."""
    second = Second(approval=Approval.automatic())
    with pytest.raises(
        ValidationError, match=r"RegistryOfAnotherStack: .* pipelines of this stack cannot approve its packages"
    ):
        second.registry.approve_by_policy(second.role)


def test_a_pipelines_name_is_no_pattern() -> None:
    """A wildcard would extend the role's permissions."""
    with pytest.raises(ValidationError, match="InvalidModelRegistry: pipelines must be letters, digits and hyphens"):
        Second(pipelines=["*"])


def test_an_approver_that_was_not_named_is_missing() -> None:
    """Reading does not need the approver."""
    second = Second(knows_approver=False)
    assert second.registry.grant_read(second.role).success
    with pytest.raises(ValidationError, match=r"UnknownApprover: .* with approval=Approval.manual\(approver=...\)"):
        second.registry.grant_review(second.role)


def test_fails_on_a_name_that_no_registry_has() -> None:
    """Validates names like the defining stack."""
    second = Second()
    with pytest.raises(ValidationError, match="InvalidModelRegistry: name must be 2 to 20 lower-case letters"):
        ModelRegistry.from_registry_name(second.stack, "Other", business_unit=second.unit, name="NO")


def test_names_of_an_imported_registry_are_known_at_synthesis() -> None:
    """The name of the parameter that this stack reads contains the names of unit and registry."""
    second = Second()
    token = cdk.Fn.import_value("x")
    unit = BusinessUnit(second.stack, "Token", name=token, profile=Profile.DEVELOPMENT)
    with pytest.raises(
        ValidationError, match="InvalidModelRegistry: name must be known at synthesis, as the name"
    ) as caught:
        ModelRegistry.from_registry_name(second.stack, "A", business_unit=second.unit, name=token)
    assert len(caught.value.problems) == 1
    with pytest.raises(ValidationError, match=r"InvalidModelRegistry: business_unit.name must be known") as caught:
        ModelRegistry.from_registry_name(second.stack, "B", business_unit=unit, name="returns")
    assert len(caught.value.problems) == 1
