"""The table of what services send, and every template's conditions against it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from examples.first_service import FirstService
from examples.stacks import compose

from mlops_constructs import _assets
from mlops_local import source_keys

SOURCE_KEYS = {"aws:sourcearn", "aws:sourceaccount", "aws:sourceowner", "aws:sourceorgid", "aws:sourceorgpaths"}
# the resource whose key EventBridge uses, by what the statement says of it
BUS = "kms:EncryptionContext:aws:events:event-bus:arn"


@pytest.mark.parametrize("row", source_keys.ROWS, ids=lambda row: f"{row.service} {row.action} {row.target}")
def test_a_row_is_found_and_sends_its_keys_alone(row: source_keys.Row) -> None:
    """By service, action and, for keys, the encrypted resource."""
    action = row.action.replace("*", "Decrypt")
    sent = source_keys.sent(row.service, action, row.target, source_arn="arn:x", account="1")
    values = {"aws:sourcearn": "arn:x", "aws:sourceaccount": "1", "aws:sourceowner": "1"}

    assert dict(sent) == {key.lower(): values[key.lower()] for key in row.keys}


def test_what_is_not_in_the_table_sends_nothing() -> None:
    """So that a condition on it denies."""
    assert source_keys.documented("events.amazonaws.com", "kinesis:PutRecord") == ()
    assert source_keys.documented("nobody.amazonaws.com", "sts:AssumeRole") == ()
    assert source_keys.documented("logs.eu-west-1.amazonaws.com", "kms:Decrypt") == ()


def test_no_row_stands_twice() -> None:
    """The later one would win without a word."""
    names = [(row.service, row.action, row.target) for row in source_keys.ROWS]

    assert len(set(names)) == len(names)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, Mapping[str, Any]]]:
    """The policy documents of every example stack, in both profiles and on both targets: place, type, statement."""
    folder = tmp_path_factory.mktemp("templates")
    cluster = {"name": "retail", "security_group_id": "sg-0123456789abcdef0", "subnet_cidrs": ["10.0.0.0/20"]}
    found: list[tuple[str, str, Mapping[str, Any]]] = []
    with pytest.MonkeyPatch.context() as patch:
        # stand-ins for the wheels that ``mlops assets build`` fetches: constructs only copy them
        patch.setattr(_assets, "ASSETS", folder / "assets")
        (_assets.layer_folder("monitor", architecture="x86_64") / "python").mkdir(parents=True)
        for profile in ("development", "production"):
            for target in ("sagemaker", "eks"):
                context = {"image_digest": "sha256:" + "a" * 64, "profile": profile, "target": target}
                certificate = "arn:aws:acm:us-east-1:123456789012:certificate/0"
                app = cdk.App(
                    outdir=str(folder / f"{profile}-{target}"),
                    context={**context, "cluster": cluster, "certificate": certificate},
                )
                compose(app)
                if (profile, target) == ("development", "eks"):
                    FirstService(app, "FirstService")
                for stack in app.synth().stacks:
                    found += _statements(stack.stack_name, stack.template)
    return found


def _statements(stack: str, template: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, resource in template["Resources"].items():
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
    """The principal of CloudWatch Logs has the Region in its name, which is a token."""
    if isinstance(service, str):
        return service
    return "".join(part if isinstance(part, str) else "us-east-1" for part in service["Fn::Join"][1])


def _unsent(resource_type: str, statement: Mapping[str, Any]) -> Iterator[str]:
    """Yield the source keys that an Allow statement needs and that the service does not send."""
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
    """Trust, topic, queue, key and bucket policies of every example stack; ``IfExists`` needs nothing."""
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
    """The confused deputy: where a service sends its account or source, our statements ask for it."""
    bare = {
        f"{kind} {service} {action}"
        for _, kind, statement in documents
        if statement["Effect"] == "Allow" and not statement.get("Condition")
        for service in _services(statement)
        for action in _listed(statement["Action"])
        if source_keys.documented(service, action, "sns" if kind == "AWS::KMS::Key" else "")
    }

    # CDK's target for encrypted queues: a condition on the rule would be a circle through the key's policy
    assert bare == {"AWS::SQS::QueuePolicy events.amazonaws.com sqs:SendMessage"}
