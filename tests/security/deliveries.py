"""Calls that AWS services make in their own name because of the template: publish, deliver, invoke, encrypt, assume a role.

Derived from the template's configuration, never from a policy; context keys come from the table
`mlops_local.iam.source_keys`, which has a source for each key.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.security.needs import Need
from tests.security.policies import Policies
from tests.security.units import ACCOUNT, REGION

from mlops_local.iam import source_keys

_DOCS = "https://docs.aws.amazon.com"
_EVENTS = f"{_DOCS}/eventbridge/latest/userguide"
_GATEWAY = f"{_DOCS}/apigateway/latest/developerguide"
_USE_OF_A_KEY = ("kms:Decrypt", "kms:GenerateDataKey")
_LOGS = ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo")
# service that assumes a role of this property, and the documentation
_TAKEN_ON = (
    ("AWS::Lambda::Function", "Role", "lambda.amazonaws.com", f"{_DOCS}/lambda/latest/dg/lambda-intro-execution-role.html"),
    ("AWS::StepFunctions::StateMachine", "RoleArn", "states.amazonaws.com",
     f"{_DOCS}/step-functions/latest/dg/procedure-create-iam-role.html"),
    ("AWS::EC2::FlowLog", "DeliverLogsPermissionArn", "vpc-flow-logs.amazonaws.com",
     f"{_DOCS}/vpc/latest/userguide/flow-logs-iam-role.html"),
    ("AWS::EKS::PodIdentityAssociation", "RoleArn", "pods.eks.amazonaws.com",
     f"{_DOCS}/eks/latest/userguide/pod-id-role.html"),
)  # fmt: skip


class Deliveries:
    """The calls of services in a template.

    Args:
        policies: Policies of the template, which resolve resource names.
        recorded: Recorded calls: SageMaker assumes the roles that were passed to it.
    """

    def __init__(self, policies: Policies, recorded: Sequence[Need]) -> None:
        self._policies, self._recorded = policies, recorded

    def needs(self) -> list[Need]:
        """Return the calls, each once."""
        found = [
            *self._alarms(),
            *self._rules(),
            *self._buses(),
            *self._access_logs(),
            *self._encrypted_logs(),
            *self._roles(),
            *self._pages(),
            *self._integrations(),
        ]
        return list({str(need): need for need in found}.values())

    def _alarms(self) -> Iterator[Need]:
        for kind in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"):
            for name, alarm in self._policies.of_type(kind):
                for topic in map(self._policies.text, alarm.get("AlarmActions", ())):
                    if topic.split(":")[2] == "sns":
                        yield from self._published(
                            "cloudwatch.amazonaws.com",
                            topic,
                            self._policies.attribute(name),
                            f"{_DOCS}/sns/latest/dg/sns-access-policy-use-cases.html",
                        )

    def _rules(self) -> Iterator[Need]:
        for name, rule in self._policies.of_type("AWS::Events::Rule"):
            arn = self._policies.attribute(name)
            for target in rule["Targets"]:
                for place in (target["Arn"], (target.get("DeadLetterConfig") or {}).get("Arn")):
                    if place is not None:
                        yield from self._delivered(arn, self._policies.text(place))

    def _delivered(self, rule: str, target: str) -> Iterator[Need]:
        source = f"{_EVENTS}/eb-use-resource-based.html"
        service = target.split(":")[2]
        if service == "sns":
            yield from self._published("events.amazonaws.com", target, rule, source)
        elif service == "sqs":
            yield from self._queued(target, rule, source)
        elif service == "lambda":
            yield self._call("events.amazonaws.com", "lambda:InvokeFunction", target, rule, source)

    def _buses(self) -> Iterator[Need]:
        for name, bus in self._policies.of_type("AWS::Events::EventBus"):
            arn = self._policies.attribute(name)
            letters = (bus.get("DeadLetterConfig") or {}).get("Arn")
            if letters is not None:
                yield from self._queued(self._policies.text(letters), arn, f"{_EVENTS}/eb-rule-event-delivery.html")
            if "KmsKeyIdentifier" in bus:
                key, source = self._policies.text(bus["KmsKeyIdentifier"]), f"{_EVENTS}/eb-encryption-key-policy.html"
                for action in ("kms:DescribeKey", *_USE_OF_A_KEY):
                    more = {"kms:EncryptionContext:aws:events:event-bus:arn": arn}
                    yield self._call("events.amazonaws.com", action, key, arn, source, target="events", more=more)

    def _access_logs(self) -> Iterator[Need]:
        for name, bucket in self._policies.of_type("AWS::S3::Bucket"):
            logging = bucket.get("LoggingConfiguration")
            if logging:
                to, prefix = self._policies.text(logging["DestinationBucketName"]), logging.get("LogFilePrefix", "")
                yield self._call(
                    "logging.s3.amazonaws.com",
                    "s3:PutObject",
                    f"arn:aws:s3:::{to}/{prefix}N",
                    self._policies.attribute(name),
                    f"{_DOCS}/AmazonS3/latest/userguide/enable-server-access-logging.html",
                )
        for name, balancer in self._policies.of_type("AWS::ElasticLoadBalancingV2::LoadBalancer"):
            set_to = {
                row["Key"]: self._policies.text(row["Value"]) for row in balancer.get("LoadBalancerAttributes", ())
            }
            if set_to.get("access_logs.s3.enabled") == "true":
                to, prefix = set_to["access_logs.s3.bucket"], set_to["access_logs.s3.prefix"]
                yield self._call(
                    "logdelivery.elasticloadbalancing.amazonaws.com",
                    "s3:PutObject",
                    f"arn:aws:s3:::{to}/{prefix}/AWSLogs/{ACCOUNT}/elasticloadbalancing/N",
                    f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/app/{name}/N",
                    f"{_DOCS}/elasticloadbalancing/latest/application/enable-access-logging.html",
                )

    def _encrypted_logs(self) -> Iterator[Need]:
        for name, group in self._policies.of_type("AWS::Logs::LogGroup"):
            if "KmsKeyId" in group:
                key = self._policies.text(group["KmsKeyId"])
                arn = self._policies.attribute(name).removesuffix(":*")
                for action in _LOGS:
                    yield Need(
                        role=f"logs.{REGION}.amazonaws.com",
                        action=action,
                        resource=key,
                        context={"kms:EncryptionContext:aws:logs:arn": arn},
                        source=f"{_DOCS}/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
                    )
        for _, machine in self._policies.of_type("AWS::StepFunctions::StateMachine"):
            key = (machine.get("EncryptionConfiguration") or {}).get("KmsKeyId")
            if key is not None and machine.get("LoggingConfiguration"):
                yield Need(
                    role="delivery.logs.amazonaws.com",
                    action="kms:Decrypt",
                    resource=self._policies.text(key),
                    source=f"{_DOCS}/step-functions/latest/dg/encryption-at-rest.html",
                )

    def _roles(self) -> Iterator[Need]:
        for kind, field, service, source in _TAKEN_ON:
            for name, properties in self._policies.of_type(kind):
                role = self._policies.text(properties[field])
                acting = f"arn:aws:{service.split('.')[0]}:{REGION}:{ACCOUNT}:{name}"
                if kind == "AWS::EKS::PodIdentityAssociation":
                    acting = f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{properties['ClusterName']}"
                    yield self._call(service, "sts:TagSession", role, acting, source)
                yield self._call(service, "sts:AssumeRole", role, acting, source)
        passed = {
            need.resource for need in self._recorded
            if need.action == "iam:PassRole" and need.context.get("iam:PassedToService") == "sagemaker.amazonaws.com"
        }  # fmt: skip
        for role in sorted(passed):
            acting = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/N"
            source = f"{_DOCS}/sagemaker/latest/dg/sagemaker-roles.html"
            yield self._call("sagemaker.amazonaws.com", "sts:AssumeRole", role, acting, source)

    def _pages(self) -> Iterator[Need]:
        """Yield the reads of a distribution on a bucket; decryption needs no statement of its own."""
        for name, distribution in self._policies.of_type("AWS::CloudFront::Distribution"):
            for origin in distribution["DistributionConfig"]["Origins"]:
                if "OriginAccessControlId" in origin:
                    bucket = self._policies.text(origin["DomainName"]).partition(".")[0]
                    yield self._call(
                        "cloudfront.amazonaws.com",
                        "s3:GetObject",
                        f"arn:aws:s3:::{bucket}/index.html",
                        self._policies.attribute(name),
                        f"{_DOCS}/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-s3.html",
                    )

    def _integrations(self) -> Iterator[Need]:
        """Yield the invocations of an API, and the roles with which it calls other services."""
        stages = {
            self._policies.text(stage["RestApiId"]): stage["StageName"]
            for _, stage in self._policies.of_type("AWS::ApiGateway::Stage")
        }
        for _, method in self._policies.of_type("AWS::ApiGateway::Method"):
            requested, api = method["Integration"], self._policies.text(method["RestApiId"])
            place = f"{api}/{stages[api]}/POST{self._path(method['ResourceId'])}"
            acting = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{place}"
            if "Credentials" in requested:
                role, source = (
                    self._policies.text(requested["Credentials"]),
                    f"{_GATEWAY}/integration-request-basic-setup.html",
                )
                yield self._call("apigateway.amazonaws.com", "sts:AssumeRole", role, acting, source)
            elif requested["Type"] == "AWS_PROXY":
                function = (
                    self._policies.text(requested["Uri"]).partition("/functions/")[2].removesuffix("/invocations")
                )
                source = f"{_DOCS}/lambda/latest/dg/services-apigateway.html"
                yield self._call("apigateway.amazonaws.com", "lambda:InvokeFunction", function, acting, source)

    def _path(self, resource: Mapping[str, Any]) -> str:
        """Return the path of an API resource; the root, which is in no template, is empty."""
        known = dict(self._policies.of_type("AWS::ApiGateway::Resource"))
        found = known.get(str(resource.get("Ref")))
        return "" if found is None else f"{self._path(found['ParentId'])}/{found['PathPart']}"

    def _published(self, service: str, topic: str, acting: str, source: str) -> Iterator[Need]:
        yield self._call(service, "sns:Publish", topic, acting, source)
        source = f"{_DOCS}/sns/latest/dg/sns-key-management.html"
        yield from self._used("AWS::SNS::Topic", topic, service, acting, source)

    def _queued(self, queue: str, acting: str, source: str) -> Iterator[Need]:
        yield self._call("events.amazonaws.com", "sqs:SendMessage", queue, acting, source)
        source = f"{_DOCS}/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html"
        yield from self._used("AWS::SQS::Queue", queue, "events.amazonaws.com", acting, source)

    def _used(self, kind: str, arn: str, service: str, acting: str, source: str) -> Iterator[Need]:
        """Yield the key usage of an encrypted topic or queue."""
        for name, properties in self._policies.of_type(kind):
            if self._policies.attribute(name) == arn and "KmsMasterKeyId" in properties:
                key = self._policies.text(properties["KmsMasterKeyId"])
                target = kind.split("::")[1].lower()
                for action in _USE_OF_A_KEY:
                    yield self._call(service, action, key, acting, source, target=target)

    def _call(
        self,
        service: str,
        action: str,
        resource: str,
        acting: str,
        source: str,
        *,
        target: str = "",
        more: Mapping[str, Any] | None = None,
    ) -> Need:
        sent = source_keys.sent(service, action, target, source_arn=acting, account=ACCOUNT)
        return Need(role=service, action=action, resource=resource, context={**sent, **(more or {})}, source=source)
