"""Rules for policies: principals, keys, passed roles, confused deputies."""

import re
from collections.abc import Iterator

from mlops_constructs.compliance.assembly import Assembly, Resource
from mlops_constructs.compliance.policies import Statement, allowed, identity_statements, resource_statements
from mlops_constructs.compliance.rules._rule import Rule, Violation, violation

_ACTIONS = {"*", "iam:*", "iam:pass*", "iam:passrole"}

_UNIT_TAG = "mlops:unit"
_ACCOUNT = re.compile(r"(?:arn:[^:]*:(?:iam|sts)::)?(?P<account>\d{12}|\$\{AWS::AccountId\})(?::(?P<rest>.+))?")
# condition keys that limit a wildcard principal to known callers
_BINDS = re.compile(r"aws:(source|principal)(arn|account|org\w+|vpce?)|kms:calleraccount|s3:dataaccesspointaccount")

# services that send their account when they assume a role; Lambda does not, and a condition would deny it
_SERVICES = {
    f"{name}.amazonaws.com"
    for name in ("bedrock", "events", "firehose", "pipes", "sagemaker", "scheduler", "states", "vpc-flow-logs")
}
_SOURCES = {"aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourceorgpaths"}


def _key_policy(assembly: Assembly) -> Iterator[Violation]:
    for key in assembly.of("AWS::KMS::Key", "AWS::KMS::ReplicaKey"):
        for statement in allowed(key, key.get("KeyPolicy")):
            if "*" in map(key.text, statement.principals("AWS")) and not statement.condition_keys:
                yield violation(key, f"KeyPolicy.Statement.{statement.index}")


KEY_POLICY = Rule(
    id="KeyPolicy",
    problem="The key's policy allows every principal of every account, without a condition.",
    fix="Use the account's root or roles as principal, or limit the statement by kms:CallerAccount and kms:ViaService.",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html",
    check=_key_policy,
)


def _pass_role(assembly: Assembly) -> Iterator[Violation]:
    for statement in identity_statements(assembly):
        if _ACTIONS.intersection(statement.actions) and "iam:passedtoservice" not in statement.condition_keys:
            yield violation(statement.resource, f"PolicyDocument.Statement.{statement.index}", str(statement.index))


PASS_ROLE = Rule(
    id="PassRole",
    problem="A policy allows passing a role to any service, and so running code with that role.",
    fix="Add the condition StringEquals iam:PassedToService with the one service.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html",
    check=_pass_role,
)


def _policy_principal(assembly: Assembly) -> Iterator[Violation]:
    for statement, owner in resource_statements(assembly):
        for principal in statement.principals("AWS"):
            detail = _foreign(statement, owner, principal)
            if detail is not None:
                yield violation(statement.resource, f"Statement.{statement.index}.Principal", detail)


def _foreign(statement: Statement, owner: Resource, principal: object) -> str | None:
    text = statement.resource.text(principal)
    if text == "*":
        is_bound = any(_BINDS.fullmatch(key) for key in statement.condition_keys)
        # KeyPolicy covers keys
        return None if is_bound or owner.type == "AWS::KMS::Key" else "*"
    role = statement.resource.target(principal)
    if role is not None:
        return None if _is_one_unit(owner, role) else role.logical_id
    match = _ACCOUNT.fullmatch(text)
    if match is None:
        return None  # a token without an account, such as the ARN of an imported role
    if match["account"] == "${AWS::AccountId}":
        # the root principal delegates to the account's own policies, which are checked for each role
        return None if match["rest"] in (None, "root") else match["rest"]
    return match["account"]


def _is_one_unit(owner: Resource, role: Resource) -> bool:
    units = owner.tags.get(_UNIT_TAG), role.tags.get(_UNIT_TAG)
    return units[0] == units[1] and (units[0] is not None or owner.template.name == role.template.name)


POLICY_PRINCIPAL = Rule(
    id="PolicyPrincipal",
    problem="A policy allows a principal of another unit or account, or any principal.",
    fix="Use roles of the same unit, or limit the principal by aws:PrincipalOrgID, aws:PrincipalAccount or aws:SourceArn.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html",
    check=_policy_principal,
)


def _trust_source(assembly: Assembly) -> Iterator[Violation]:
    for role in assembly.of("AWS::IAM::Role"):
        for statement in allowed(role, role.get("AssumeRolePolicyDocument")):
            for service in _SERVICES.intersection(map(role.text, statement.principals("Service"))):
                if not _SOURCES & statement.condition_keys:
                    yield violation(role, f"AssumeRolePolicyDocument.Statement.{statement.index}", service)


TRUST_SOURCE = Rule(
    id="TrustSource",
    problem="The role trusts a service without a source condition, so another account's resource may use it (confused deputy).",
    fix="Add the condition StringEquals aws:SourceAccount, and ArnLike aws:SourceArn if the source is known.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
    check=_trust_source,
)
