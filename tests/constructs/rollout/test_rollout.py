"""The rollout of an endpoint in a template."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Template

from mlops_constructs import (
    BusinessUnit,
    DataCapture,
    EndpointCapacity,
    GoldenRequests,
    ModelEndpoint,
    ModelImage,
    ModelRegistry,
    RolloutChecks,
    RolloutPolicy,
    ShadowTraffic,
    Tolerance,
    ValidationError,
)
from mlops_constructs._roles import MAXIMUM_POLICY_CHARACTERS, rendered_length
from mlops_constructs.testing import machine_definitions, machine_findings
from mlops_runtime.rollout.definition_hash import hashed_machines


def test_the_machine_is_logged_without_payloads_traced_and_encrypted(demand: Any):
    """All events are logged without data; the unit's key encrypts the machine's data."""
    machine = demand.one("AWS::StepFunctions::StateMachine", "RolloutDeploy")
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["EncryptionConfiguration"]["Type"] == "CUSTOMER_MANAGED_KMS_KEY"


def test_the_machines_of_the_template_call_aws_as_it_is(demand: Any):
    """AWS accepts every task of every machine in the template."""
    assert len(machine_definitions(demand.template)) == 2
    assert machine_findings(demand.template) == []


def test_the_machine_gives_the_hash_of_its_own_definition(demand: Any, define: Callable[..., Any]):
    """The hash can be computed from the template: equal for the same machine, different for a changed one."""
    (machine,) = hashed_machines(demand.template)
    (same,) = hashed_machines(define().template)
    longer = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(7))
    (changed,) = hashed_machines(define(endpoint={"rollout": longer}).template)

    assert machine.stated == machine.found == same.stated == same.found
    assert changed.stated == changed.found != machine.found


def test_the_hash_is_of_what_the_template_has_where_the_unit_is_of_another_stack():
    """References between stacks are resolved last."""
    app = cdk.App()
    unit = BusinessUnit(cdk.Stack(app, "Unit"), "Unit", name="demand")
    stack = cdk.Stack(app, "Serving")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=2)
    ModelEndpoint(
        stack, "Endpoint", business_unit=unit, registry=registry, name="forecast", image=image, capacity=capacity
    )
    template = Template.from_stack(stack).to_json()

    (machine,) = hashed_machines(template)

    assert machine.stated == machine.found
    assert "Fn::ImportValue" in json.dumps(template["Resources"][machine.logical_id]["Properties"]["DefinitionString"])


def test_only_changes_of_the_approval_reach_the_guard(demand: Any):
    """Recording updates the package, which would start the machine again without the filter."""
    pattern = demand.one("AWS::Events::Rule", "RolloutApprovals")["EventPattern"]
    assert pattern["source"] == ["aws.sagemaker"]
    assert pattern["detail"] == {
        "ModelPackageGroupName": ["demand-forecast"],
        "ModelApprovalStatus": ["Approved"],
        "UpdatedModelPackageFields": ["ModelApprovalStatus"],
    }


def test_no_rule_starts_a_machine(demand: Any):
    """Every rule targets a queue, the monitor's function or a topic, with dead letters."""
    for rule in demand.resources("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            assert "DeadLetterConfig" in target
            (named,) = target["Arn"].values()
            name = named if isinstance(named, str) else named[0]
            assert any(part in name for part in ("Queue", "MonitorDecide", "Topic"))


def test_the_spec_says_how_and_never_which_model(demand: Any):
    """The template contains no model, config or endpoint; the spec is one JSON string."""
    types = {resource["Type"] for resource in demand.template["Resources"].values()}
    assert not types & {"AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::Endpoint"}
    spec = demand.one("Custom::MLOpsServingSpec", "Spec")["Spec"]
    text = "".join(part if isinstance(part, str) else "TOKEN" for part in spec["Fn::Join"][1])
    read = json.loads(text)
    assert (read["endpoint"], read["instance_count"], read["rollout"]["kind"]) == ("demand-forecast", 2, "CANARY")
    assert read["network_isolation"] is True
    assert read["tags"] == {"mlops:unit": "demand", "mlops:owner": "ann", "mlops:cost-center": "42"}


def test_models_are_created_isolated_in_the_units_network_only(demand: Any):
    """The machine's role can only create with the spec's subnets, isolation, key and instance type."""
    statements = {s["Action"]: s for s in demand.statements("RolloutDeployRole") if isinstance(s["Action"], str)}
    model = statements["sagemaker:CreateModel"]["Condition"]
    assert model["Bool"] == {"sagemaker:NetworkIsolation": "true"}
    assert model["Null"] == {"sagemaker:VpcSubnets": "false", "sagemaker:VpcSecurityGroupIds": "false"}
    config = statements["sagemaker:CreateEndpointConfig"]["Condition"]
    assert set(config["StringEquals"]) == {"sagemaker:VolumeKmsKey"}
    assert config["ForAllValues:StringEquals"] == {"sagemaker:InstanceTypes": ["ml.m5.large"]}


def test_one_role_is_passed_to_sagemaker_alone(demand: Any):
    """PassRole names the model's role and the service."""
    (passed,) = (s for s in demand.statements("RolloutDeployRole") if s["Action"] == "iam:PassRole")
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert passed["Resource"]["Fn::GetAtt"][0].startswith("EndpointRole")


def test_nobody_in_the_rollout_may_approve(demand: Any):
    """Roles that deploy cannot approve."""
    actions = {
        a
        for s in demand.statements("Rollout")
        for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
    }
    assert "sagemaker:UpdateModelPackage" not in actions
    assert "sagemaker:DescribeModelPackage" in actions


def test_a_person_may_be_allowed_to_deploy(define: Callable[..., Any]):
    """grant_deploy can start one machine, and undo its changes."""
    made = define()
    user = iam.User(made.stack, "User")
    made.endpoint.rollout.grant_deploy(user)
    (policy,) = (p for p in _policies(made.stack) if "User" in p)
    statements = _policies(made.stack)[policy]["PolicyDocument"]["Statement"]
    assert {s["Action"] for s in statements} == {"states:StartExecution", "cloudwatch:SetAlarmState"}
    (abort,) = (s["Resource"] for s in statements if s["Action"] == "cloudwatch:SetAlarmState")
    assert abort["Fn::Join"][1][-1].endswith(":alarm:demand-forecast-rollout-*-abort")


def test_a_person_may_be_allowed_to_read(define: Callable[..., Any]):
    """grant_read changes nothing, and optionally lists units."""
    made = define()
    user = iam.User(made.stack, "User")
    made.endpoint.rollout.grant_read(user, below="mlops/demand")
    (policy,) = (p for p in _policies(made.stack) if "User" in p)
    statements = _policies(made.stack)[policy]["PolicyDocument"]["Statement"]
    actions = {a for s in statements for a in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])}
    (found,) = (s["Resource"] for s in statements if "ssm:GetParameter" in s["Action"])

    assert {a.split(":")[1].removeprefix("Batch")[:3] for a in actions} == {"Get", "Des", "Lis", "Dec"}
    assert [each["Fn::Join"][1][-1] for each in found] == [":parameter/mlops/demand", ":parameter/mlops/demand/*"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (RolloutPolicy.linear(step_percent=20, bake=cdk.Duration.minutes(5)), "use instance_count=5 or more"),
        (RolloutPolicy.canary(percent=20, bake=cdk.Duration.minutes(5)), "use instance_count=5 or more"),
    ],
)
def test_fails_when_the_target_cannot_do_the_policy(define: Callable[..., Any], policy: RolloutPolicy, message: str):
    """Rejects at synthesis what SageMaker would not do as declared."""
    with pytest.raises(ValidationError, match=message):
        define(endpoint={"rollout": policy})


