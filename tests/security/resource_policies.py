"""Policies of a template's resources and their principals: keys, queues, topics, buckets, functions, role trusts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ministack.core import iam_evaluator
from tests.security.policies import Place, Policies, listed
from tests.security.units import ACCOUNT

ADMINISTRATOR = "administrator"  # a caller of the account whose own policies allow everything
Statement = Mapping[str, Any]
# a grant added later, as CDK's grants do: a resource's own statements must hold nevertheless
LATER_GRANT: Statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*"}
# the account's policies decide what the resource's policy leaves open
_DECIDES_ALONE = ("kms", "sts")


class ResourcePolicies:
    """The statements of each resource of a template.

    Args:
        policies: Policies of the template, which resolve resource names.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self.documents: dict[str, list[Statement]] = {}
        self._names: dict[str, str] = {}
        for kind, field, about in (
            ("AWS::S3::BucketPolicy", "Bucket", "arn:aws:s3:::{}"),
            ("AWS::SNS::TopicPolicy", "Topics", "{}"),
            ("AWS::SQS::QueuePolicy", "Queues", f"arn:aws:sqs:us-east-1:{ACCOUNT}:{{}}"),
        ):
            for name, properties in policies.of_type(kind):
                arns = [about.format(policies.text(value)) for value in listed(properties[field])]
                self._add(name, arns, properties["PolicyDocument"])
        for name, properties in policies.of_type("AWS::KMS::Key"):
            self._add(name, [policies.attribute(name)], properties["KeyPolicy"])
        for name, properties in policies.of_type("AWS::IAM::Role"):
            self._add(name, [policies.attribute(name)], properties["AssumeRolePolicyDocument"])
        for name, properties in policies.of_type("AWS::Lambda::Permission"):
            self._add(name, [policies.text(properties["FunctionName"])], {"Statement": _permission(properties)})

    def statements(self, effect: str) -> Iterator[tuple[Place, Statement]]:
        """Yield the statements with an effect."""
        for name, document in self.documents.items():
            for index, statement in enumerate(document):
                if statement["Effect"] == effect:
                    yield Place(policy=name, index=index), statement

    def policy_of(self, resource: str) -> str | None:
        """Return the logical id of a resource's policy, by its ARN or that of an object in a bucket."""
        arn = resource.partition("/")[0] if resource.startswith("arn:aws:s3:::") else resource
        return self._names.get(arn)

    def document(
        self, resource: str, without: Place | None = None, widened: Statement | None = None
    ) -> list[Statement] | None:
        """Return the statements of a resource's policy; None without a policy.

        Args:
            resource: Its ARN.
            without: A statement to remove. Default: none.
            widened: Its replacement. Default: none.
        """
        name = self.policy_of(resource)
        if name is None:
            return None
        statements = list(self.documents[name])
        if without is not None and without.policy == name:
            statements[without.index : without.index + 1] = [] if widened is None else [widened]
        return statements

    def _add(self, name: str, arns: Sequence[str], document: Mapping[str, Any]) -> None:
        self.documents[name] = [self._policies.resolved(statement) for statement in listed(document["Statement"])]
        self._names.update(dict.fromkeys(arns, name))


def decision(
    context: iam_evaluator.EvalContext,
    caller: str,
    document: Sequence[Statement],
    identity: iam_evaluator.EvalResult,
    limits: Sequence[Any] = (),
) -> str:
    """Decide a call by a resource's policy and the decision of the caller's own policies.

    Args:
        context: The call.
        caller: A role, `ADMINISTRATOR`, or a service principal, which has no policies.
        document: The resource's statements.
        identity: Decision of the caller's own policies.
        limits: The caller's boundary. Default: none.
    """
    policy = {"Statement": list(document)}
    if caller.endswith(".amazonaws.com"):
        return str(iam_evaluator.evaluate_resource_policy(policy, context, service=caller).decision)
    alone = context.action.partition(":")[0] in _DECIDES_ALONE
    combined = iam_evaluator.combine_resource_policy(
        identity, context, policy, ACCOUNT, required=alone, limits=tuple(limits)
    )
    return str(combined.decision)


def _permission(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Lambda writes such a statement for ``AddPermission``."""
    conditions: dict[str, Any] = {}
    if "SourceArn" in properties:
        conditions["ArnLike"] = {"AWS:SourceArn": properties["SourceArn"]}
    if "SourceAccount" in properties:
        conditions["StringEquals"] = {"AWS:SourceAccount": properties["SourceAccount"]}
    return {
        "Effect": "Allow",
        "Principal": {"Service": properties["Principal"]},
        "Action": properties["Action"],
        "Resource": properties["FunctionName"],
        "Condition": conditions,
    }
