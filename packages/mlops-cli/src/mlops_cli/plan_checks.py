"""Checks of ``mlops plan`` in the account: existing names, KMS key policies, network access to KMS, API Gateway's log role."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.business_unit import key_policy

if TYPE_CHECKING:
    from mlops_cli.aws_account import Account
    from mlops_runtime.business_unit.key_policy import Place
    from mlops_runtime.changes.existing_resources import Existing, NamedResource

_PSEUDO = "AWS::"

# route targets that reach the internet from a private address; an internet gateway requires a public one
_WAYS_OUT = ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId", "VpcPeeringConnectionId", "CoreNetworkArn",
             "GatewayId")  # fmt: skip

_MISSING = (
    "404", "EntityNotFoundException", "NoSuchEntity", "NotFound", "NotFoundException", "ParameterNotFound",
    "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "ResourceNotFound", "ResourceNotFoundException",
    "StateMachineDoesNotExist",
)  # fmt: skip
_GROUP = "AWS::SageMaker::ModelPackageGroup"

Look = Callable[[Callable[[str], Any], "NamedResource", str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFindings:
    """Result of the check of KMS keys."""

    problems: tuple[str, ...] = ()  # keys whose policies lack statements, each with the statements as JSON
    # keys that could not be read or evaluated, each with the reason, and problems that the user allows
    notes: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()  # logical ids with which the user allows a problem


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRoleFindings:
    """Result of the check of API Gateway's account-wide role for CloudWatch Logs."""

    problems: tuple[str, ...] = ()  # stacks whose deployment would fail without the role, each with the fix
    # stacks for which the role cannot be read, and deployed stacks that write no logs without it
    notes: tuple[str, ...] = ()


