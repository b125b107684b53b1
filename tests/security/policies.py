"""Policies of a template as the evaluator reads them: owners, statements, and names in place of references."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator
from tests.security.units import ACCOUNT, REGION

_PSEUDO = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::URLSuffix": "amazonaws.com"}
_NAMES = (
    "Name",
    "BucketName",
    "LogGroupName",
    "ModelPackageGroupName",
    "FunctionName",
    "StageName",
    "TableName",
    "AlarmName",
)
# by type: ARN of a name, and whether `Ref` is the ARN
_ARNS = {
    "AWS::ApiGateway::RestApi": ("execute-api", "{}", False),
    "AWS::CloudFront::Distribution": ("cloudfront", "distribution/{}", False),
    "AWS::CloudWatch::Alarm": ("cloudwatch", "alarm:{}", False),
    "AWS::CloudWatch::CompositeAlarm": ("cloudwatch", "alarm:{}", False),
    "AWS::DynamoDB::Table": ("dynamodb", "table/{}", False),
    "AWS::EC2::Subnet": ("ec2", "subnet/{}", False),
    "AWS::ElasticLoadBalancingV2::ListenerRule": ("elasticloadbalancing", "listener-rule/{}", True),
    "AWS::ElasticLoadBalancingV2::TargetGroup": ("elasticloadbalancing", "targetgroup/{}", True),
    "AWS::Events::EventBus": ("events", "event-bus/{}", False),
    "AWS::Events::Rule": ("events", "rule/{}", False),
    "AWS::IAM::ManagedPolicy": ("iam", "policy/{}", True),
    "AWS::IAM::Role": ("iam", "role/{}", False),
    "AWS::KMS::Key": ("kms", "key/{}", False),
    "AWS::Lambda::Function": ("lambda", "function:{}", False),
    "AWS::Logs::LogGroup": ("logs", "log-group:{}:*", False),
    "AWS::S3::Bucket": ("s3", "{}", False),
    "AWS::SNS::Topic": ("sns", "{}", True),
    "AWS::SQS::Queue": ("sqs", "{}", False),
    "AWS::SageMaker::ModelPackageGroup": ("sagemaker", "model-package-group/{}", True),
    "AWS::StepFunctions::StateMachine": ("states", "stateMachine:{}", True),
}
_GLOBAL, _NO_ACCOUNT = {"cloudfront", "iam", "s3"}, {"s3"}
_WITH_IDS = ("AWS::ApiGateway::RestApi",)  # types that also have a name
_HASH = re.compile(r"[0-9a-f]{32,}")  # of an asset, which changes with its content


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A statement: its policy's logical id and its index."""

    policy: str
    index: int

    def __str__(self) -> str:
        return f"{self.policy}[{self.index}]"


