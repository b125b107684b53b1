"""All resources of an account by service and name, for a comparison before and after a stack."""

import json
from collections.abc import Iterator
from typing import Any, Protocol


class Cloud(Protocol):
    """Makes boto3 clients."""

    def client(self, service: str) -> Any:
        """Return the client of a service."""


# service, operation, member of the response, key of an entry (empty: the entry is the name)
_LISTS: tuple[tuple[str, str, str, str | None], ...] = (
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("dynamodb", "list_tables", "TableNames", None),
    ("ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    ("ec2", "describe_route_tables", "RouteTables", "RouteTableId"),
    ("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    ("ec2", "describe_subnets", "Subnets", "SubnetId"),
    ("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
    ("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    ("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn"),
    ("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupArn"),
    ("events", "list_event_buses", "EventBuses", "Name"),
    ("glue", "get_databases", "DatabaseList", "Name"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "list_layers", "Layers", "LayerName"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
    ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
    ("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", "ModelPackageGroupName"),
    ("sagemaker", "list_models", "Models", "ModelName"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sqs", "list_queues", "QueueUrls", None),
    ("ssm", "describe_parameters", "Parameters", "Name"),
    ("stepfunctions", "list_state_machines", "stateMachines", "stateMachineArn"),
)


def inventory(cloud: Cloud) -> frozenset[str]:
    """List the resources as ``service kind name``.

    Args:
        cloud: Makes the clients.
    """
    return frozenset(name for name, _ in listed(cloud))


def listed(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    """List the resources as ``service kind name``, with their list entries.

    Args:
        cloud: Makes the clients.
    """
    for service, operation, member, key in _LISTS:
        client = cloud.client(service)
        for page in pages(client, operation):
            for entry in page.get(member) or []:
                yield f"{service} {member} {entry if key is None else entry[key]}", entry
    for look in (_alarms, _keys, _policies, _rules, _glue_tables, _targets):
        yield from look(cloud)


def pages(client: Any, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
    """Yield the pages of a list operation; one without a paginator has one page."""
    if client.can_paginate(operation):
        yield from client.get_paginator(operation).paginate(**arguments)
    else:
        yield getattr(client, operation)(**arguments)


def _alarms(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    kinds = ["MetricAlarm", "CompositeAlarm"]
    for page in pages(cloud.client("cloudwatch"), "describe_alarms", AlarmTypes=kinds):
        for member in ("MetricAlarms", "CompositeAlarms"):
            yield from ((f"cloudwatch {member} {alarm['AlarmName']}", alarm) for alarm in page.get(member) or [])


def _keys(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    """Active keys; one that waits for its deletion is excluded by its state."""
    client = cloud.client("kms")
    for page in pages(client, "list_keys"):
        for key in page["Keys"]:
            state = client.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]
            if state != "PendingDeletion":
                yield f"kms Keys {key['KeyId']}", key


def _policies(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    for page in pages(cloud.client("iam"), "list_policies", Scope="Local"):
        yield from ((f"iam Policies {policy['PolicyName']}", policy["Arn"]) for policy in page["Policies"])


def _rules(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    client = cloud.client("events")
    for bus in client.list_event_buses()["EventBuses"]:
        rules = client.list_rules(EventBusName=bus["Name"])["Rules"]
        yield from ((f"events Rules {bus['Name']}/{rule['Name']}", rule) for rule in rules)


def _glue_tables(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    client = cloud.client("glue")
    for database in client.get_databases()["DatabaseList"]:
        tables = client.get_tables(DatabaseName=database["Name"])["TableList"]
        yield from ((f"glue TableList {database['Name']}/{table['Name']}", _table(cloud, table)) for table in tables)


def _table(cloud: Cloud, table: dict[str, Any]) -> dict[str, Any]:
    """Describe an Iceberg table by its metadata; every commit, but not the creation, leaves copies in Glue."""
    parameters = table.get("Parameters", {})
    if "metadata_location" not in parameters:
        return table
    bucket, key = parameters["metadata_location"].removeprefix("s3://").split("/", 1)
    metadata = json.loads(cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    [schema] = [one for one in metadata["schemas"] if one["schema-id"] == metadata["current-schema-id"]]
    held = {name: value for name, value in parameters.items() if name not in metadata["properties"]}
    iceberg = {
        "fields": schema["fields"],
        "partitions": metadata["partition-specs"],
        "properties": metadata["properties"],
    }
    return {**table, "Parameters": held, "Iceberg": iceberg}


def _targets(cloud: Cloud) -> Iterator[tuple[str, Any]]:
    client = cloud.client("application-autoscaling")
    targets = client.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    yield from ((f"application-autoscaling ScalableTargets {target['ResourceId']}", target) for target in targets)