def test_fails_for_a_tolerance_without_capture(define: Callable[..., Any]):
    """Answers are compared from captures: with capture the same policy is accepted."""
    shadow = ShadowTraffic(percent=10, bake=cdk.Duration.minutes(10), tolerance=Tolerance(relative=0.1))
    checks = RolloutChecks(shadow=shadow)
    policy = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=checks)
    with pytest.raises(ValidationError, match="tolerance of the shadow needs captured responses"):
        define(endpoint={"rollout": policy, "capture": None})
    define(endpoint={"rollout": policy, "capture": DataCapture(sampling_percent=10)})


def test_an_execution_that_died_reaches_the_guard(demand: Any):
    """After a stop, timeout or failure the guard checks whether the execution still holds the lock."""
    pattern = demand.one("AWS::Events::Rule", "RolloutEnded")["EventPattern"]
    assert pattern["source"] == ["aws.states"]
    assert pattern["detail"]["status"] == ["ABORTED", "FAILED", "TIMED_OUT"]


def test_preflight_knows_freeze_pause_and_approvers(demand: Any):
    """Has the environment of the unit's automation and the registry's rule, and may read the unit's row."""
    variables = demand.one("AWS::Lambda::Function", "RolloutPreflight")["Environment"]["Variables"]
    assert {"UNIT", "AUTOMATION_TABLE", "FREEZE", "APPROVAL"} <= set(variables)