class Policies:
    """The identity policies and boundaries of a template's roles.

    Args:
        template: The template.
    """

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._resources: Mapping[str, Any] = template["Resources"]
        self.roles: dict[str, list[str]] = {}
        self.boundaries: dict[str, str] = {}
        self.tags: dict[str, dict[str, str]] = {}
        for name, properties in self.of_type("AWS::IAM::Role"):
            self.roles[name] = [self._target(arn) for arn in properties.get("ManagedPolicyArns", ())]
            if "PermissionsBoundary" in properties:
                self.boundaries[name] = self._target(properties["PermissionsBoundary"])
            self.tags[name] = {tag["Key"]: self.text(tag["Value"]) for tag in properties.get("Tags", ())}
        self.documents: dict[str, list[dict[str, Any]]] = {}
        for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
            for name, properties in self.of_type(kind):
                self.documents[name] = [self.resolved(s) for s in listed(properties["PolicyDocument"]["Statement"])]
                for role in properties.get("Roles", ()):
                    self.roles[self._target(role)].append(name)
        self._parsed = {
            name: iam_evaluator.parse_policy_document({"Statement": list(document)})
            for name, document in self.documents.items()
        }

    def statements(self, effect: str) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the statements of role policies with an effect."""
        used = {name for names in self.roles.values() for name in names}
        for name in sorted(used):
            for index, statement in enumerate(self.documents[name]):
                if statement["Effect"] == effect:
                    yield Place(policy=name, index=index), statement

    def holders(self, policy: str) -> list[str]:
        """Return the roles that have a policy."""
        return [role for role, names in self.roles.items() if policy in names]

    def text(self, value: Any) -> str:
        """Return the text of a template value, with logical ids in place of generated names."""
        if not isinstance(value, Mapping):
            return str(value)
        ((function, given),) = value.items()
        if function == "Ref":
            return _PSEUDO.get(given) or self._reference(given)
        if function == "Fn::GetAtt":
            return self.attribute(*given)
        if function == "Fn::Join":
            return str(given[0]).join(self.text(part) for part in given[1])
        if function == "Fn::Select":
            parts = given[1]["Fn::Split"]
            return self.text(parts[1]).split(str(parts[0]))[int(given[0])]
        if function == "Fn::Sub":
            return re.sub(r"\$\{([^}]+)\}", lambda found: self._substituted(found[1]), given)
        if function == "Fn::ImportValue":
            return self.text(given)
        raise ValueError(f"a policy refers by {function}, of which there is no reading here")

    def names(self) -> list[str]:
        """Return the logical ids whose names may appear in a policy or a call."""
        return [logical_id for logical_id in self._resources if self.has(logical_id)]

    def has(self, logical_id: str) -> bool:
        """Return whether a resource's name may appear in a policy or a call."""
        kind = self._resources.get(logical_id, {}).get("Type")
        return kind in _ARNS or kind in ("AWS::EC2::SecurityGroup", "AWS::EC2::Subnet")

    def name(self, logical_id: str) -> str:
        """Return the name of a resource: the template's, or the logical id."""
        properties = self._resources.get(logical_id, {}).get("Properties", {})
        if self._resources.get(logical_id, {}).get("Type") in _WITH_IDS:
            return logical_id
        given = [properties[key] for key in _NAMES if isinstance(properties.get(key), str)]
        if "RoleName" in properties:  # other stacks refer to such a role
            given.append(self.text(properties["RoleName"]))
        return given[0] if given else logical_id

    def parsed(self, role: str, without: Place | None = None, widened: Any = None) -> list[list[Any]]:
        """Return a role's parsed policies, without one statement, or with another one in its place."""
        found = []
        for name in self.roles[role]:
            statements = list(self._parsed[name])
            if without is not None and without.policy == name:
                statements[without.index : without.index + 1] = [] if widened is None else [widened]
            found.append(statements)
        return found

    def limits(self, role: str, without: Place | None = None) -> list[list[list[Any]]]:
        """Return a role's parsed boundary, if it has one."""
        if role not in self.boundaries:
            return []
        name = self.boundaries[role]
        statements = list(self._parsed[name])
        if without is not None and without.policy == name:
            del statements[without.index]
        return [[statements]]

    def at(self, place: Place) -> Any:
        """Return a parsed statement."""
        return self._parsed[place.policy][place.index]

    def of_type(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the logical id and properties of each resource of a type."""
        for name, body in self._resources.items():
            if body["Type"] == kind:
                yield name, body.get("Properties", {})

    def _target(self, value: Mapping[str, Any]) -> str:
        return str(value.get("Ref") or value["Fn::GetAtt"][0])

    def _reference(self, logical_id: str) -> str:
        kind = self._resources[logical_id]["Type"]
        if _ARNS.get(kind, ("", "", False))[2]:
            return self.attribute(logical_id, "Arn")
        return self.name(logical_id)

    def _substituted(self, name: str) -> str:
        logical_id, _, attribute = name.partition(".")
        return self.attribute(logical_id, attribute) if attribute else self.text({"Ref": name})

    def attribute(self, logical_id: str, attribute: str = "Arn") -> str:
        """Return an attribute of a resource: its ARN, otherwise its name."""
        name = self.name(logical_id)
        if not attribute.endswith("Arn"):
            return name
        service, form, _ = _ARNS[self._resources[logical_id]["Type"]]
        region = "" if service in _GLOBAL else REGION
        return f"arn:aws:{service}:{region}:{'' if service in _NO_ACCOUNT else ACCOUNT}:{form.format(name)}"

    def resolved(self, value: Any) -> Any:
        """Return a value with every reference resolved to text."""
        if isinstance(value, Mapping):
            if len(value) == 1 and re.match(r"^(Ref|Fn::\w+)$", next(iter(value))):
                return _HASH.sub("N", self.text(value))
            return {key: self.resolved(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.resolved(inner) for inner in value]
        return _HASH.sub("N", value) if isinstance(value, str) else value


def listed(value: Any) -> list[Any]:
    """Return a policy value as a list."""
    return value if isinstance(value, list) else [value]
