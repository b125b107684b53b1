"""Personal fields: declaration, hashing key and its readers. Permissions of a label feed."""

import json
from collections.abc import Callable
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

CAPACITY = EndpointCapacity.instances("ml.m5.large", instance_count=2)


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


def _ends(resources: Any) -> list[str]:
    listed = resources if isinstance(resources, list) else [resources]
    return sorted(str(each["Fn::Join"][1][-1]) if "Fn::Join" in each else "" for each in listed)


def test_a_feed_of_labels_reads_no_captures(serve: Callable[..., Any]) -> None:
    """It writes labels and row ids of its endpoint only, and reads the entry that tells numbers from classes."""
    made = serve(CAPACITY, capture=DataCapture(sampling_percent=100))
    role = iam.Role(made.stack, "Feed", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    assert made.endpoint.grant_labels(role).success

    (policy,) = (
        r["Properties"]["PolicyDocument"]["Statement"]
        for name, r in made.template["Resources"].items()
        if name.startswith("FeedDefaultPolicy")
    )
    objects, listing, baselines, row, parameter, key = policy
    assert objects["Action"] == ["s3:GetObject", "s3:PutObject"]
    assert _ends(objects["Resource"]) == ["/ids/demand-forecast/*", "/labels/demand-forecast/*"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["labels/demand-forecast/*", "ids/demand-forecast/*"]}}
    assert (baselines["Action"], _ends(baselines["Resource"])) == ("s3:GetObject", ["/evaluations/demand-forecast/*"])
    assert row["Action"] == "dynamodb:GetItem"
    assert (parameter["Action"], _ends(parameter["Resource"])) == (
        "ssm:GetParameter",
        [":parameter/mlops/demand/endpoint/demand-forecast"],
    )
    assert set(key["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey"}


def test_labels_need_capture(serve: Callable[..., Any]) -> None:
    """Without capture labels cannot be joined."""
    made = serve(CAPACITY)
    role = iam.Role(made.stack, "Feed", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    with pytest.raises(
        ValidationError, match=r"an endpoint without capture has no labels; give it capture=DataCapture"
    ):
        made.endpoint.grant_labels(role)
