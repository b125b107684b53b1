"""Step Functions' checks on create and update of a state machine, which MiniStack lacks.

Logging: Step Functions adds the log group of each machine to a resource policy of the account, which is limited to 5,120 characters
and never shrinks; groups below ``/aws/vendedlogs/`` share one entry.

An optimized task with a field that its integration does not support makes the definition invalid, in CreateStateMachine,
UpdateStateMachine, ValidateStateMachineDefinition and CloudFormation. The messages are AWS's, from
https://github.com/aws/amazon-sagemaker-examples/issues/4492.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs
from ministack.services import stepfunctions as sfn
from ministack.services.cloudformation import provisioners

from mlops_local.stacks import handler_steps
from mlops_local.state_machines import diagnostics

Response = tuple[int, Any, Any]
Properties = dict[str, Any]
# the resource policy of log delivery: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-CWL.html
LOG_POLICY = "AWSLogDeliveryWrite20150319"
_LOG_POLICY_CHARACTERS = 5120
_VENDED = "/aws/vendedlogs/"
_FULL = (
    "Invalid Logging Configuration: The CloudWatch Logs Resource Policy size was exceeded. "
    "We suggest prefixing your CloudWatch log group name with /aws/vendedlogs/states/."
)


def install() -> None:
    """Add the checks to the API and to CloudFormation's handler."""
    sfn._create_state_machine = partial(_checked, sfn._create_state_machine)
    sfn._update_state_machine = partial(_checked, sfn._update_state_machine)
    handler_steps.check("AWS::StepFunctions::StateMachine", _check_properties, ["create"])


def _check_properties(properties: Properties) -> None:
    # claim: step-functions-optimized-task-fields
    problem = definition_problem(provisioners._sfn_definition(properties))
    if problem is None:
        problem = logging_problem(properties.get("LoggingConfiguration"))
    if problem is not None:
        raise provisioners._sfn_handler_error(problem)


def definition_problem(definition: object) -> str | None:
    """Return Step Functions' message for the first diagnostic of a definition, or ``None``."""
    # claim: step-functions-optimized-task-fields
    # claim: creation-refuses-what-validation-finds
    if definition is None:
        return None
    for found in diagnostics.diagnostics(str(definition)):
        place = f" at {found['location']}" if found["location"] else ""
        return f"Invalid State Machine Definition: '{found['code']}: {found['message']}{place}'"
    return None


def logging_problem(configuration: Mapping[str, Any] | None) -> str | None:
    """Add a machine's log groups to the account's policy; return Step Functions' message if the policy is full."""
    # claim: machine-logs-fill-the-accounts-policy
    given = configuration or {}
    groups = []
    for row in given.get("destinations") or given.get("Destinations") or []:
        group = row.get("cloudWatchLogsLogGroup") or row.get("CloudWatchLogsLogGroup") or {}
        groups.append(str(group.get("logGroupArn") or group.get("LogGroupArn") or ""))
    known = (cloudwatch_logs._resource_policies.get(LOG_POLICY) or {}).get("policyDocument")
    listed = json.loads(known)["Statement"][0]["Resource"] if known else []
    wanted = [*listed, *(entry for entry in map(_log_entry, filter(None, groups)) if entry not in listed)]
    if wanted == listed:
        return None
    document = _log_policy(wanted)
    if len(document) > _LOG_POLICY_CHARACTERS:
        # "When CloudWatch Logs detects that a policy approaches this size limit, it automatically enables log groups that start
        # with /aws/vendedlogs/"
        return None if all(entry.endswith(f"{_VENDED}*") for entry in wanted[len(listed) :]) else _FULL
    cloudwatch_logs._put_resource_policy({"policyName": LOG_POLICY, "policyDocument": document})
    return None


def _log_entry(arn: str) -> str:
    """Return the policy entry of a log group: its own ARN, or the common entry of vended log groups."""
    prefix, _, name = arn.removesuffix(":*").partition(":log-group:")
    return f"{prefix}:log-group:{_VENDED}*" if name.startswith(_VENDED) else f"{prefix}:log-group:{name}:log-stream:*"


def _log_policy(resources: list[str]) -> str:
    region, account = resources[0].split(":")[3:5]
    statement = {
        "Sid": "AWSLogDeliveryWrite",
        "Effect": "Allow",
        "Principal": {"Service": "delivery.logs.amazonaws.com"},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": resources,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": account},
            "ArnLike": {"aws:SourceArn": f"arn:aws:logs:{region}:{account}:*"},
        },
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


def _checked(call: Callable[[Mapping[str, Any]], Response], data: Mapping[str, Any]) -> Response:
    problem = definition_problem(data.get("definition"))
    code = "InvalidDefinition"
    if problem is None:
        problem, code = logging_problem(data.get("loggingConfiguration")), "InvalidLoggingConfiguration"
    if problem is not None:
        refused: Response = error_response_json(code, problem, 400)
        return refused
    return call(data)
