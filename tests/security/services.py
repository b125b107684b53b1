"""Calls of AWS services with a role because of the template, which the embedded cloud does not make.

These calls are derived from the template's configuration (network, log group, key, queue of a function), not from policies.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.security.needs import Need
from tests.security.policies import Policies
from tests.security.units import ACCOUNT, REGION

_LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg"
_NETWORK = (f"{_LAMBDA}/configuration-vpc.html", (
    "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
))  # fmt: skip
_TRACING = (f"{_LAMBDA}/services-xray.html", ("xray:PutTelemetryRecords", "xray:PutTraceSegments"))
_SAMPLING = ("https://docs.aws.amazon.com/step-functions/latest/dg/xray-iam.html", (
    "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
))  # fmt: skip
_DELIVERY = ("https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html", (
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
))  # fmt: skip
_WRITES = ("logs:CreateLogStream", "logs:PutLogEvents")
_QUEUE = (
    f"{_LAMBDA}/services-sqs-configure.html",
    ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"),
)


class Services:
    """The calls of services with the roles of a template.

    Args:
        template: The template.
        policies: Its policies, which resolve resource names.
    """

    def __init__(self, template: Mapping[str, Any], policies: Policies) -> None:
        self._resources: Mapping[str, Any] = template["Resources"]
        self._policies = policies

    def needs(self) -> Iterator[Need]:
        """Yield the calls."""
        for name, function in self._of("AWS::Lambda::Function"):
            yield from self._function(name, function)
        for _, mapping in self._of("AWS::Lambda::EventSourceMapping"):
            role = self._role(self._resources[_target(mapping["FunctionName"])]["Properties"]["Role"])
            queue = self._policies.text(mapping["EventSourceArn"])
            yield from _needs(role, _QUEUE, queue)
            yield from self._key(role, "sqs", _QUEUE[0], ("kms:Decrypt",), {"kms:EncryptionContext:aws:sqs:arn": queue})
        for _, machine in self._of("AWS::StepFunctions::StateMachine"):
            role = self._role(machine["RoleArn"])
            if machine.get("LoggingConfiguration"):
                yield from _needs(role, _DELIVERY, "*")
            if (machine.get("TracingConfiguration") or {}).get("Enabled"):
                yield from _needs(role, _SAMPLING, "*")
        for _, log in self._of("AWS::EC2::FlowLog"):
            source = "https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html"
            group = self._policies.text(log["LogDestination"]).split(":")[6]
            yield from self._logs(
                self._role(log["DeliverLogsPermissionArn"]), source, group, more=("logs:DescribeLogStreams",)
            )

    def _function(self, name: str, function: Mapping[str, Any]) -> Iterator[Need]:
        role = self._role(function["Role"])
        group = (function.get("LoggingConfig") or {}).get("LogGroup")
        if group:
            yield from self._logs(role, f"{_LAMBDA}/monitoring-cloudwatchlogs.html", self._policies.text(group))
        if function.get("VpcConfig"):
            yield from _needs(role, _NETWORK, "*")
        if (function.get("TracingConfig") or {}).get("Mode") == "Active":
            yield from _needs(role, _TRACING, "*")
        if function.get("KmsKeyArn") and function.get("Environment"):
            arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self._policies.name(name)}"
            context = {"kms:EncryptionContext:aws:lambda:FunctionArn": arn}
            yield from self._key(
                role, "lambda", f"{_LAMBDA}/security-encryption-at-rest.html", ("kms:Decrypt",), context
            )
        letters = (function.get("DeadLetterConfig") or {}).get("TargetArn")
        if letters:
            queue, source = self._policies.text(letters), f"{_LAMBDA}/invocation-async-retain-records.html"
            yield from _needs(role, (source, ("sqs:SendMessage",)), queue)
            context = {"kms:EncryptionContext:aws:sqs:arn": queue}
            yield from self._key(role, "sqs", source, ("kms:Decrypt", "kms:GenerateDataKey"), context)

    def _logs(self, role: str, source: str, group: str, more: tuple[str, ...] = ()) -> Iterator[Need]:
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:N"
        yield from _needs(role, (source, (*_WRITES, *more)), arn)

    def _key(
        self, role: str, service: str, source: str, actions: tuple[str, ...], context: Mapping[str, str]
    ) -> Iterator[Need]:
        key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{next(name for name, _ in self._of('AWS::KMS::Key'))}"
        context = {**context, "kms:CallerAccount": ACCOUNT, "kms:ViaService": f"{service}.{REGION}.amazonaws.com"}
        yield from (Need(role=role, action=action, resource=key, context=context, source=source) for action in actions)

    def _of(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for name, body in self._resources.items():
            if body["Type"] == kind:
                yield name, body["Properties"]

    def _role(self, arn: Any) -> str:
        return _target(arn)


def _needs(role: str, of: tuple[str, tuple[str, ...]], resource: str) -> Iterator[Need]:
    source, actions = of
    yield from (Need(role=role, action=action, resource=resource, source=source) for action in actions)


def _target(value: Any) -> str:
    return str(value.get("Ref") or value["Fn::GetAtt"][0]) if isinstance(value, Mapping) else str(value)
