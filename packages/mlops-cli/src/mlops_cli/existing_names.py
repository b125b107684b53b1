"""Look whether names exist that a deployment would create: one read-only call each, in the account or the embedded cloud."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlops_runtime.changes.existing_resources import Existing, NamedResource

_MISSING = (
    "404", "EntityNotFoundException", "NoSuchEntity", "NotFound", "NotFoundException", "ParameterNotFound",
    "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "ResourceNotFound", "ResourceNotFoundException",
    "StateMachineDoesNotExist",
)  # fmt: skip
_GROUP = "AWS::SageMaker::ModelPackageGroup"

Look = Callable[[Callable[[str], Any], "NamedResource", str], bool]


def look_up(
    client: Callable[[str], Any], resources: Iterable["NamedResource"], *, account: str, region: str
) -> Iterator["Existing"]:
    """Yield what exists, and what could not be looked at.

    Args:
        client: Makes the boto3 client of a service.
        resources: What would be created.
        account: The account's number, for ARNs.
        region: Its region.
    """
    from botocore.exceptions import ClientError

    from mlops_runtime.changes.existing_resources import Existing

    for one in resources:
        where = f"{region}:{account}"
        try:
            exists = _LOOKS[one.type](client, one, where)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if not _is_missing(code, message):
                yield Existing(resource=one, identifier={}, reason=f"{error.operation_name} answers {code}")
            continue
        if exists:
            yield Existing(resource=one, identifier=_identifier(one, where))


def _is_missing(code: str, message: str) -> bool:
    return code in _MISSING or (code == "ValidationException" and "does not exist" in message)


def _identifier(one: "NamedResource", where: str) -> dict[str, str]:
    from mlops_runtime.changes.existing_resources import IDENTIFIERS

    key = IDENTIFIERS.get(one.type)
    if key is None:
        return {}
    return {key: f"arn:aws:sagemaker:{where}:model-package-group/{one.name}" if one.type == _GROUP else one.name}


def _call(service: str, operation: str, member: str) -> Look:
    """Return a look-up that fails where there is none."""

    def look(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
        del where
        getattr(client(service), operation)(**{member: one.name})
        return True

    return look


def _alarm(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
    del where
    found = client("cloudwatch").describe_alarms(AlarmNames=[one.name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return bool(found["MetricAlarms"] or found["CompositeAlarms"])


def _rule(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
    del where
    client("events").describe_rule(Name=one.name, **({"EventBusName": one.parent} if one.parent else {}))
    return True


def _table(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
    del where
    client("glue").get_table(DatabaseName=one.parent, Name=one.name)
    return True


def _entry(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
    del where
    client("eks").describe_access_entry(clusterName=one.parent, principalArn=one.name)
    return True


def _log_group(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
    del where
    found = client("logs").describe_log_groups(logGroupNamePrefix=one.name)["logGroups"]
    return any(group["logGroupName"] == one.name for group in found)


def _arn(service: str, operation: str, member: str, form: str) -> Look:
    """Return a look-up by ARN."""

    def look(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
        getattr(client(service), operation)(
            **{member: form.format(where=where, account=where.split(":")[1], name=one.name)}
        )
        return True

    return look


_LOOKS: dict[str, Look] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _alarm,
    "AWS::CloudWatch::Dashboard": _call("cloudwatch", "get_dashboard", "DashboardName"),
    "AWS::DynamoDB::Table": _call("dynamodb", "describe_table", "TableName"),
    "AWS::EKS::AccessEntry": _entry,
    "AWS::Events::EventBus": _call("events", "describe_event_bus", "Name"),
    "AWS::Events::Rule": _rule,
    "AWS::Glue::DataQualityRuleset": _call("glue", "get_data_quality_ruleset", "Name"),
    "AWS::Glue::Database": _call("glue", "get_database", "Name"),
    "AWS::Glue::Job": _call("glue", "get_job", "JobName"),
    "AWS::Glue::Table": _table,
    "AWS::IAM::ManagedPolicy": _arn("iam", "get_policy", "PolicyArn", "arn:aws:iam::{account}:policy/{name}"),
    "AWS::IAM::Role": _call("iam", "get_role", "RoleName"),
    "AWS::KMS::Alias": _call("kms", "describe_key", "KeyId"),
    "AWS::Lambda::Function": _call("lambda", "get_function_configuration", "FunctionName"),
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _call("s3", "head_bucket", "Bucket"),
    "AWS::SNS::Topic": _arn("sns", "get_topic_attributes", "TopicArn", "arn:aws:sns:{where}:{name}"),
    "AWS::SQS::Queue": _call("sqs", "get_queue_url", "QueueName"),
    "AWS::SSM::Parameter": _call("ssm", "get_parameter", "Name"),
    "AWS::SageMaker::ModelPackageGroup": _call("sagemaker", "describe_model_package_group", "ModelPackageGroupName"),
    "AWS::StepFunctions::StateMachine": _arn(
        "stepfunctions", "describe_state_machine", "stateMachineArn", "arn:aws:states:{where}:stateMachine:{name}"
    ),
}


def kept(cloudformation: Any, stack: str) -> dict[str, dict[str, str]]:
    """Return what the newest deletion of a stack that kept something kept, by logical id, as ``cdk import`` reads it.

    A stack whose creation failed counts last: it may have kept a bucket that was written into, and hides nothing that was kept
    before. CloudFormation shows each deleted stack of a name by its id for 90 days.
    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html

    Args:
        cloudformation: Client.
        stack: Name of the stack.
    """
    pages = cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    deleted = [row for page in pages for row in page["StackSummaries"] if row["StackName"] == stack]
    deleted.sort(key=lambda row: row["DeletionTime"] if "DeletionTime" in row else row["CreationTime"], reverse=True)
    of_failed: dict[str, dict[str, str]] = {}
    for row in deleted:
        found, is_created = _skipped(cloudformation, row["StackId"])
        if found and is_created:
            return found
        of_failed = of_failed or found
    return of_failed


def _skipped(cloudformation: Any, stack_id: str) -> tuple[dict[str, dict[str, str]], bool]:
    """Return what the deletion of a stack kept, and whether the stack had been created."""
    from mlops_runtime.changes.existing_resources import IDENTIFIERS

    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    events = [event for page in pages for event in page["StackEvents"]]
    found = {
        event["LogicalResourceId"]: {IDENTIFIERS[event["ResourceType"]]: event["PhysicalResourceId"]}
        for event in events
        if event["ResourceStatus"] == "DELETE_SKIPPED" and event["ResourceType"] in IDENTIFIERS
    }
    return found, all(event["ResourceStatus"] != "ROLLBACK_IN_PROGRESS" for event in events)


def types() -> frozenset[str]:
    """Return the types that can be looked at."""
    return frozenset(_LOOKS)
