"""Buckets, keys, topics and queues let in their own unit alone."""

import re
from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.policies import Statement, resource_statements
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

_UNIT_TAG = "mlops:unit"
_ACCOUNT = re.compile(r"(?:arn:[^:]*:(?:iam|sts)::)?(?P<account>\d{12}|\$\{AWS::AccountId\})(?::(?P<rest>.+))?")
# conditions that bind an open principal to known callers
_BINDS = re.compile(r"aws:(source|principal)(arn|account|org\w+|vpce?)|kms:calleraccount|s3:dataaccesspointaccount")


def _check(assembly: Assembly) -> Iterator[Violation]:
    for statement, owner in resource_statements(assembly):
        for principal in statement.principals("AWS"):
            detail = _foreign(statement, owner, principal)
            if detail is not None:
                yield violation(statement.resource, f"Statement.{statement.index}.Principal", detail)


def _foreign(statement: Statement, owner: Resource, principal: object) -> str | None:
    text = statement.resource.text(principal)
    if text == "*":
        is_bound = any(_BINDS.fullmatch(key) for key in statement.condition_keys)
        # a key's own rule speaks of keys
        return None if is_bound or owner.type == "AWS::KMS::Key" else "*"
    role = statement.resource.target(principal)
    if role is not None:
        return None if _is_one_unit(owner, role) else role.logical_id
    match = _ACCOUNT.fullmatch(text)
    if match is None:
        return None  # an imported role, whose account says who it is
    if match["account"] == "${AWS::AccountId}":
        # the root stands for the account's own policies, by which each role is judged
        return None if match["rest"] in (None, "root") else match["rest"]
    return match["account"]


def _is_one_unit(owner: Resource, role: Resource) -> bool:
    units = owner.tags.get(_UNIT_TAG), role.tags.get(_UNIT_TAG)
    return units[0] == units[1] and (units[0] is not None or owner.template.name == role.template.name)


RULE = Rule(
    id="PolicyPrincipal",
    problem="A policy lets in a principal of another unit or account, or anybody.",
    fix="Name roles of the own unit, or bind the principal by aws:PrincipalOrgID, aws:PrincipalAccount or aws:SourceArn.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html",
    check=_check,
)
