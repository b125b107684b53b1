"""A role trusts a service only where it acts for this account."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.policies import allowed
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

# services that send their account when they assume a role; Lambda sends none, and its roles would be locked
_SERVICES = {
    f"{name}.amazonaws.com"
    for name in ("bedrock", "events", "firehose", "pipes", "sagemaker", "scheduler", "states", "vpc-flow-logs")
}
_SOURCES = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for role in assembly.of("AWS::IAM::Role"):
        for statement in allowed(role, role.get("AssumeRolePolicyDocument")):
            for service in _SERVICES.intersection(map(role.text, statement.principals("Service"))):
                if not _SOURCES & statement.condition_keys:
                    yield violation(role, f"AssumeRolePolicyDocument.Statement.{statement.index}", service)


RULE = Rule(
    id="TrustSource",
    problem="The role trusts a service whoever it acts for, so that another account's resource may use it (confused deputy).",
    fix="Add the condition StringEquals aws:SourceAccount, and ArnLike aws:SourceArn where the source is known.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
    check=_check,
)
