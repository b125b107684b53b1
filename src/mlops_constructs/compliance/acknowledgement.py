"""Acknowledge one finding of a checker on one construct, with a reason that a reviewer can assess.

cdk-nag 3 reads acknowledgements from CDK's own validation framework. Only the qualified id ``Pack::Pack-Rule[Finding]`` keeps the
reason in the report, and only an exact id matches: no prefix, no pattern.
"""

import json
import re
from collections.abc import Mapping, Sequence

import aws_cdk as cdk

from constructs import IConstruct
from mlops_constructs._validation import ValidationError

MINIMUM_REASON = 40
_RULE = re.compile(
    r"(?P<pack>AwsSolutions|HIPAA\.Security|NIST\.800\.53\.R[45]|PCI\.DSS\.321|Serverless|Mlops)-\w+(\[.+\])?"
)

_HIPAA, _R4, _R5, _PCI = "HIPAA.Security", "NIST.800.53.R4", "NIST.800.53.R5", "PCI.DSS.321"
RULE_FAMILIES: dict[str, tuple[str, ...]] = {
    "ALBHttpToHttpsRedirection": (_HIPAA, _R4, _R5, _PCI),
    "ALBWAFEnabled": (_R4, _R5, _PCI),
    "APIGWCacheEnabledAndEncrypted": (_HIPAA, _R4, _R5, _PCI),
    "APIGWExecutionLoggingEnabled": (_HIPAA, _R4, _R5, _PCI),
    "APIGWSSLEnabled": (_HIPAA, _R5, _PCI),
    "CloudWatchAlarmAction": (_HIPAA, _R4, _R5),
    "DynamoDBInBackupPlan": (_HIPAA, _R4, _R5),
    "ELBDeletionProtectionEnabled": (_HIPAA, _R4, _R5),
    "ELBv2ACMCertificateRequired": (_HIPAA, _R5, _PCI),
    "IAMPolicyNoStatementsWithFullAccess": (_HIPAA, _R5, _PCI),
    "LambdaConcurrency": (_HIPAA, _R5),
    "LambdaDLQ": (_HIPAA, _R5, "Serverless"),
    "LambdaEventSourceMappingDestination": ("Serverless",),
    "S3BucketDefaultLockEnabled": (_R4,),
    "S3BucketLoggingEnabled": (_HIPAA, _R4, _R5, _PCI),
    "S3BucketReplicationEnabled": (_HIPAA, _R4, _R5, _PCI),
    "S3DefaultEncryptionKMS": (_HIPAA, _R5, _PCI),
    "SQSRedrivePolicy": ("Serverless",),
    "SageMakerEndpointConfigurationKMSKeyConfigured": (_HIPAA, _R4, _R5, _PCI),
    "SecretsManagerRotationEnabled": (_HIPAA, _R5),
    "WAFv2LoggingEnabled": (_HIPAA, _R4, _R5, _PCI),
    "VPCDefaultSecurityGroupClosed": (_HIPAA, _R4, _R5, _PCI),
}


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Acknowledge one finding on a construct and its children.

    Args:
        construct: The construct with the finding; not a stack or an app.
        rule: The exact id as the pack reports it, such as ``AwsSolutions-IAM5[Resource::*]``.
        reason: Why the finding is accepted and which alternative was rejected; at least 40 characters.

    Raises:
        ValidationError: If the id is not a rule of a pack, the reason is too short, or the construct is a stack.

    Example:
        >>> acknowledge(queue, "Serverless-SQSRedrivePolicy", "it is itself where dead letters end; one more is never read")
    """
    acknowledge_all(construct, [rule], reason)


def acknowledge_family(construct: IConstruct, rule: str, reason: str) -> None:
    """Acknowledge a rule that several packs have under the same name, such as ``S3BucketReplicationEnabled``.

    Args:
        construct: The construct with the finding.
        rule: A key of ``RULE_FAMILIES``.
        reason: Why the finding is accepted and which alternative was rejected; at least 40 characters.

    Raises:
        ValidationError: If the rule is not a family, or for the same reasons as ``acknowledge``.
    """
    if rule not in RULE_FAMILIES:
        problem = f"rule must be one of {', '.join(sorted(RULE_FAMILIES))}, got {rule!r}"
        raise ValidationError("InvalidAcknowledgement", [problem], construct)
    acknowledge_all(construct, [f"{pack}-{rule}" for pack in RULE_FAMILIES[rule]], reason)


def acknowledge_all(construct: IConstruct, rules: Sequence[str], reason: str) -> None:
    """Acknowledge several findings on one construct for the same reason.

    Args:
        construct: As for ``acknowledge``.
        rules: Exact ids; may be empty.
        reason: As for ``acknowledge``.

    Raises:
        ValidationError: As ``acknowledge``, with every problem.
    """
    if not rules:
        return
    matches = {rule: _RULE.fullmatch(rule) for rule in rules}
    problems = [
        f"rule must be an exact id such as 'AwsSolutions-IAM5[Resource::*]', got {rule!r}"
        for rule, match in matches.items()
        if match is None
    ]
    if len(reason) < MINIMUM_REASON:
        problems.append(
            f"reason must have at least {MINIMUM_REASON} characters, got {reason!r}; name the rejected alternative"
        )
    # isinstance and not Stack.is_stack: a call to Node.js for each of hundreds of acknowledgements would dominate the synthesis
    if isinstance(construct, cdk.Stack | cdk.Stage):
        problems.append(
            f"construct must be the one with the finding, got the whole stack or stage {construct.node.id!r}"
        )
    if problems:
        raise ValidationError("InvalidAcknowledgement", problems, construct)
    acknowledged = [
        cdk.Acknowledgment(id=f"{match['pack']}::{rule}", reason=reason) for rule, match in matches.items() if match
    ]
    cdk.Validations.of(construct).acknowledge(*acknowledged)


def wildcard_findings(document: Mapping[str, object]) -> list[str]:
    """Return the findings of cdk-nag's rule IAM5 in a policy document, one for each wildcard, as ``acknowledge_all`` takes them.

    Args:
        document: The document, resolved by its stack.

    Example:
        >>> wildcard_findings({"Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::data/x"}]})
        ['AwsSolutions-IAM5[Action::s3:Get*]']
    """
    found: dict[str, None] = {}
    for statement in as_list(document.get("Statement", [])):
        if not isinstance(statement, Mapping):
            raise TypeError(f"a statement of a policy is an object, got {statement!r}")
        if statement.get("Effect") != "Allow":
            continue
        found |= {f"Action::{a}": None for a in as_list(statement.get("Action")) if "*" in str(a)}
        resources = (_flatten(r) for r in as_list(statement.get("Resource")))
        found |= {f"Resource::{r}": None for r in resources if "*" in r}
    return [f"AwsSolutions-IAM5[{finding}]" for finding in found]


def as_list(value: object) -> list[object]:
    """Return a policy element, which may be a single value or a list, as a list."""
    return list(value) if isinstance(value, list) else [value]


def _flatten(reference: object) -> str:
    """Return the string by which cdk-nag identifies a reference in a finding's id."""
    if isinstance(reference, str):
        return reference.replace("${", "<").replace("}", ">")
    if isinstance(reference, Mapping) and len(reference) == 1:
        key, inner = next(iter(reference.items()))
        if key == "Fn::Join":
            return str(inner[0]).join(_flatten(part) for part in inner[1])
        if key == "Fn::GetAtt":
            return f"<{_flatten(inner[0])}.{_flatten(inner[1])}>"
        if key == "Ref":
            return f"<{_flatten(inner)}>"
        if key in ("Fn::ImportValue", "Fn::Sub"):
            return _flatten(inner)
    return json.dumps(reference, separators=(",", ":"))
