"""The table of condition keys that services send, and every template's conditions against it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from mlops_local.aws_claims import read_claims
from mlops_local.iam import source_keys

SOURCE_KEYS = {"aws:sourcearn", "aws:sourceaccount", "aws:sourceowner", "aws:sourceorgid", "aws:sourceorgpaths"}
# the resource whose key EventBridge uses, by a word of the statement
BUS = "kms:EncryptionContext:aws:events:event-bus:arn"


ARN, ACCOUNT, OWNER = "aws:SourceArn", "aws:SourceAccount", "aws:SourceOwner"
KEY = "kms:Decrypt"
# each claim's source as `service, action, encrypted resource, keys`; typed from the pages, not from the table
EXPECTED: dict[str, list[tuple[str, str, str, set[str]]]] = {
    "events-send-no-keys-to-topics": [("events.amazonaws.com", "sns:Publish", "", set())],
    "events-send-no-keys-for-encrypted-topics": [("events.amazonaws.com", KEY, "sns", set())],
    "events-send-no-keys-for-encrypted-queues": [("events.amazonaws.com", KEY, "sqs", set())],
    "events-send-the-rule-to-queues": [("events.amazonaws.com", "sqs:SendMessage", "", {ARN, ACCOUNT})],
    "events-send-the-rule-to-functions": [("events.amazonaws.com", "lambda:InvokeFunction", "", {ARN})],
    "events-send-the-rule-to-roles": [("events.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT})],
    "events-send-the-bus-for-its-key": [("events.amazonaws.com", KEY, "events", {ARN, ACCOUNT})],
    "scheduler-sends-the-schedule-group": [("scheduler.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT})],
    "alarms-send-themselves-to-topics": [("cloudwatch.amazonaws.com", "sns:Publish", "", {ARN, ACCOUNT, OWNER})],
    "alarms-send-themselves-for-encrypted-topics": [("cloudwatch.amazonaws.com", KEY, "sns", {ARN, ACCOUNT})],
    "topics-send-themselves": [
        ("sns.amazonaws.com", "sqs:SendMessage", "", {ARN, ACCOUNT}),
        ("sns.amazonaws.com", "lambda:InvokeFunction", "", {ARN}),
    ],
    "buckets-send-themselves": [
        ("s3.amazonaws.com", "sqs:SendMessage", "", {ARN, ACCOUNT}),
        ("s3.amazonaws.com", "sns:Publish", "", {ARN, ACCOUNT}),
        ("s3.amazonaws.com", "lambda:InvokeFunction", "", {ARN, ACCOUNT}),
    ],
    "machines-send-themselves-to-roles": [("states.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT})],
    "jobs-send-themselves-to-roles": [("sagemaker.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT})],
    "glue-sends-no-keys-to-roles": [("glue.amazonaws.com", "sts:AssumeRole", "", set())],
    "gateway-sends-no-keys-to-roles": [("apigateway.amazonaws.com", "sts:AssumeRole", "", set())],
    "gateway-sends-the-method-to-functions": [
        ("apigateway.amazonaws.com", "lambda:InvokeFunction", "", {ARN, ACCOUNT})
    ],
    "distributions-send-themselves-to-buckets": [("cloudfront.amazonaws.com", "s3:GetObject", "", {ARN})],
    "lambda-sends-no-keys-to-roles": [("lambda.amazonaws.com", "sts:AssumeRole", "", set())],
    "lake-formation-sends-itself-to-roles": [("lakeformation.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT})],
    "flow-logs-send-themselves-to-roles": [("vpc-flow-logs.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT})],
    "pod-identity-sends-the-cluster-to-roles": [
        ("pods.eks.amazonaws.com", "sts:AssumeRole", "", {ARN, ACCOUNT}),
        ("pods.eks.amazonaws.com", "sts:TagSession", "", {ARN, ACCOUNT}),
    ],
    "access-logs-send-the-source-bucket": [("logging.s3.amazonaws.com", "s3:PutObject", "", {ARN, ACCOUNT})],
    "balancers-send-themselves-with-access-logs": [
        ("logdelivery.elasticloadbalancing.amazonaws.com", "s3:PutObject", "", {ARN})
    ],
    "logs-send-the-encryption-context-alone": [("logs.eu-west-1.amazonaws.com", KEY, "", set())],
    "log-delivery-sends-no-keys": [("delivery.logs.amazonaws.com", KEY, "", set())],
}


@pytest.mark.parametrize("claim", sorted(EXPECTED))
def test_a_service_sends_what_its_page_says(claim: str) -> None:
    """Exactly these keys, with source and account in their place."""
    for service, action, target, keys in EXPECTED[claim]:
        sent = source_keys.sent(service, action, target, source_arn="arn:x", account="1")

        assert sent == {key.lower(): "arn:x" if key == ARN else "1" for key in keys}


def test_every_row_is_expected_by_a_claim() -> None:
    """Every row of the table has a claim, and each claim that names the test above is a case of it."""
    name = "tests/local/iam/test_source_keys.py::test_a_service_sends_what_its_page_says"
    expected = {
        (service.replace("logs.eu-west-1.", "logs."), action.replace("kms:Decrypt", "kms:*"), target)
        for rows in EXPECTED.values()
        for service, action, target, _ in rows
    }

    assert {(row.service, row.action, row.target) for row in source_keys.ROWS} == expected
    assert {claim.id for claim in read_claims() if claim.test == name} - set(EXPECTED) == set()


def test_what_is_not_in_the_table_sends_nothing() -> None:
    """A condition on a missing key denies."""
    assert source_keys.documented("events.amazonaws.com", "kinesis:PutRecord") == ()
    assert source_keys.documented("nobody.amazonaws.com", "sts:AssumeRole") == ()
    assert source_keys.documented("logs.eu-west-1.amazonaws.com", "kms:Decrypt") == ()


def test_no_row_stands_twice() -> None:
    """The later row would silently win."""
    names = [(row.service, row.action, row.target) for row in source_keys.ROWS]

    assert len(set(names)) == len(names)


@pytest.fixture(scope="module")
def documents(example_stacks: Callable[..., dict[str, Any]]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The policy documents of every example stack, in both profiles and on both targets: location, type, statement."""
    on_eks = {
        "target": "eks",
        "stacks": ["DemandForecasting"],
        "has_service": True,
    }  # the other stacks are equal on both
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    for context in ({}, {"profile": "production"}, on_eks, {"profile": "production", **on_eks}):
        for stack, resources in example_stacks(**context).items():
            found += _statements(stack, resources)
    return found


