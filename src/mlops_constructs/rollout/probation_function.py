"""The function and the schedule that watch models on probation."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_stepfunctions as sfn

from constructs import Construct
from mlops_constructs._functions import add_target, define_function
from mlops_constructs._roles import alarm_arn, allow, key_statement, rule_arn, sagemaker_arn
from mlops_constructs._stack_values import stack_of, stack_values
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.capture import announcement_prefix
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.probation_alarm import probation_alarm, probation_rule, watch_minutes
from mlops_runtime.rollout.rehearsed_answers import REHEARSALS

_ENCRYPT = ["kms:Decrypt", "kms:GenerateDataKey"]
_WILDCARD_REASON = (
    "specs, stored predictions and announcements get names at run time, prefixed by the endpoint's name; rejected: single objects, "
    "whose keys are unknown at deployment"
)


def define_probation(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    endpoint_name: str,
    probation: int,
    golden: GoldenSpec | None,
    table: dynamodb.ITable,
    machine: sfn.IStateMachine,
    slot_urls: Mapping[str, str] | None = None,
) -> None:
    """Define the function and its schedule, which is disabled until a model is on probation.

    Args:
        scope: Parent construct.
        id: Construct id; the schedule is ``<id>Schedule``.
        business_unit: Owning business unit.
        probation: Duration of a probation in seconds.
        golden: Golden requests, if any.
        table: The rollout table.
        machine: The Deploy machine.
        slot_urls: URLs of a service's slots. Default: SageMaker serves.
    """
    objects = business_unit.artifacts.arn_for_objects
    slots = {} if slot_urls is None else {"SLOT_URLS": stack_of(scope).to_json_string(dict(slot_urls))}
    statements = [
        allow("dynamodb:GetItem", table.table_arn),
        # announcements of golden requests are written encrypted
        key_statement(
            business_unit.key, services=["dynamodb", "s3"], actions=["kms:Decrypt"] if golden is None else _ENCRYPT
        ),
        allow("events:DisableRule", rule_arn(scope, probation_rule(endpoint_name))),
        allow("cloudwatch:DeleteAlarms", alarm_arn(scope, probation_alarm(endpoint_name))),
        allow("s3:GetObject", objects(f"specs/{endpoint_name}/*")),
    ]
    if golden is not None:
        # the URI is a token
        place = cdk.Fn.select(1, cdk.Fn.split("s3://", golden.uri))
        invoke = allow("sagemaker:InvokeEndpoint", sagemaker_arn(scope, "endpoint", endpoint_name))
        statements += [
            # requests to slots go through their load balancer
            *([invoke] if slot_urls is None else []),
            allow("states:StartExecution", machine.state_machine_arn),
            allow("s3:PutObject", objects(f"{announcement_prefix(endpoint_name)}*")),
            allow(
                "s3:GetObject",
                objects(f"{REHEARSALS}/{endpoint_name}/*"),
                f"arn:{stack_values(scope).partition}:s3:::{place}",
            ),
        ]
    function = define_function(
        scope,
        id,
        business_unit=business_unit,
        folder="rollout_probation",
        description=f"Watches models of {endpoint_name} on probation",
        environment={
            "ARTIFACTS_BUCKET": business_unit.artifacts.bucket_name,
            "DEPLOY_MACHINE_ARN": machine.state_machine_arn,
            "ENDPOINT": endpoint_name,
            "ROLLOUT_TABLE": table.table_name,
            **slots,
        },
        statements=statements,
        timeout=cdk.Duration.minutes(15),
        wildcard_reason=_WILDCARD_REASON,
    )
    rule = events.Rule(
        scope,
        f"{id}Schedule",
        rule_name=probation_rule(endpoint_name),
        description=f"Schedule that watches models of {endpoint_name} on probation; the Deploy machine enables it",
        enabled=False,
        schedule=events.Schedule.rate(cdk.Duration.minutes(watch_minutes(probation))),
    )
    add_target(rule, targets.LambdaFunction(function), dead_letters=business_unit.dead_letter_queue)