def test_the_command_finds_the_endpoint(demand: Any):
    """One parameter names table and machine."""
    entry = demand.one("AWS::SSM::Parameter", "EndpointRolloutEntry")
    assert entry["Name"] == "/mlops/demand/endpoint/demand-forecast"


def test_the_entry_says_that_a_monitor_is_defined(demand: Any):
    """The console tells an undecided model from one without a monitor."""
    entry = demand.one("AWS::SSM::Parameter", "EndpointRolloutEntry")
    assert '"is_monitored":true' in json.dumps(entry["Value"]).replace("\\", "")


def test_alarms_of_a_probation_reach_the_guard(define: Callable[..., Any]):
    """Changes to ALARM reach the same queue; guard and spec have the alarm names."""
    arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:refunds"
    watch = cloudwatch.Alarm.from_alarm_arn(cdk.Stack(), "Refunds", arn)
    checks = RolloutChecks(probation=cdk.Duration.hours(1), probation_alarms=[watch])
    made = define(endpoint={"rollout": RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=checks)})
    pattern = made.one("AWS::Events::Rule", "RolloutProbation")["EventPattern"]
    assert (pattern["source"], pattern["detail"]["state"]) == (["aws.cloudwatch"], {"value": ["ALARM"]})
    assert "refunds" in str(pattern["detail"]["alarmName"])
    variables = made.one("AWS::Lambda::Function", "RolloutGuard")["Environment"]["Variables"]
    assert "refunds" in str(variables["PROBATION_ALARMS"])


def test_without_a_probation_no_alarm_reaches_the_guard(demand: Any):
    """Has no rule and no names."""
    assert [name for name in demand.resources("AWS::Events::Rule") if "Probation" in name] == []
    variables = demand.one("AWS::Lambda::Function", "RolloutGuard")["Environment"]["Variables"]
    assert variables["PROBATION_ALARMS"] == ""


def test_the_machines_policies_have_room(define: Callable[..., Any], tmp_path: Path):
    """With every check a quarter of each policy remains free, and a role may have ten."""
    path = tmp_path / "golden.jsonl"
    path.write_text('{"name": "typical", "body": "{\\"instances\\": [{\\"x\\": 1}]}", "rows": 1}\n')
    checks = RolloutChecks(
        golden=GoldenRequests.from_file(path),
        max_error_count=5,
        shadow=ShadowTraffic(percent=10, bake=cdk.Duration.hours(1)),
        probation=cdk.Duration.hours(1),
    )
    policy = RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=checks)
    made = define(endpoint={"rollout": policy, "capture": DataCapture(sampling_percent=100)})
    sizes = {
        name: rendered_length(properties["PolicyDocument"])
        for name, properties in made.resources("AWS::IAM::ManagedPolicy").items()
        if name.startswith("EndpointRolloutDeploy")
    }
    assert len(sizes) == 3
    assert max(sizes.values()) < 0.75 * MAXIMUM_POLICY_CHARACTERS, sizes


