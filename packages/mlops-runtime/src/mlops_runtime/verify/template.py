"""A template before its deployment: its machines and policies, with placeholders for values that CloudFormation resolves."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# ARN formats of the services; the last part is the logical id
_ARNS = {
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:{region}:{account}:table/{id}",
    "AWS::Events::EventBus": "arn:aws:events:{region}:{account}:event-bus/{id}",
    "AWS::IAM::ManagedPolicy": "arn:aws:iam::{account}:policy/{id}",
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{id}",
    "AWS::KMS::Key": "arn:aws:kms:{region}:{account}:key/00000000-0000-0000-0000-000000000000",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{id}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{id}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{bucket}",
    "AWS::SNS::Topic": "arn:aws:sns:{region}:{account}:{id}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{id}",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:{region}:{account}:stateMachine:{id}",
}
_IS_ARN_BY_REF = ("AWS::IAM::ManagedPolicy", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One Allow statement of a policy of the template."""

    policy: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    has_conditions: bool


class Template:
    """A template of an assembly."""

    def __init__(self, document: Mapping[str, Any], *, account: str, region: str) -> None:
        self.document = document
        self._values = {"account": account, "region": region}

    def machines(self) -> dict[str, str]:
        """Return the definition of each state machine by logical id."""
        return {
            name: self._text(body["Properties"]["DefinitionString"])
            for name, body in self._of("AWS::StepFunctions::StateMachine")
        }

    def policies(self) -> dict[str, str]:
        """Return each managed policy as JSON by logical id."""
        return {
            name: json.dumps(self._filled(body["Properties"]["PolicyDocument"]))
            for name, body in self._of("AWS::IAM::ManagedPolicy")
        }

    def statements(self) -> Iterator[Statement]:
        """Yield the Allow statements of the managed policies that have actions and resources."""
        for name, text in self.policies().items():
            for statement in json.loads(text)["Statement"]:
                if statement["Effect"] == "Allow" and "Action" in statement and "Resource" in statement:
                    yield Statement(
                        policy=name,
                        actions=_listed(statement["Action"]),
                        resources=_listed(statement["Resource"]),
                        has_conditions="Condition" in statement,
                    )

    def interface_services(self) -> list[str]:
        """Return the names of the services that the network reaches by interface endpoints."""
        return sorted(
            self._text(body["Properties"]["ServiceName"])
            for _, body in self._of("AWS::EC2::VPCEndpoint")
            if body["Properties"].get("VpcEndpointType") == "Interface"
        )

    def count(self, resource_type: str) -> int:
        """Return the number of resources of a type."""
        return len(list(self._of(resource_type)))

    def _of(self, resource_type: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        return ((n, b) for n, b in self.document["Resources"].items() if b["Type"] == resource_type)

    def _text(self, value: Any) -> str:
        filled = self._filled(value)
        return filled if isinstance(filled, str) else json.dumps(filled)

    def _filled(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(str(argument))
            if name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: self._filled(item) for key, item in value.items()}

    def _function(self, name: str, argument: Any) -> str:
        if name == "Fn::Join":
            separator, parts = argument
            return str(separator).join(map(self._text, parts))
        if name == "Fn::GetAtt":
            logical_id, attribute = argument if isinstance(argument, list) else str(argument).split(".", 1)
            arn = self._arn(logical_id)
            return arn if arn is not None and "Arn" in attribute else f"{logical_id}-{attribute}"
        return "unknown"

    def _ref(self, name: str) -> str:
        pseudo = {
            "AWS::AccountId": self._values["account"],
            "AWS::Partition": "aws",
            "AWS::Region": self._values["region"],
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        body = self.document["Resources"].get(name, {})
        if body.get("Type") in _IS_ARN_BY_REF:
            return str(self._arn(name))
        return _bucket(name) if body.get("Type") == "AWS::S3::Bucket" else name

    def _arn(self, logical_id: str) -> str | None:
        pattern = _ARNS.get(self.document["Resources"].get(logical_id, {}).get("Type", ""))
        return None if pattern is None else pattern.format(id=logical_id, bucket=_bucket(logical_id), **self._values)


def _bucket(logical_id: str) -> str:
    return logical_id.lower()[:63]


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))
