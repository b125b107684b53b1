"""The changes of an update: for every resource a property that its type updates in place.

A change is made in the synthesized template, so that it affects only that resource. Of the few types that CloudFormation updates
only by tags, the changed tags of the whole app are the change; types that it never updates have none.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Properties = dict[str, Any]
Change = Callable[[Properties], None]

TAGS = "Tags"
# every property of these types replaces them: `mlops_cli/replacement.json`
NEVER_UPDATED = frozenset({
    "AWS::EC2::SubnetRouteTableAssociation", "AWS::Lambda::LayerVersion", "AWS::Lambda::Permission",
})  # fmt: skip
# other changes replace a flow log, route table or package group, and cut the network of running resources
_BY_TAGS = ("AWS::EC2::FlowLog", "AWS::EC2::RouteTable", "AWS::EC2::VPC", "AWS::SageMaker::ModelPackageGroup")
_SPEC = "Custom::MLOpsServingSpec"
_MANIFESTS = "Custom::MLOpsManifests"
_CHANGED = "changed by the campaign"


def changed_property(resource_type: str) -> str | None:
    """Return the name of the property that an update changes; ``None`` if no property of the type can be updated.

    Args:
        resource_type: The type.

    Raises:
        KeyError: If the table has nothing for the type.
    """
    if resource_type in NEVER_UPDATED:
        return None
    return _change(resource_type)[0]


def put_changes(folder: Path, stack: str) -> None:
    """Change every resource of a stack in the template of an assembly.

    Args:
        folder: The cloud assembly.
        stack: The stack's name.

    Raises:
        ValueError: If a change leaves a resource as it is.
    """
    path = folder / f"{stack}.template.json"
    template = json.loads(path.read_text())
    for name, body in template["Resources"].items():
        if body["Type"] in NEVER_UPDATED or body["Type"] in _BY_TAGS:
            continue
        before = json.dumps(body, sort_keys=True)
        _change(body["Type"])[1](body["Properties"])
        if json.dumps(body, sort_keys=True) == before:
            raise ValueError(f"{name} ({body['Type']}) must differ after its change, got the same")
    path.write_text(json.dumps(template))


def _change(resource_type: str) -> tuple[str, Change]:
    if resource_type in _BY_TAGS:
        return TAGS, lambda _: None
    if resource_type.startswith("Custom::") and resource_type not in _CHANGES:
        return _TIMEOUT
    return _CHANGES[resource_type]


def _sets(name: str, value: Any) -> tuple[str, Change]:
    return name, lambda properties: properties.update({name: value})


def _text(name: str, old: str, new: str) -> tuple[str, Change]:
    """Change a part of a string, which may be an Fn::Join."""

    def change(properties: Properties) -> None:
        given = properties[name]
        if isinstance(given, str):
            properties[name] = given.replace(old, new, 1)
            return
        parts = given["Fn::Join"][1]
        found = next(at for at, part in enumerate(parts) if isinstance(part, str) and old in part)
        parts[found] = parts[found].replace(old, new, 1)

    return name, change


def _nested(*path: str, value: Any) -> tuple[str, Change]:
    def change(properties: Properties) -> None:
        inner: Any = properties
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value

    return ".".join(path), change


def _adds(name: str, entry: Mapping[str, Any]) -> tuple[str, Change]:
    return name, lambda properties: properties.update({name: [*properties.get(name, ()), entry]})


def _again(properties: Properties) -> None:
    """Repeat the first statement of a resource's policy: its effect stays."""
    statements = properties["PolicyDocument"]["Statement"]
    statements.append({**statements[0], "Sid": "Campaign"})


def _deny(properties: Properties) -> None:
    denial = {"Effect": "Deny", "Action": "s3:CreateBucket", "Resource": "*"}
    properties["PolicyDocument"]["Statement"].append(denial)


def _days(properties: Properties) -> None:
    properties["RetentionInDays"] = 400 if properties.get("RetentionInDays") != 400 else 365


def _one_more(name: str) -> tuple[str, Change]:
    return name, lambda properties: properties.update({name: int(properties.get(name, 0)) + 1})


def _memory(properties: Properties) -> None:
    properties["MemorySize"] = int(properties.get("MemorySize", 128)) + 64


def _longer(properties: Properties) -> None:
    properties["ServiceTimeout"] = str(int(properties["ServiceTimeout"]) + 1)