def read_keys(
    aws: "Account", templates: Mapping[str, Mapping[str, Any]], *, allow: Collection[str] = ()
) -> KeyFindings:
    """Check the policy of each key that a unit uses without owning it; the user may allow problems of a unit by its bus."""
    keys = [(stack, template, *used) for stack, template in templates.items() for used in _used(template)]
    if not keys:
        return KeyFindings()

    place = place_of(aws)
    problems, notes, allowed = [], [], set()
    for stack, template, bus, unit, value in keys:
        whose = f"key of unit {unit!r} in stack {stack}"
        try:
            key = resolved(aws, value, template, place)
            policy = aws.client("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
            found = key_policy.read_policy(policy, place)
        except (ClientError, LookupError, ValueError) as error:
            notes.append(f"{whose}: its policy cannot be read, so whether services may use the key is unknown: {error}")
            continue
        if found.unjudged:
            notes.append(
                f"{whose}: whether the policy of {key} allows {_names(found.unjudged)} depends on its conditions and cannot be "
                "evaluated before its first use; check that reports, alarms and logs arrive"
            )
        if not found.missing:
            continue
        lack = f"{whose}: the policy of {key} lacks {_names(found.missing)}, so reports, alarms or logs are lost without an error"
        if bus in allow:
            notes.append(f"{lack}; allowed by --allow {bus}")
            allowed.add(bus)
        else:
            problems.append(
                f"{lack}; add these statements, or continue without them with --allow {bus}: {json.dumps(found.missing)}"
            )
    return KeyFindings(problems=tuple(problems), notes=tuple(notes), allowed=frozenset(allowed))


def _names(statements: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(statement["Sid"] for statement in statements)


def _used(template: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the bus, name and key of each unit with an imported key; a unit is found by the tag of its event bus."""
    for name, resource in template.get("Resources", {}).items():
        properties = resource.get("Properties", {})
        key = properties.get("KmsKeyIdentifier")
        tags = {t["Key"]: t["Value"] for t in properties.get("Tags", ()) if isinstance(t, Mapping)}
        if resource["Type"] != "AWS::Events::EventBus" or key is None or "mlops:unit" not in tags:
            continue
        is_own = isinstance(key, Mapping) and "Fn::GetAtt" in key
        if not is_own:
            yield name, str(tags["mlops:unit"]), key


def place_of(aws: "Account") -> "Place":
    """Return the partition, Region and number of an account."""
    from mlops_runtime.business_unit.key_policy import Place

    arn, _ = aws.caller()
    return Place(partition=arn.split(":")[1], region=aws.client("kms").meta.region_name, account=arn.split(":")[4])


def resolved(aws: "Account", value: Any, template: Mapping[str, Any], place: "Place") -> str:
    """Resolve a template value that is known before the deployment: a literal, an export or a parameter.

    Raises:
        LookupError: If the value is only known at deployment.
    """
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(resolved(aws, part, template, place) for part in argument[1])
    if function == "Fn::ImportValue" and isinstance(argument, str):
        pages = aws.client("cloudformation").get_paginator("list_exports").paginate()
        found = {export["Name"]: export["Value"] for page in pages for export in page["Exports"]}
        if argument not in found:
            raise LookupError(f"the export {argument!r} is not deployed yet; deploy its stack and plan again")
        return str(found[argument])
    if function == "Ref" and str(argument).startswith(_PSEUDO):
        pseudo = {"AWS::Partition": place.partition, "AWS::Region": place.region, "AWS::AccountId": place.account}
        return pseudo[argument]
    declared = template.get("Parameters", {}).get(argument, {}) if function == "Ref" else {}
    if "Default" not in declared:
        raise LookupError(f"{json.dumps(value)} is known only at deployment")
    if str(declared["Type"]).startswith("AWS::SSM::Parameter::Value"):
        return str(aws.client("ssm").get_parameter(Name=declared["Default"])["Parameter"]["Value"])
    return str(declared["Default"])


def read_networks(aws: "Account", templates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the networks without access to KMS, each with the fix, and those that cannot be checked."""
    wanted = {(stack, subnets) for stack, template in templates.items() for subnets in _given(template)}
    if not wanted:
        return []

    place, ec2, notes = place_of(aws), aws.client("ec2"), []
    for stack, text in sorted(wanted):
        try:
            subnets = [resolved(aws, subnet, templates[stack], place) for subnet in json.loads(text)]
            problem = _problem(ec2, subnets, region=place.region, account=place.account)
        except (ClientError, LookupError, ValueError) as error:
            problem = f"cannot check its access to KMS, whose keys sign records: {error}"
        if problem is not None:
            notes.append(f"network of stack {stack}: {problem}")
    return notes


def read_log_roles(
    aws: "Account", templates: Mapping[str, Mapping[str, Any]], deployed: Mapping[str, Mapping[str, Any]]
) -> LogRoleFindings:
    """Find stacks with API access logs if the account's API Gateway has no role for CloudWatch Logs.

    The role is a setting of account and Region, so a stack should not set it; if a template does, nothing is checked.

    Args:
        aws: The target account of the stacks.
        templates: The new template of each stack, by stack name.
        deployed: The deployed templates. A stage that already has an access log is deployed without the role.
    """
    logging = {stack: stages for stack, template in templates.items() if (stages := _logged_stages(template))}
    if not logging or any(_of_type(template, "AWS::ApiGateway::Account") for template in templates.values()):
        return LogRoleFindings()

    try:
        if aws.client("apigateway").get_account().get("cloudwatchRoleArn"):
            return LogRoleFindings()
    except ClientError as error:
        unknown = "cannot check API Gateway's role for access logs"
        return LogRoleFindings(notes=tuple(f"stack {stack}: {unknown}: {error}" for stack in sorted(logging)))
    refused = {stack for stack, stages in logging.items() if stages - _logged_stages(deployed.get(stack, {}))}
    missing = "API Gateway has no role for CloudWatch in this account and Region, so"
    fix = (
        "create a role for apigateway.amazonaws.com with AmazonAPIGatewayPushToCloudWatchLogs, then run aws apigateway "
        "update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value=ROLE_ARN"
    )
    return LogRoleFindings(
        problems=tuple(
            f"stack {stack}: {missing} a stage with an access log cannot be created; {fix}" for stack in sorted(refused)
        ),
        notes=tuple(
            f"stack {stack}: {missing} calls are not logged; {fix}" for stack in sorted(set(logging) - refused)
        ),
    )


def _logged_stages(template: Mapping[str, Any]) -> frozenset[str]:
    """Return the stages with access logs in CloudWatch Logs; logs to a delivery stream do not need the account's role."""
    groups, found = _of_type(template, "AWS::Logs::LogGroup"), set()
    for name, stage in _of_type(template, "AWS::ApiGateway::Stage").items():
        destination = stage.get("Properties", {}).get("AccessLogSetting", {}).get("DestinationArn", "")
        made = destination.get("Fn::GetAtt", ()) if isinstance(destination, Mapping) else ()
        is_group = ":logs:" in json.dumps(destination) or any(part in groups for part in made)
        if is_group and "Condition" not in stage:
            found.add(name)
    return frozenset(found)


def _of_type(template: Mapping[str, Any], kind: str) -> dict[str, Mapping[str, Any]]:
    return {name: found for name, found in template.get("Resources", {}).items() if found.get("Type") == kind}


def _given(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield the imported subnets of functions that sign records, as JSON."""
    resources = template.get("Resources", {})
    for resource in resources.values():
        properties = resource.get("Properties", {})
        variables = properties.get("Environment", {}).get("Variables", {})
        subnets = properties.get("VpcConfig", {}).get("SubnetIds", [])
        if (
            resource["Type"] != "AWS::Lambda::Function"
            or "SIGNING_KEY" not in variables
            or not isinstance(subnets, list)
        ):
            continue
        made = [isinstance(subnet, Mapping) and subnet.get("Ref") in resources for subnet in subnets]
        if subnets and not any(made):
            yield json.dumps(subnets, sort_keys=True)


def _problem(ec2: Any, subnets: Sequence[str], *, region: str, account: str) -> str | None:
    rows = ec2.describe_subnets(SubnetIds=list(subnets))["Subnets"]
    if len(rows) != len(set(subnets)):
        raise LookupError(f"only {len(rows)} of the subnets {', '.join(subnets)} exist")
    vpc, owner = rows[0]["VpcId"], rows[0].get("OwnerId", account)
    service = f"com.amazonaws.{region}.kms"
    in_vpc = {"Name": "vpc-id", "Values": [vpc]}
    names = (service, f"cn.{service}")
    answer = ec2.describe_vpc_endpoints(Filters=[in_vpc, {"Name": "service-name", "Values": list(names)}])
    endpoints = [row for row in answer["VpcEndpoints"] if row["VpcId"] == vpc and row["ServiceName"] in names]
    if any(row["State"].lower() == "available" and row.get("PrivateDnsEnabled", True) for row in endpoints):
        return None
    tables = [row for row in ec2.describe_route_tables(Filters=[in_vpc])["RouteTables"] if row["VpcId"] == vpc]
    without = [subnet for subnet in subnets if not _leads_out(subnet, tables)]
    if not without:
        return None
    whose = (
        ""
        if owner == account
        else f"; it belongs to account {owner}, whose endpoints this account cannot see: ask its owner"
    )
    return (
        f"{vpc} has no access to KMS from {', '.join(without)}, so no record can be signed and every rollout fails when it writes "
        f"its record; add an interface endpoint {service} with private DNS names, or a route to a NAT gateway{whose}"
    )


def _leads_out(subnet: str, tables: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a subnet's route table, or else the VPC's main one, routes private addresses to the internet."""
    found = [table for table in tables if any(a.get("SubnetId") == subnet for a in table["Associations"])]
    found = found or [table for table in tables if any(a.get("Main") for a in table["Associations"])]
    return any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0"
        and any(route.get(way) for way in _WAYS_OUT)
        and not str(route.get("GatewayId", "")).startswith("igw-")
        for table in found
        for route in table["Routes"]
    )


def look_up(
    client: Callable[[str], Any], resources: Iterable["NamedResource"], *, account: str, region: str
) -> Iterator["Existing"]:
    """Yield the resources that already exist, and those that could not be checked."""
    from mlops_runtime.changes.existing_resources import Existing

    for one in resources:
        where = f"{region}:{account}"
        try:
            exists = _LOOKS[one.type](client, one, where)
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if not _is_missing(code, message):
                yield Existing(resource=one, identifier={}, reason=f"{error.operation_name} returned {code}")
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


def _call(service: str, operation: str, **members: str) -> Look:
    """Return a lookup that raises if the resource does not exist; members of the call may contain its name and place."""

    def look(client: Callable[[str], Any], one: "NamedResource", where: str) -> bool:
        parts = {"name": one.name, "parent": one.parent, "where": where, "account": where.split(":")[1]}
        getattr(client(service), operation)(**{member: form.format(**parts) for member, form in members.items()})
        return True

    return look


def _alarm(client: Callable[[str], Any], one: "NamedResource", _where: str) -> bool:
    found = client("cloudwatch").describe_alarms(AlarmNames=[one.name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    return bool(found["MetricAlarms"] or found["CompositeAlarms"])


def _rule(client: Callable[[str], Any], one: "NamedResource", _where: str) -> bool:
    client("events").describe_rule(Name=one.name, **({"EventBusName": one.parent} if one.parent else {}))
    return True


def _log_group(client: Callable[[str], Any], one: "NamedResource", _where: str) -> bool:
    found = client("logs").describe_log_groups(logGroupNamePrefix=one.name)["logGroups"]
    return any(group["logGroupName"] == one.name for group in found)


_LOOKS: dict[str, Look] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _alarm,
    "AWS::CloudWatch::Dashboard": _call("cloudwatch", "get_dashboard", DashboardName="{name}"),
    "AWS::DynamoDB::Table": _call("dynamodb", "describe_table", TableName="{name}"),
    "AWS::EKS::AccessEntry": _call("eks", "describe_access_entry", clusterName="{parent}", principalArn="{name}"),
    "AWS::Events::EventBus": _call("events", "describe_event_bus", Name="{name}"),
    "AWS::Events::Rule": _rule,
    "AWS::Glue::DataQualityRuleset": _call("glue", "get_data_quality_ruleset", Name="{name}"),
    "AWS::Glue::Database": _call("glue", "get_database", Name="{name}"),
    "AWS::Glue::Job": _call("glue", "get_job", JobName="{name}"),
    "AWS::Glue::Table": _call("glue", "get_table", DatabaseName="{parent}", Name="{name}"),
    "AWS::IAM::ManagedPolicy": _call("iam", "get_policy", PolicyArn="arn:aws:iam::{account}:policy/{name}"),
    "AWS::IAM::Role": _call("iam", "get_role", RoleName="{name}"),
    "AWS::KMS::Alias": _call("kms", "describe_key", KeyId="{name}"),
    "AWS::Lambda::Function": _call("lambda", "get_function_configuration", FunctionName="{name}"),
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _call("s3", "head_bucket", Bucket="{name}"),
    "AWS::SNS::Topic": _call("sns", "get_topic_attributes", TopicArn="arn:aws:sns:{where}:{name}"),
    "AWS::SQS::Queue": _call("sqs", "get_queue_url", QueueName="{name}"),
    "AWS::SSM::Parameter": _call("ssm", "get_parameter", Name="{name}"),
    "AWS::SageMaker::ModelPackageGroup": _call(
        "sagemaker", "describe_model_package_group", ModelPackageGroupName="{name}"
    ),
    "AWS::StepFunctions::StateMachine": _call(
        "stepfunctions", "describe_state_machine", stateMachineArn="arn:aws:states:{where}:stateMachine:{name}"
    ),
}


def kept(cloudformation: Any, stack: str) -> dict[str, dict[str, str]]:
    """Return the resources retained by the newest deletion of a stack that retained any, in the format of ``cdk import``.

    Stacks whose creation failed are considered last: such a stack may have retained a bucket with objects, which must not hide
    resources retained before. CloudFormation lists deleted stacks for 90 days.
    See: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html
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
    """Return the resources that the deletion of a stack retained, and whether its creation had succeeded."""
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
    """Return the resource types that can be checked."""
    return frozenset(_LOOKS)