def _statements(stack: str, resources: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, resource in resources.items():
        for field in ("AssumeRolePolicyDocument", "PolicyDocument", "KeyPolicy", "Policy"):
            document = resource.get("Properties", {}).get(field)
            for statement in _listed(document.get("Statement") if isinstance(document, Mapping) else None):
                yield f"{stack}/{name}", resource["Type"], statement


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _services(statement: Mapping[str, Any]) -> list[str]:
    principal = statement.get("Principal")
    named = principal.get("Service") if isinstance(principal, Mapping) else None
    return [_resolved(service) for service in _listed(named)]


def _resolved(service: Any) -> str:
    """The principal of CloudWatch Logs has a token for the Region in its name."""
    if isinstance(service, str):
        return service
    return "".join(part if isinstance(part, str) else "us-east-1" for part in service["Fn::Join"][1])


def _unsent(resource_type: str, statement: Mapping[str, Any]) -> Iterator[str]:
    """Yield the source keys that an Allow statement requires and the service does not send."""
    conditions = statement.get("Condition", {})
    needed = {
        key for operator, block in conditions.items() if not operator.endswith("IfExists")
        for key in block if key.lower() in SOURCE_KEYS
    }  # fmt: skip
    encrypted = "events" if BUS in json.dumps(conditions) else "sns"
    for service in _services(statement):
        for action in _listed(statement["Action"]):
            target = encrypted if resource_type == "AWS::KMS::Key" else ""
            for key in sorted(needed - set(source_keys.documented(service, action, target))):
                yield f"{service} {action} {key}"


def test_no_statement_needs_a_key_that_the_service_does_not_send(
    documents: list[tuple[str, str, Mapping[str, Any]]],
) -> None:
    """Trust, topic, queue, key and bucket policies of every example stack; ``IfExists`` requires nothing."""
    needs = [
        f"{place}: {unsent}"
        for place, kind, statement in documents
        if statement["Effect"] == "Allow"
        for unsent in _unsent(kind, statement)
    ]
    services = {service for _, _, statement in documents for service in _services(statement)}

    assert needs == []
    assert len(services) >= 12


def test_a_service_without_a_condition_sends_nothing_that_could_hold_one(
    documents: list[tuple[str, str, Mapping[str, Any]]],
) -> None:
    """Confused deputy: where a service sends its account or source, our statements require it."""
    bare = {
        f"{kind} {service} {action}"
        for _, kind, statement in documents
        if statement["Effect"] == "Allow" and not statement.get("Condition")
        for service in _services(statement)
        for action in _listed(statement["Action"])
        if source_keys.documented(service, action, "sns" if kind == "AWS::KMS::Key" else "")
    }

    assert bare == set()
