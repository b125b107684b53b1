"""Definitions that Step Functions rejects are rejected by the embedded cloud too.

See: https://github.com/aws/amazon-sagemaker-examples/issues/4492
"""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_local.state_machines.definitions import LOG_POLICY, definition_problem

TRAIN = "arn:aws:states:::sagemaker:createTrainingJob.sync"
WORDS = (
    "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: "
    'The field "ContainerEntrypoint" is not supported by Step Functions at /States/Train/Arguments\''
)


def definition(arguments: object) -> str:
    """A machine of one training task."""
    train = {"Type": "Task", "Resource": TRAIN, "Arguments": arguments, "End": True}
    return json.dumps({"QueryLanguage": "JSONata", "StartAt": "Train", "States": {"Train": train}})


UNSUPPORTED = definition(
    {"AlgorithmSpecification": {"ContainerEntrypoint": ["python"], "ContainerArguments": ["train.py"]}}
)
SUPPORTED = definition({"TrainingJobName": "a", "AlgorithmSpecification": {"TrainingImage": "i"}})


def test_an_unsupported_field_is_refused_wherever_a_machine_is_made(cloud: Any, make_role: Any, unique: str) -> None:
    """By CreateStateMachine, UpdateStateMachine and a stack, with AWS's message; nothing is created or changed."""
    states, role = cloud.client("stepfunctions"), make_role(service="states.amazonaws.com")
    with pytest.raises(ClientError) as refused:
        states.create_state_machine(name=unique, definition=UNSUPPORTED, roleArn=role)
    assert refused.value.response["Error"] == {"Code": "InvalidDefinition", "Message": WORDS}

    arn = states.create_state_machine(name=unique, definition=SUPPORTED, roleArn=role)["stateMachineArn"]
    with pytest.raises(ClientError, match="SCHEMA_VALIDATION_FAILED"):
        states.update_state_machine(stateMachineArn=arn, definition=UNSUPPORTED)
    assert states.describe_state_machine(stateMachineArn=arn)["definition"] == SUPPORTED

    stacks = cloud.client("cloudformation")
    properties = {"DefinitionString": UNSUPPORTED, "RoleArn": role}
    template = {"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    stacks.create_stack(StackName=unique, TemplateBody=json.dumps(template))
    while stacks.describe_stacks(StackName=unique)["Stacks"][0]["StackStatus"].endswith("_IN_PROGRESS"):
        time.sleep(0.05)
    events = stacks.describe_stack_events(StackName=unique)["StackEvents"]
    reasons = [e.get("ResourceStatusReason", "") for e in events if e["ResourceStatus"] == "CREATE_FAILED"]
    assert any(WORDS in reason for reason in reasons), reasons
    stacks.delete_stack(StackName=unique)


def test_a_machine_that_leads_nowhere_is_not_made(cloud: Any, make_role: Any, unique: str) -> None:
    """Creation and update apply the validation; an update of the role alone needs no definition."""
    states, role = cloud.client("stepfunctions"), make_role(service="states.amazonaws.com")
    astray = json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}})
    words = "Invalid State Machine Definition: 'MISSING_TRANSITION_TARGET: Missing 'Next' target: B at /States/A/Next'"
    with pytest.raises(ClientError) as refused:
        states.create_state_machine(name=unique, definition=astray, roleArn=role)
    assert refused.value.response["Error"] == {"Code": "InvalidDefinition", "Message": words}

    arn = states.create_state_machine(name=unique, definition=SUPPORTED, roleArn=role)["stateMachineArn"]
    with pytest.raises(ClientError, match="MISSING_TRANSITION_TARGET"):
        states.update_state_machine(stateMachineArn=arn, definition=astray)
    states.update_state_machine(stateMachineArn=arn, roleArn=role)
    states.delete_state_machine(stateMachineArn=arn)


