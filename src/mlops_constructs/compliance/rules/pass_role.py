"""A role is passed to the service it is made for, and to no other."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.policies import identity_statements
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

_ACTIONS = {"*", "iam:*", "iam:pass*", "iam:passrole"}


def _check(assembly: Assembly) -> Iterator[Violation]:
    for statement in identity_statements(assembly):
        if _ACTIONS.intersection(statement.actions) and "iam:passedtoservice" not in statement.condition_keys:
            yield violation(statement.resource, f"PolicyDocument.Statement.{statement.index}", str(statement.index))


RULE = Rule(
    id="PassRole",
    problem="A policy lets its holder pass a role to any service, and so run code of its own with it.",
    fix="Add the condition StringEquals iam:PassedToService with the one service.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html",
    check=_check,
)