def test_golden_requests_make_a_rehearsal(define: Callable[..., Any], tmp_path: Path):
    """The machine may call the function, the spec names the asset by its hash, and the states exist."""
    path = tmp_path / "golden.jsonl"
    path.write_text('{"name": "typical", "body": "{\\"instances\\": [{\\"x\\": 1}]}", "rows": 1}\n')
    golden = GoldenRequests.from_file(path)
    checks = RolloutChecks(golden=golden, synthetic_invocations=30)
    made = define(endpoint={"rollout": RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(5), checks=checks)})
    (machine,) = (m for m in machine_definitions(made.template).values() if "CheckGolden" in m["States"])
    assert "Synthesize" in machine["States"]
    spec = made.one("Custom::MLOpsServingSpec", "Spec")["Spec"]
    assert golden.sha256 in json.dumps(spec)
    assert "-golden-????????:log-stream:*" in json.dumps(made.template)  # log streams of the rehearsal


def _policies(stack: cdk.Stack) -> dict[str, Any]:
    resources = cdk.assertions.Template.from_stack(stack).to_json()["Resources"]
    return {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::IAM::Policy"}


def test_the_registry_is_asked_for_every_image_once(demand: Any):
    """Endpoint and training share an image: one name, one permission, one interface endpoint, one warning."""
    resource = demand.one("Custom::MLOpsServingSpec", "Spec")
    (image,) = resource["Images"]
    text = "".join(part if isinstance(part, str) else "TOKEN" for part in image["Fn::Join"][1])
    assert re.fullmatch(r"TOKEN\.dkr\.ecr\.TOKEN\.TOKEN/[a-z-]+@sha256:[0-9a-f]{64}", text)
    rights = [
        statement
        for policy in demand.resources("AWS::IAM::ManagedPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Action") == "ecr:BatchGetImage"
    ]
    assert len(rights) == 1
    assert "*" not in json.dumps(rights[0]["Resource"])


def test_a_placeholder_digest_warns_with_the_commands():
    """Synthesis continues, since the embedded cloud runs it; no real registry has it."""
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    unit = BusinessUnit(stack, "Unit", name="pilot")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="first")
    image = ModelImage.from_ecr(repository_name="team/model", digest="sha256:" + "0" * 64)
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=1)
    ModelEndpoint(
        stack, "Endpoint", business_unit=unit, registry=registry, name="first", image=image, capacity=capacity
    )

    messages = [entry.data for entry in app.synth().get_stack_by_name("Stack").messages for entry in [entry.entry]]

    (found,) = [message for message in messages if "placeholderDigest" in str(message)]
    assert "mlops image build --repository team/model" in str(found)


def test_an_image_that_the_cdk_builds_is_not_asked_for(tmp_path: Path):
    """The image is pushed before the stack is deployed."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    stack = cdk.Stack(cdk.App(), "Stack")
    unit = BusinessUnit(stack, "Unit", name="pilot")
    registry = ModelRegistry(stack, "Registry", business_unit=unit, name="first")
    capacity = EndpointCapacity.instances("ml.m5.large", instance_count=1)
    pinned = ModelImage.from_ecr(repository_name="team/model", digest="sha256:" + "1" * 64)
    endpoint = ModelEndpoint(
        stack, "Endpoint", business_unit=unit, registry=registry, name="first", image=pinned, capacity=capacity
    )

    endpoint.rollout.require_image(ModelImage.build(tmp_path))

    template = Template.from_stack(stack).to_json()
    (resource,) = [r for r in template["Resources"].values() if r["Type"] == "Custom::MLOpsServingSpec"]
    assert len(resource["Properties"]["Images"]) == 1
