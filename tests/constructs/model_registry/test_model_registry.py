"""The registry of a model."""

import json
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Match, Template

from mlops_constructs import (
    Approval,
    BusinessUnit,
    EndpointCapacity,
    Environment,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    Profile,
    ValidationError,
)
from mlops_runtime.contracts import from_json
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry

WAITING = ("package", "reason", "execution", "training_set_id", "model_sha256", "evaluation_uri")


def _registry(profile: Profile = Profile.PRODUCTION, name: str = "forecast") -> tuple[cdk.Stack, ModelRegistry]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    return stack, ModelRegistry(stack, "Registry", business_unit=unit, name=name)


@pytest.mark.parametrize(
    ("profile", "policy"), [(Profile.PRODUCTION, "RetainExceptOnCreate"), (Profile.DEVELOPMENT, "Delete")]
)
def test_group_is_named_by_unit_and_model_and_follows_the_profile(profile: Profile, policy: str) -> None:
    """The endpoint has the same name."""
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
    """Automatic approval is opt-in."""
    _, registry = _registry()

    assert registry.approval == Approval.manual()
    assert registry.approve_statements() == []


def test_the_description_stays_what_it_was() -> None:
    """The description is create-only: a change would replace the group, which fails while it has packages."""
    stack, _ = _registry()

    Template.from_stack(stack).has_resource_properties(
        "AWS::SageMaker::ModelPackageGroup",
        {"ModelPackageGroupDescription": "Packages of model forecast of business unit demand"},
    )


def _registry_with(approval: Approval | None = None) -> tuple[cdk.Stack, ModelRegistry]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    return stack, ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", approval=approval)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        return "".join(_text(part) for part in value["Fn::Join"][1])
    return f"<{value['Fn::GetAtt'][0]}>"


def _role(stack: cdk.Stack, id: str) -> iam.Role:
    return iam.Role(stack, id, assumed_by=iam.ServicePrincipal("states.amazonaws.com"))


def test_the_rule_names_approver_machine_and_timeout() -> None:
    """The machine is defined after the function that reads the rule."""
    stack, registry = _registry_with(Approval.automatic())
    cdk.CfnOutput(stack, "Rule", value=registry.approval_environment["APPROVAL"])
    registry.approve_by_policy(_role(stack, "Machine"))

    template = Template.from_stack(stack).to_json()

    rule = from_json(ApprovalRule, _text(template["Outputs"]["Rule"]["Value"]))
    assert [approver.startswith("<RegistryApprover") for approver in rule.approvers] == [True]
    assert [machine.startswith("<Machine") for machine in rule.machines] == [True]
    assert rule.timeout_seconds == 7 * 86400
    (parameter,) = (r["Properties"] for n, r in template["Resources"].items() if n.startswith("RegistryEntry"))
    assert parameter["Name"] == "/mlops/demand/registry/demand-forecast"
    assert from_json(RegistryEntry, _text(parameter["Value"])) == RegistryEntry(
        group="demand-forecast", unit="demand", rule=rule
    )


def test_no_machine_approves_where_a_person_does() -> None:
    """The rule ignores a machine, which gets no approver tag."""
    stack, registry = _registry_with(Approval.manual(timeout=cdk.Duration.hours(2)))
    registry.approve_by_policy(_role(stack, "Machine"))
    cdk.CfnOutput(stack, "Rule", value=registry.approval_environment["APPROVAL"])

    template = Template.from_stack(stack).to_json()

    rule = from_json(ApprovalRule, _text(template["Outputs"]["Rule"]["Value"]))
    assert (rule.machines, rule.timeout_seconds) == ((), 7200)
    (machine,) = (r["Properties"] for n, r in template["Resources"].items() if n.startswith("Machine"))
    assert "mlops:approves" not in json.dumps(machine)


