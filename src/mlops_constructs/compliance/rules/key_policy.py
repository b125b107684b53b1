"""A key's policy names who may use it."""

from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly
from mlops_constructs.compliance.policies import allowed
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation


def _check(assembly: Assembly) -> Iterator[Violation]:
    for key in assembly.of("AWS::KMS::Key", "AWS::KMS::ReplicaKey"):
        for statement in allowed(key, key.get("KeyPolicy")):
            if "*" in map(key.text, statement.principals("AWS")) and not statement.condition_keys:
                yield violation(key, f"KeyPolicy.Statement.{statement.index}")


RULE = Rule(
    id="KeyPolicy",
    problem="The key's policy allows every principal of every account, without a condition.",
    fix="Name the account's root or roles, or bind the statement by kms:CallerAccount and kms:ViaService.",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html",
    check=_check,
)
