"""Personal fields: declaration, hashing key and its readers."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    PersonalData,
    Profile,
    ValidationError,
)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """A stack with an endpoint that hashes one field and withholds another, and a caller."""
    stack = cdk.Stack(cdk.App(), "Personal")
    unit = BusinessUnit(stack, "Unit", name="crm", profile=Profile.DEVELOPMENT)
    endpoint = ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=ModelRegistry(stack, "Registry", business_unit=unit, name="churn"),
        name="churn",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
        capture=DataCapture(
            sampling_percent=100, personal_data=PersonalData(hashed=("household",), withheld=("email",))
        ),
    )
    shop = iam.Role(stack, "Shop", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    endpoint.grant_invoke(shop)
    found: dict[str, Any] = Template.from_stack(stack).to_json()
    return found


def _only(template: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [r for r in template["Resources"].values() if r["Type"] == kind]
    return dict(found)


def test_the_key_is_made_by_secrets_manager_under_the_units_key(template: dict[str, Any]) -> None:
    """The key is generated, and deleted with a DEVELOPMENT stack."""
    secret = _only(template, "AWS::SecretsManager::Secret")
    assert secret["Properties"]["GenerateSecretString"] == {"ExcludePunctuation": True, "PasswordLength": 64}
    assert "UnitKey" in secret["Properties"]["KmsKeyId"]["Fn::GetAtt"][0]
    assert secret["DeletionPolicy"] == "Delete"


def test_the_entry_tells_clients_what_to_hash_and_where_the_key_is(template: dict[str, Any]) -> None:
    """``EndpointClient`` reads the entry."""
    values = [r["Properties"] for r in template["Resources"].values() if r["Type"] == "AWS::SSM::Parameter"]
    (entry,) = [json.dumps(value["Value"]) for value in values if "/endpoint/" in json.dumps(value["Name"])]
    assert r"\"hashed\":[\"household\"]" in entry.replace("\\\\", "\\")
    assert r"\"withheld\":[\"email\"]" in entry.replace("\\\\", "\\")
    assert "EndpointPersonalKey" in entry


def test_callers_may_read_the_key(template: dict[str, Any]) -> None:
    """Permission to invoke includes the hashing key."""
    (policy,) = [
        r["Properties"]["PolicyDocument"]
        for name, r in template["Resources"].items()
        if r["Type"] == "AWS::IAM::Policy" and name.startswith("Shop")
    ]
    actions = {a for s in policy["Statement"] for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    assert actions == {"kms:Decrypt", "sagemaker:InvokeEndpoint", "secretsmanager:GetSecretValue"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "hashed or withheld must name a field"),
        ({"hashed": ("a",), "withheld": ("a",)}, "a field must be hashed, withheld or plain, once, got 'a' twice"),
        ({"hashed": ("A",), "withheld": ("a",)}, "a field must be hashed, withheld or plain, once, got 'a' twice"),
        ({"hashed": ("",)}, "hashed must name fields, got an empty name"),
        (
            {"hashed": "household", "withheld": ["email"]},
            r"hashed must be a tuple of strings, got 'household'; .*withheld must be a tuple of strings, got \['email'\]",
        ),
    ],
)
def test_fails_for_a_declaration_that_says_nothing_or_two_things(arguments: dict[str, Any], problem: str) -> None:
    """Reports every contradictory or empty declaration."""
    with pytest.raises(ValidationError, match=problem):
        PersonalData(**arguments)