def test_a_given_role_approves_and_no_other_is_defined() -> None:
    """The given role, such as one of a permission set, gets its permissions from its own stack."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    arn = "arn:aws:iam::123456789012:role/people/Lead"
    lead = iam.Role.from_role_arn(stack, "Lead", arn, mutable=False)
    registry = ModelRegistry(
        stack, "Registry", business_unit=unit, name="forecast", approval=Approval.manual(approver=lead)
    )
    cdk.CfnOutput(stack, "Rule", value=registry.approval_environment["APPROVAL"])

    template = Template.from_stack(stack).to_json()

    assert registry.approver_role is lead
    assert from_json(ApprovalRule, _text(template["Outputs"]["Rule"]["Value"])).approvers == (arn,)
    assert [n for n in template["Resources"] if n.startswith("RegistryApprover")] == []


def test_people_hear_on_the_units_topic_or_another() -> None:
    """The machine may publish there, and use the topic's key through SNS only."""
    stack, registry = _registry_with()
    key = kms.Key(stack, "Key")
    topic = sns.Topic(stack, "Topic", master_key=key)
    unit = BusinessUnit(stack, "Other", name="other")
    other = ModelRegistry(
        stack, "OtherRegistry", business_unit=unit, name="forecast", approval=Approval.manual(topic=topic)
    )

    ours, theirs = ([s.to_statement_json() for s in r.notify_statements()] for r in (registry, other))

    assert other.topic is topic
    assert registry.waiting_message(dict.fromkeys(WAITING, "$x"))["TopicArn"] == registry.topic.topic_arn
    for (publish, use), expected in ((ours, registry.topic.topic_arn), (theirs, topic.topic_arn)):
        assert (publish["Action"], stack.resolve(publish["Resource"])) == ("sns:Publish", stack.resolve(expected))
        assert use["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert stack.resolve(theirs[1]["Resource"]) == stack.resolve(key.key_arn)


def test_chats_hear_by_a_topic_of_their_own() -> None:
    """The machine may publish to both topics, and use each key through SNS only; mail never shows JSON."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    key = kms.Key(stack, "Key")
    chats = sns.Topic(stack, "Chats", master_key=key, enforce_ssl=True)
    approval = Approval.automatic(chat_topic=chats)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", approval=approval)

    publish, *use = (stack.resolve(s.to_statement_json()) for s in registry.notify_statements())

    assert publish["Resource"] == stack.resolve([unit.topic.topic_arn, chats.topic_arn])
    assert [s["Resource"] for s in use] == stack.resolve([unit.key.key_arn, key.key_arn])
    reported = registry.waiting_notification(dict.fromkeys(WAITING, "$x"))
    assert reported is not None
    assert reported["TopicArn"] == chats.topic_arn
    for topic, own in ((unit.topic, None), (chats, chats)):
        with pytest.raises(ValidationError, match="chat_topic must differ from"):
            ModelRegistry(
                stack, f"R{own is None}", business_unit=unit, name="other",
                approval=Approval.manual(topic=own, chat_topic=topic),
            )  # fmt: skip


def test_a_topic_of_another_stack_brings_its_own_key_policy() -> None:
    """The key of an imported topic is unknown."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    topic = sns.Topic.from_topic_arn(stack, "Topic", "arn:aws:sns:eu-west-1:123456789012:approvals")
    registry = ModelRegistry(
        stack, "Registry", business_unit=unit, name="forecast", approval=Approval.manual(topic=topic)
    )

    assert [s.actions for s in registry.notify_statements()] == [["sns:Publish"]]


def test_reading_and_approving_are_granted_apart() -> None:
    """Readers cannot approve; approvers can change only the approval."""
    stack, registry = _registry()
    reader = iam.User(stack, "Reader")
    approver = iam.Role(stack, "Approver", assumed_by=iam.AccountRootPrincipal())

    assert registry.grant_read(reader).success
    assert registry.grant_approve(approver).success

    statements: dict[str, list[dict[str, Any]]] = {}
    for name, policy in Template.from_stack(stack).find_resources("AWS::IAM::Policy").items():
        found = policy["Properties"]["PolicyDocument"]["Statement"]
        statements.setdefault(name[: name.index("DefaultPolicy")], []).extend(found)
    assert "sagemaker:UpdateModelPackage" not in json.dumps(statements["Reader"])
    (update,) = (s for s in statements["Approver"] if s["Action"] == "sagemaker:UpdateModelPackage")
    assert update["Condition"] == {
        "StringEquals": {"sagemaker:ModelApprovalStatus": ["Approved", "Rejected"]},
        "Null": {"sagemaker:CustomerMetadataProperties/container_sha256": "true"},
    }
    assert statements["Reader"][0]["Action"] == statements["Approver"][-1]["Action"]


@pytest.mark.parametrize("is_own", [True, False])
def test_a_reviewer_reads_the_evidence_and_takes_the_role(is_own: bool) -> None:
    """Has the command's permissions; a given role is managed by its owner."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    given = iam.Role.from_role_arn(stack, "Given", "arn:aws:iam::123456789012:role/Lead", mutable=False)
    approval = Approval.manual(approver=None if is_own else given)
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", approval=approval)
    lead = iam.Role(stack, "Lead", assumed_by=iam.AccountRootPrincipal())

    assert registry.grant_review(lead).success

    template = Template.from_stack(stack).to_json()["Resources"]
    (policy,) = (r["Properties"] for n, r in template.items() if n.startswith("LeadDefaultPolicy"))
    statements = {str(s["Action"]): s for s in policy["PolicyDocument"]["Statement"]}
    assert {"ssm:GetParameter", "s3:GetObject", "kms:Decrypt"} <= set(statements)
    assert "/evaluations/*" in str(statements["s3:GetObject"]["Resource"])
    assert "kms:ViaService" in str(statements["kms:Decrypt"]["Condition"])
    assert ("sts:AssumeRole" in statements) == is_own
    assert "sagemaker:UpdateModelPackage" not in str(statements)


def test_reading_promotions_covers_both_sides_and_rules_that_come_later() -> None:
    """Each statement names the registry's own resources; an alarm's rule, which is defined after the grant, is one of them."""
    here = {"account": "222222222222", "region": "eu-west-1"}
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(**here))
    unit = BusinessUnit(stack, "Unit", name="demand")
    source, target = (
        Environment(name, account=number * 12, region="eu-west-1")
        for name, number in (("build", "1"), ("production", "3"))
    )
    registry = ModelRegistry.from_environment(
        stack, "Registry", business_unit=unit, name="forecast", source=source, deploy_to=[target]
    )
    lead = iam.Role(stack, "Lead", assumed_by=iam.AccountRootPrincipal())
    assert registry.grant_read_promotions(lead, below="mlops/demand").success
    ModelEndpoint(
        stack,
        "Endpoint",
        business_unit=unit,
        registry=registry,
        name="forecast",
        image=ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64),
        capacity=EndpointCapacity.instances("ml.m5.large", instance_count=2),
    )
    alarm = cloudwatch.Metric(namespace="n", metric_name="m").create_alarm(
        stack, "Alarm", threshold=1, evaluation_periods=1
    )
    registry.upstream.add_alarms({"drift": alarm})

    template = Template.from_stack(stack).to_json()["Resources"]
    (policy,) = (r["Properties"] for n, r in template.items() if n.startswith("LeadDefaultPolicy"))
    statements = {str(s["Action"]): s for s in policy["PolicyDocument"]["Statement"]}
    assert set(statements) == {
        "['ssm:GetParameter', 'ssm:GetParametersByPath']",
        "dynamodb:GetItem",
        "dynamodb:Scan",
        "events:DescribeRule",
        "kms:Decrypt",
        "s3:GetObject",
        "s3:ListBucket",
        "sagemaker:DescribeModelPackage",
        "sqs:GetQueueAttributes",
    }
    rules = {n for n, r in template.items() if r["Type"] == "AWS::Events::Rule" and n.startswith("Registry")}
    described = {each["Fn::GetAtt"][0] for each in statements["events:DescribeRule"]["Resource"]}
    assert described == rules
    keys = statements["dynamodb:GetItem"]["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"]
    assert keys in ("demand-forecast.downstream", ["demand-forecast.downstream"])


def test_fails_to_grant_promotions_that_there_are_not() -> None:
    """A registry that neither takes nor releases versions has none."""
    stack, registry = _registry()
    with pytest.raises(ValidationError, match="'demand-forecast' neither takes nor releases versions; define it with"):
        registry.grant_read_promotions(iam.User(stack, "Reader"))


@pytest.mark.parametrize("name", ["f", "Forecast", "a_b", "x" * 21])
def test_fails_on_a_name_that_sagemaker_refuses(name: str) -> None:
    """The name is part of job names."""
    with pytest.raises(ValidationError, match="InvalidModelRegistry: name must be 2 to 20 lower-case letters"):
        _registry(name=name)


def test_what_loading_may_do_is_in_the_rule_that_functions_read() -> None:
    """Levels of trust are ordered; the default is omitted, so templates stay unchanged."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", trust=("pickle", "data"))
    assert registry.trust_environment == {"MLOPS_TRUST": "data,pickle"}
    assert json.loads(_text(stack.resolve(registry.approval_environment["APPROVAL"])))["trust"] == ["data", "pickle"]
    _, plain = _registry()
    assert (plain.trust, dict(plain.trust_environment)) == (("data", "code"), {})
    assert "trust" not in _text(cdk.Stack.of(plain).resolve(plain.approval_environment["APPROVAL"]))


