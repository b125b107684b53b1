"""Allow statements of the policies in templates, with their resources."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from mlops_constructs.compliance.assembly import Assembly, Resource

# property of the document, and property that refers to the protected resource; None if it is the same resource
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
    """One Allow statement of a policy document in a resource."""

    resource: Resource
    body: Mapping[str, Any]
    index: int

    @property
    def actions(self) -> list[str]:
        """Actions in lower case: IAM ignores case."""
        return [self.resource.text(action).lower() for action in as_list(self.body.get("Action"))]

    @property
    def condition_keys(self) -> frozenset[str]:
        """Condition keys in lower case: IAM ignores case."""
        conditions = self.body.get("Condition") or {}
        return frozenset(key.lower() for tests in conditions.values() if isinstance(tests, Mapping) for key in tests)

    def principals(self, kind: str) -> list[Any]:
        """Return the principals of a kind, such as ``AWS`` or ``Service``; a bare ``*`` is of kind ``AWS``."""
        principal = self.body.get("Principal")
        if principal == "*":
            return ["*"] if kind == "AWS" else []
        return as_list(principal.get(kind)) if isinstance(principal, Mapping) else []


def as_list(value: Any) -> list[Any]:
    """Return a policy element as a list; a single value may be given without one."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def allowed(resource: Resource, document: object) -> Iterator[Statement]:
    """Yield the Allow statements of a policy document, or of a single statement."""
    if not isinstance(document, Mapping):
        return
    for index, body in enumerate(as_list(document.get("Statement", document))):
        if isinstance(body, Mapping) and body.get("Effect") == "Allow":
            yield Statement(resource=resource, body=body, index=index)


def identity_statements(assembly: Assembly) -> Iterator[Statement]:
    """Yield the Allow statements of identity policies, including inline ones."""
    for resource in assembly.of(*_IDENTITY_POLICIES):
        yield from allowed(resource, resource.properties.get("PolicyDocument"))
    for resource in assembly.of("AWS::IAM::Role", "AWS::IAM::User", "AWS::IAM::Group"):
        for policy in as_list(resource.properties.get("Policies")):
            yield from allowed(resource, policy.get("PolicyDocument"))


def resource_statements(assembly: Assembly) -> Iterator[tuple[Statement, Resource]]:
    """Yield the Allow statements of resource policies, with the resource that each protects."""
    for resource in assembly.of(*RESOURCE_POLICIES):
        document, protects = RESOURCE_POLICIES[resource.type]
        owner = resource if protects is None else resource.target(resource.properties.get(protects)) or resource
        for statement in allowed(resource, resource.properties.get(document)):
            yield statement, owner


def policies_of(assembly: Assembly, role: Resource) -> Iterator[Statement]:
    """Yield the Allow statements of a role's inline and attached policies in the app."""
    yield from _statements_by_owner(assembly).get(role, ())
    for managed in role.template.mentioned(role.properties.get("ManagedPolicyArns")):
        if managed.type == "AWS::IAM::ManagedPolicy":
            yield from allowed(managed, managed.properties.get("PolicyDocument"))


@lru_cache(maxsize=2)  # many rules need the policies of every role
def _statements_by_owner(assembly: Assembly) -> Mapping[Resource, Sequence[Statement]]:
    """Return the Allow statements of identity policies by the resource that contains them or that they are attached to."""
    found: dict[Resource, list[Statement]] = {}
    for policy, statements in groupby(identity_statements(assembly), lambda statement: statement.resource):
        listed = list(statements)
        attached = [*as_list(policy.properties.get("Roles")), *as_list(policy.properties.get("RoleName"))]
        for owner in dict.fromkeys((policy, *policy.template.mentioned(attached))):
            found.setdefault(owner, []).extend(listed)
    return found