def _lifecycle(properties: Properties) -> None:
    rule = {"Id": "Campaign", "Prefix": "campaign/", "Status": "Enabled", "ExpirationInDays": 1}
    properties.setdefault("LifecycleConfiguration", {"Rules": []})["Rules"].append(rule)


def _optimizer(properties: Properties) -> None:
    settings = properties["TableOptimizerConfiguration"]
    settings["Enabled"] = not settings["Enabled"]


def _table(properties: Properties) -> None:
    properties["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["Schema"]["Fields"][0]["Doc"] = _CHANGED


def _idle(properties: Properties) -> None:
    for attribute in properties["LoadBalancerAttributes"]:
        if attribute["Key"] == "idle_timeout.timeout_seconds":
            attribute["Value"] = "61"


_TIMEOUT = ("ServiceTimeout", _longer)
_ANYONE = {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
_INGRESS = {"CidrIp": "10.255.255.255/32", "IpProtocol": "tcp", "FromPort": 9, "ToPort": 9, "Description": _CHANGED}
_BODY = {"ContentType": "text/plain", "MessageBody": _CHANGED, "StatusCode": "404"}
_CHANGES: dict[str, tuple[str, Change]] = {
    "AWS::CloudWatch::Alarm": _sets("ActionsEnabled", False),
    "AWS::CloudWatch::CompositeAlarm": _sets("ActionsEnabled", False),
    "AWS::CloudWatch::Dashboard": _text("DashboardBody", "-P90D", "-P89D"),
    "AWS::DynamoDB::Table": _sets("TableClass", "STANDARD_INFREQUENT_ACCESS"),
    "AWS::EC2::SecurityGroup": _adds("SecurityGroupIngress", _INGRESS),
    "AWS::EC2::SecurityGroupEgress": _sets("Description", _CHANGED),
    "AWS::EC2::SecurityGroupIngress": _sets("Description", _CHANGED),
    "AWS::EC2::Subnet": _sets("MapPublicIpOnLaunch", True),
    "AWS::EC2::VPCEndpoint": _sets("PolicyDocument", _ANYONE),
    "AWS::EKS::AccessEntry": _adds("KubernetesGroups", "campaign"),  # type: ignore[arg-type]  # an entry is a name here
    "AWS::EKS::PodIdentityAssociation": _text("Policy", "s3:GetObject", "s3:GetObjectVersion"),
    "AWS::ElasticLoadBalancingV2::Listener": _sets(
        "DefaultActions", [{"Type": "fixed-response", "FixedResponseConfig": _BODY}]
    ),
    "AWS::ElasticLoadBalancingV2::ListenerRule": _one_more("Priority"),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": ("LoadBalancerAttributes", _idle),
    "AWS::ElasticLoadBalancingV2::TargetGroup": _one_more("HealthCheckIntervalSeconds"),
    "AWS::Events::EventBus": _sets("Description", _CHANGED),
    "AWS::Events::Rule": _sets("State", "DISABLED"),
    "AWS::Glue::DataQualityRuleset": _sets("Description", _CHANGED),
    "AWS::Glue::Database": _nested("DatabaseInput", "Description", value=_CHANGED),
    "AWS::Glue::Table": ("OpenTableFormatInput", _table),
    "AWS::Glue::TableOptimizer": ("TableOptimizerConfiguration", _optimizer),
    "AWS::IAM::ManagedPolicy": ("PolicyDocument", _deny),
    "AWS::IAM::Role": _sets("MaxSessionDuration", 7200),
    "AWS::KMS::Key": _sets("Description", _CHANGED),
    "AWS::Lambda::EventSourceMapping": _sets("BatchSize", 9),
    "AWS::Lambda::Function": ("MemorySize", _memory),
    "AWS::Logs::LogGroup": ("RetentionInDays", _days),
    "AWS::S3::Bucket": ("LifecycleConfiguration", _lifecycle),
    "AWS::S3::BucketPolicy": ("PolicyDocument", _again),
    "AWS::SNS::Topic": _sets("DisplayName", "campaign"),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", _again),
    "AWS::SQS::Queue": _sets("ReceiveMessageWaitTimeSeconds", 1),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", _again),
    "AWS::SSM::Parameter": _sets("Description", _CHANGED),
    "AWS::StepFunctions::StateMachine": _text("DefinitionString", '"Comment":"', '"Comment":"Changed: '),
    _MANIFESTS: _text("Manifests", '"labels":{', '"labels":{"campaign":"changed",'),
    _SPEC: _text("Spec", '"tags":{', '"tags":{"campaign":"changed",'),
}  # fmt: skip