def test_validation_lists_every_unsupported_field(cloud: Any) -> None:
    """Each is a diagnostic with code and location; a valid definition is OK."""
    validate = cloud.client("stepfunctions").validate_state_machine_definition
    refused = validate(definition=UNSUPPORTED)
    assert refused["result"] == "FAIL"
    assert [(row["code"], row["location"]) for row in refused["diagnostics"]] == [
        ("SCHEMA_VALIDATION_FAILED", "/States/Train/Arguments")
    ] * 2
    assert validate(definition=UNSUPPORTED, maxResults=1)["truncated"] is True
    assert validate(definition=SUPPORTED) | {"ResponseMetadata": 0} == {
        "result": "OK",
        "diagnostics": [],
        "truncated": False,
        "ResponseMetadata": 0,
    }


def test_an_unsupported_field_of_an_expression_fails_the_execution(
    cloud: Any, make_role: Any, allow: Any, wait_for: Any, unique: str
) -> None:
    """Values known only at run time are validated against the same list."""
    states = cloud.client("stepfunctions")
    role = make_role(allow("sagemaker:*", "iam:PassRole", "events:*"), service="states.amazonaws.com")
    machine = states.create_state_machine(name=unique, definition=definition("{% $states.input %}"), roleArn=role)
    given = {"TrainingJobName": unique, "RoleArn": role, "AlgorithmSpecification": {"ContainerArguments": ["a"]}}
    run = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(given))["executionArn"]
    ended = wait_for(lambda: (one := states.describe_execution(executionArn=run))["status"] != "RUNNING" and one)
    assert ended["error"] == "States.Runtime"
    assert ended["cause"] == 'The field "ContainerArguments" is not supported by Step Functions'


@pytest.mark.parametrize(
    ("text", "code"), [("no json", "INVALID_JSON_DESCRIPTION"), ("[]", "SCHEMA_VALIDATION_FAILED"), ("3", "SCHEMA")]
)
def test_what_is_not_a_definition_is_refused(text: str, code: str) -> None:
    """An update without a definition has nothing to validate."""
    assert f"Invalid State Machine Definition: '{code}" in str(definition_problem(text))
    assert definition_problem(None) is None


def logging(cloud: Any, name: str) -> dict[str, Any]:
    """Return a log group as a machine's destination."""
    cloud.client("logs").create_log_group(logGroupName=name)
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{name}:*"
    return {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": arn}}]}


def test_log_groups_fill_the_accounts_policy_unless_they_are_vended(own_cloud: Any) -> None:
    """5,120 characters suffice for about forty groups; those below /aws/vendedlogs/ share one entry, also when it is full.

    See: https://docs.aws.amazon.com/step-functions/latest/dg/bp-cwl.html, aws-solutions/media-insights-on-aws#685
    """
    cloud = own_cloud()
    states = cloud.client("stepfunctions")
    trust = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName="machine", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    made = 0
    with pytest.raises(ClientError) as refused:
        for made in range(60):
            name = f"machine-{made:02}"
            states.create_state_machine(
                name=name,
                definition=SUPPORTED,
                roleArn=role,
                loggingConfiguration=logging(cloud, f"/demand/Retraining-Retrain-{name}"),
            )
    assert refused.value.response["Error"] == {
        "Code": "InvalidLoggingConfiguration",
        "Message": "Invalid Logging Configuration: The CloudWatch Logs Resource Policy size was exceeded. We suggest prefixing "
        "your CloudWatch log group name with /aws/vendedlogs/states/.",
    }
    assert 30 < made < 60
    (policy,) = cloud.client("logs").describe_resource_policies()["resourcePolicies"]
    assert policy["policyName"] == LOG_POLICY
    assert 5000 < len(policy["policyDocument"]) <= 5120

    for number in range(60):
        name = f"vended-{number:02}"
        vended = logging(cloud, f"/aws/vendedlogs/states/{name}")
        states.create_state_machine(name=name, definition=SUPPORTED, roleArn=role, loggingConfiguration=vended)