@pytest.mark.parametrize("trust", [(), ("code",), ("data", "data"), ("data", "all")])
def test_fails_for_a_trust_that_is_none(trust: tuple[str, ...]) -> None:
    """The error names the allowed values."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand")
    with pytest.raises(ValidationError, match=r"trust"):
        ModelRegistry(stack, "Registry", business_unit=unit, name="forecast", trust=trust)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=r"trust"):
        ModelRegistry.from_registry_name(stack, "Other", business_unit=unit, name="forecast", trust=trust)  # type: ignore[arg-type]


BUILD = Environment("build", account="111111111111", region="eu-west-1")


@pytest.mark.parametrize(
    ("env", "source", "named"),
    [
        (None, BUILD, "must have an explicit account and Region"),
        (BUILD.cdk, BUILD, "'build' is this stack's own account and Region"),
        (
            cdk.Environment(account="222222222222", region="cn-north-1"),
            BUILD,
            "environments must be in one partition, got aws, aws-cn",
        ),
    ],
)
def test_a_source_must_be_another_known_place(env: cdk.Environment | None, source: Environment, named: str) -> None:
    """Policies of both sides name it at synthesis."""
    stack = cdk.Stack(cdk.App(), "S", env=env)
    unit = BusinessUnit(stack, "Unit", name="demand")
    with pytest.raises(ValidationError) as error:
        ModelRegistry.from_environment(stack, "Registry", business_unit=unit, name="forecast", source=source)
    assert named in str(error.value)


def test_the_unit_of_releases_is_defined_beside_them() -> None:
    """Copies expire by a lifecycle rule of the bucket."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="222222222222", region="eu-west-1"))
    unit = BusinessUnit.from_name(stack, "Unit", name="demand")
    with pytest.raises(ValidationError, match="is imported, but a lifecycle rule of its bucket must expire"):
        ModelRegistry.from_environment(stack, "Registry", business_unit=unit, name="forecast", source=BUILD)


def test_releases_are_served_from_below_the_group() -> None:
    """Endpoints of other names may read them; approved artifacts must be there."""
    stack = cdk.Stack(cdk.App(), "S", env=cdk.Environment(account="222222222222", region="eu-west-1"))
    unit = BusinessUnit(stack, "Unit", name="demand")
    registry = ModelRegistry.from_environment(stack, "Registry", business_unit=unit, name="forecast", source=BUILD)
    read: list[str] = []
    registry.serve("demand-shop", read.append)
    assert read == ["demand-forecast"]
    assert registry.inbox is not None
    assert registry.group_name == "demand-forecast"
