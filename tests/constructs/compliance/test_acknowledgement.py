"""Acknowledgements of findings."""

import aws_cdk as cdk
import cdk_nag
import pytest
from aws_cdk import aws_sqs as sqs

from mlops_constructs import ValidationError
from mlops_constructs.compliance import RULE_FAMILIES, acknowledge, acknowledge_family, wildcard_findings
from mlops_constructs.compliance.harness import PACKS

REASON = "it is itself where dead letters end; one more would never be read"


@pytest.fixture
def queue() -> sqs.Queue:
    """A queue."""
    return sqs.Queue(cdk.Stack(cdk.App(), "S"), "Queue")


def _rules(construct: sqs.Queue) -> dict[str, str]:
    key = cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY
    return {
        rule: reason for entry in construct.node.metadata if entry.type == key for rule, reason in entry.data.items()
    }


def test_the_qualified_id_keeps_the_reason(queue: sqs.Queue) -> None:
    """CDK's report keeps the reason only for ``Pack::Pack-Rule``."""
    acknowledge(queue, "HIPAA.Security-IAMNoInlinePolicy", REASON)

    assert _rules(queue) == {"HIPAA.Security::HIPAA.Security-IAMNoInlinePolicy": REASON}


def test_a_family_names_every_pack(queue: sqs.Queue) -> None:
    """One acknowledgement covers several packs."""
    acknowledge_family(queue, "S3BucketReplicationEnabled", REASON)

    packs = ("HIPAA.Security", "NIST.800.53.R4", "NIST.800.53.R5", "PCI.DSS.321")
    assert sorted(_rules(queue)) == [f"{pack}::{pack}-S3BucketReplicationEnabled" for pack in packs]


def test_cdks_own_synthesis_honours_it(queue: sqs.Queue) -> None:
    """Packs as plugins fail on other findings."""
    app = cdk.App()
    other = sqs.Queue(cdk.Stack(app, "S"), "Queue")
    for rule in ("AwsSolutions-SQS3", "AwsSolutions-SQS4"):
        acknowledge(other, rule, REASON)
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    app.synth()

    failing = cdk.App()
    sqs.Queue(cdk.Stack(failing, "S"), "Queue")
    cdk.Validations.of(failing).add_plugins(cdk_nag.AwsSolutionsChecks(failing))
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        failing.synth()


@pytest.mark.parametrize("rule", ["IAM5", "AwsSolutions-IAM5[]x", "AwsSolutions::AwsSolutions-S1", "Foo-S1"])
def test_fails_on_what_is_no_exact_id(queue: sqs.Queue, rule: str) -> None:
    """Rejects patterns."""
    with pytest.raises(ValidationError, match="rule must be an exact id"):
        acknowledge(queue, rule, REASON)


def test_fails_on_a_short_reason(queue: sqs.Queue) -> None:
    """Rejects reasons too short for a review."""
    with pytest.raises(ValidationError, match="reason must have at least 40 characters, got 'not needed'"):
        acknowledge(queue, "AwsSolutions-SQS3", "not needed")


def test_fails_on_a_whole_stack(queue: sqs.Queue) -> None:
    """Requires acknowledgement at the resource of the finding."""
    with pytest.raises(
        ValidationError, match="construct must be the one with the finding, got the whole stack or stage 'S'"
    ):
        acknowledge(cdk.Stack.of(queue), "AwsSolutions-SQS3", REASON)


def test_fails_on_an_unknown_family(queue: sqs.Queue) -> None:
    """The message lists the known families."""
    with pytest.raises(ValidationError, match=r"rule must be one of ALBHttpToHttpsRedirection, .*, got 'SQS3'"):
        acknowledge_family(queue, "SQS3", REASON)


def test_families_name_packs_that_are_installed() -> None:
    """The id contains the pack's name, so this test fails for a new edition of a pack."""
    app = cdk.App()
    names = {str(pack(app).read_pack_name) for pack in PACKS}

    assert {pack for packs in RULE_FAMILIES.values() for pack in packs} <= names


@pytest.mark.parametrize(
    ("resource", "finding"),
    [
        ("*", "Resource::*"),
        ({"Fn::Join": ["", [{"Fn::GetAtt": ["Data", "Arn"]}, "/*"]]}, "Resource::<Data.Arn>/*"),
        (
            {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, ":s3:::x/*"]]},
            "Resource::arn:<AWS::Partition>:s3:::x/*",
        ),
        ({"Fn::Join": ["", [{"Fn::ImportValue": "Unit:Export"}, "/*"]]}, "Resource::Unit:Export/*"),
        ({"Fn::Sub": "${Data.Arn}/*"}, "Resource::<Data.Arn>/*"),
    ],
)
def test_findings_are_named_as_cdk_nag_names_them(resource: object, finding: str) -> None:
    """References are flattened as in cdk-nag 3 (flatten-cfn-reference)."""
    document = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource}]}

    assert wildcard_findings(document) == [f"AwsSolutions-IAM5[{finding}]"]


def test_denials_have_no_findings() -> None:
    """Broad denials are allowed."""
    assert wildcard_findings({"Statement": [{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]}) == []
