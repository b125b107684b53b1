"""Statements of the policies in templates: whose they are, and what they allow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from mlops_constructs.compliance.assembly import Assembly, Resource

# property of the document, property of what it protects; without the latter it protects itself
RESOURCE_POLICIES: dict[str, tuple[str, str | None]] = {
    "AWS::ECR::Repository": ("RepositoryPolicyText", None),
    "AWS::KMS::Key": ("KeyPolicy", None),
    "AWS::S3::BucketPolicy": ("PolicyDocument", "Bucket"),
    "AWS::SecretsManager::ResourcePolicy": ("ResourcePolicy", "SecretId"),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", "Topics"),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", "Queues"),
    "AWS::Events::EventBusPolicy": ("Statement", "EventBusName"),
    "AWS::SageMaker::ModelPackageGroup": ("ModelPackageGroupPolicy", None),
}
_IDENTITY_POLICIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement that allows something, of the document in a resource."""

    resource: Resource
    body: Mapping[str, Any]
    index: int

    @property
    def actions(self) -> list[str]:
        """Its actions in lower case, which IAM ignores."""
        return [self.resource.text(action).lower() for action in as_list(self.body.get("Action"))]

    @property
    def condition_keys(self) -> frozenset[str]:
        """Its condition keys in lower case, which IAM ignores."""
        conditions = self.body.get("Condition") or {}
        return frozenset(key.lower() for tests in conditions.values() if isinstance(tests, Mapping) for key in tests)

    def principals(self, kind: str) -> list[Any]:
        """Return its principals of a kind, such as ``AWS`` or ``Service``; ``*`` alone is one of kind ``AWS``."""
        principal = self.body.get("Principal")
        if principal == "*":
            return ["*"] if kind == "AWS" else []
        return as_list(principal.get(kind)) if isinstance(principal, Mapping) else []


def as_list(value: Any) -> list[Any]:
    """Return a policy's value as a list: one value may stand without one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def allowed(resource: Resource, document: object) -> Iterator[Statement]:
    """Yield the statements of a policy document, or a single statement, that allow something."""
    if not isinstance(document, Mapping):
        return
    for index, body in enumerate(as_list(document.get("Statement", document))):
        if isinstance(body, Mapping) and body.get("Effect") == "Allow":
            yield Statement(resource=resource, body=body, index=index)


def identity_statements(assembly: Assembly) -> Iterator[Statement]:
    """Yield what policies of roles, users and groups allow, inline ones too."""
    for resource in assembly.of(*_IDENTITY_POLICIES):
        yield from allowed(resource, resource.properties.get("PolicyDocument"))
    for resource in assembly.of("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group"):
        for policy in as_list(resource.properties.get("Policies")):
            yield from allowed(resource, policy.get("PolicyDocument"))


def resource_statements(assembly: Assembly) -> Iterator[tuple[Statement, Resource]]:
    """Yield what policies of buckets, keys, topics, queues and the like allow, with what they protect."""
    for resource in assembly.of(*RESOURCE_POLICIES):
        document, protects = RESOURCE_POLICIES[resource.type]
        owner = resource if protects is None else resource.target(resource.properties.get(protects)) or resource
        for statement in allowed(resource, resource.properties.get(document)):
            yield statement, owner


def policies_of(assembly: Assembly, role: Resource) -> Iterator[Statement]:
    """Yield what a role's own, attached and inline policies of the app allow."""
    yield from _statements_by_owner(assembly).get(role, ())
    for managed in role.template.mentioned(role.properties.get("ManagedPolicyArns")):
        if managed.type == "AWS::IAM::ManagedPolicy":
            yield from allowed(managed, managed.properties.get("PolicyDocument"))


@lru_cache(maxsize=2)  # many rules ask for the policies of every role
def _statements_by_owner(assembly: Assembly) -> Mapping[Resource, Sequence[Statement]]:
    """Return what the policies that stand in a resource, or name it as one they are attached to, allow."""
    found: dict[Resource, list[Statement]] = {}
    for policy, statements in groupby(identity_statements(assembly), lambda statement: statement.resource):
        listed = list(statements)
        attached = [*as_list(policy.properties.get("Roles")), *as_list(policy.properties.get("RoleName"))]
        for owner in dict.fromkeys((policy, *policy.template.mentioned(attached))):
            found.setdefault(owner, []).extend(listed)
    return found
