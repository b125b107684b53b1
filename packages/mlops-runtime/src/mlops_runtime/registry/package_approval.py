"""Validity of approvals by approver, time and content, and requests that approve or reject a package."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model_manifest import TRUSTED, Trust, trust_refusal
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment
from mlops_runtime.registry.model_package import (
    PackageError,
    RegisteredPackage,
    container_sha256,
    read_package,
    version_of,
)

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType
    from mypy_boto3_sagemaker.type_defs import UpdateModelPackageInputTypeDef

BY_POLICY = "approved by policy"  # prefix of the Retrain machine's approvals, forbidden in a person's
MAX_WAIT_SECONDS = 6 * 3600  # longest time for which an offered release may stay open
MAXIMUM_REASON = 900  # of the 1,024 characters of an ApprovalDescription

_BINDING = re.compile(r"\[binding ([0-9a-f]{64})\]")
_TRUST = re.compile(r"\[trust \w+\]")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
_SESSION = re.compile(r"arn:([a-z-]+):sts::(\d{12}):assumed-role/([\w+=,.@-]+)/[\w+=,.@-]+", re.ASCII)
_ROLE = re.compile(r"arn:([a-z-]+):iam::(\d{12}):role/(?:[!-.0-~]+/)*([\w+=,.@-]+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Rule for approvals of one group's packages: approvers, timeout after the registration, and location of the artifact.

    ``approvers`` are ARNs of the roles that people assume, ``machines`` those of the Retrain machines that approve by policy.
    ``artifacts`` are the locations, ``s3://<bucket>/models/<name>/`` of an endpoint or pipeline, that the roles of the group's
    endpoints may read; without any, the location is not checked. ``trust`` lists the allowed effects of loading a model. Default:
    reading data and running code of the model itself.

    Example:
        >>> ApprovalRule.from_environment({"APPROVAL": '{"approvers": ["arn:aws:iam::123456789012:role/Approver"]}'}).machines
        ()
    """

    approvers: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    timeout_seconds: int | None = None
    artifacts: tuple[str, ...] = ()
    trust: tuple[Trust, ...] | None = None
    format: Literal["mlops.approval-rule/1"] = "mlops.approval-rule/1"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ApprovalRule":
        """Read the rule from ``APPROVAL``, which ``ModelRegistry.approval_environment`` sets.

        An endpoint of another stack's registry has the owner's ``RegistryEntry`` in ``REGISTRY`` instead, and in ``MODELS`` a list
        of the locations that its own role may read.

        Raises:
            KeyError: If the variable is missing.
            ContractError: If it is not a rule.
        """
        if "REGISTRY" not in environ:
            return from_json(cls, environ["APPROVAL"])
        return replace(
            from_json(RegistryEntry, environ["REGISTRY"]).rule, artifacts=tuple(json.loads(environ["MODELS"]))
        )


def approval_problems(
    description: Mapping[str, Any], package: RegisteredPackage, *, rule: ApprovalRule, now: datetime
) -> list[str]:
    """Return why the approval of a package does not count; empty if it counts.

    Args:
        description: Response of DescribeModelPackage.
        package: The package, read from it by ``read_package``.
        rule: Rule of the group.
        now: Current time of the cloud; an approval without a time counts as given now.
    """
    if not package.is_approved:
        return [f"it is {package.approval} ({package.status}); approve it first"]
    given = description.get("LastModifiedTime", now)
    return [
        *_identity_problems(description, rule),
        *timeout_problems(description, rule=rule, at=given),
        *location_problems(description, rule=rule),
        *trust_problems(package.spec.flavor, package.spec.trust, allowed=rule.trust),
        *_binding_problems(description, package),
    ]


def timeout_problems(description: Mapping[str, Any], *, rule: ApprovalRule, at: datetime) -> list[str]:
    """Return why a package may not be approved at a time: it was registered too long ago."""
    if rule.timeout_seconds is None:
        return []
    waited, allowed = at - description["CreationTime"], timedelta(seconds=rule.timeout_seconds)
    if waited <= allowed:
        return []
    return [
        f"approved {_span(waited)} after it was registered, at most {_span(allowed)} are allowed, as its training set becomes "
        "stale; retrain and approve the new package"
    ]


def location_problems(description: Mapping[str, Any], *, rule: ApprovalRule) -> list[str]:
    """Return why a package could not be loaded: no endpoint of the group may read the location of its artifact.

    Example:
        >>> rule = ApprovalRule(artifacts=("s3://artifacts/models/demand-forecast/",))
        >>> containers = [{"ModelDataUrl": "s3://artifacts/models/demand-forecast/by-hand/model.tar.gz"}]
        >>> location_problems({"InferenceSpecification": {"Containers": containers}}, rule=rule)
        []
    """
    containers = description.get("InferenceSpecification", {}).get("Containers", [])
    found = [str(container.get("ModelDataUrl", "")) for container in containers]
    allowed = " or ".join(rule.artifacts)
    return [
        f"the artefact must be below {allowed}, as the endpoint's role may read nothing else, got {uri!r}; copy it there and "
        "register the package again"
        for uri in found
        if rule.artifacts and not uri.startswith(rule.artifacts)
    ]


def trust_problems(flavor: str | None, trust: str | None, *, allowed: Sequence[str] | None) -> list[str]:
    """Return why a registry rejects a model: loading it may have effects that the registry does not allow.

    Args:
        flavor: Flavor that loads it; ``None`` for ONNX, which is data.
        trust: Trust that loading it requires; ``None`` for ONNX.
        allowed: Trust that the registry allows. ``None``: data and code.

    Example:
        >>> trust_problems("lightgbm", "data", allowed=None)
        []
    """
    allowed = TRUSTED if allowed is None else allowed
    if trust is None or trust in allowed:
        return []
    return [trust_refusal("the model", flavor, trust, allowed=allowed)]


def is_automatic(description: Mapping[str, Any]) -> bool:
    """Return whether a package was approved by policy, not by a person.

    ``approval_problems`` reports a package whose description and approver disagree on that.
    """
    return str(description.get("ApprovalDescription", "")).startswith(BY_POLICY)


def approval_description(reason: str, *, bound: str, trust: str | None = None) -> str:
    """Return the ApprovalDescription of a person's approval: the reason, and the hash of the approved content.

    Args:
        reason: Reason, in one line.
        bound: ``container_sha256`` of the package.
        trust: Trust that loading its model requires. Default: none, for ONNX.

    Raises:
        ValueError: If the reason is empty, too long, has line breaks, or begins like an approval by policy.

    Example:
        >>> approval_description("beats the champion in every segment", bound="0" * 64)[:35]
        'beats the champion in every segment'
    """
    loads = "" if trust is None else f" [trust {trust}]"
    return f"{_checked(reason)}{loads} [binding {bound}]"


def approval_reason(description: str) -> str:
    """Return the reason of an approval, without the hash of the approved content.

    Example:
        >>> approval_reason(approval_description("beats the champion", bound="0" * 64, trust="pickle"))
        'beats the champion'
    """
    return _BINDING.sub("", _TRUST.sub("", description)).strip()


def bound_by(description: Mapping[str, Any]) -> str | None:
    """Return the hash of the content that was approved; ``None`` if the approval has no hash."""
    found = _BINDING.findall(str(description.get("ApprovalDescription", "")))
    return found[-1] if found else None


def approver(description: Mapping[str, Any]) -> str | None:
    """Return the ARN of the identity that last changed a package; ``None`` if SageMaker does not provide it."""
    identity = description.get("LastModifiedBy", {}).get("IamIdentity", {})
    return None if identity.get("Arn") is None else str(identity["Arn"])


def changed_while_pending(description: Mapping[str, Any]) -> str | None:
    """Return the ARN of the identity that changed a pending package; ``None`` if it was not changed."""
    # claim: registering-is-no-modification
    return approver(description) if description.get("ModelApprovalStatus") == "PendingManualApproval" else None


def has_role(identity: str, roles: tuple[str, ...]) -> bool:
    """Return whether an identity is a session of one of the roles, or the role itself.

    A session's ARN does not contain the role's path; names of roles are unique in an account, regardless of the path.

    Example:
        >>> has_role("arn:aws:sts::123456789012:assumed-role/Lead/ann", ("arn:aws:iam::123456789012:role/team/Lead",))
        True
    """
    if identity in roles:
        return True
    session = _SESSION.fullmatch(identity)
    matches = [_ROLE.fullmatch(role) for role in roles]
    return session is not None and any(match is not None and match.groups() == session.groups() for match in matches)


def person_of(identity: str) -> str:
    """Return the name of a caller for people: that of a session or an IAM user, never that of a generated role.

    Args:
        identity: An ARN, or a user id of STS: that of a role with the session's name.

    Example:
        >>> person_of("arn:aws:sts::123456789012:assumed-role/Demand-RegistryApprover1A2B/ann@example.com")
        'ann@example.com'
        >>> person_of("arn:aws:iam::123456789012:user/team/ben"), person_of("AROA1A2B3C4D5E6F7A8B9:cleo")
        ('ben', 'cleo')
    """
    return re.split("[/:]", identity)[-1] or identity


def approver_name(identity: str, description: str) -> str:
    """Return the approver of a package for people; ``policy`` if a machine approved it.

    Example:
        >>> approver_name("arn:aws:sts::123456789012:assumed-role/mlops-promote-1a2b/x8T2", "approved by policy: released by build")
        'policy'
        >>> approver_name("arn:aws:iam::123456789012:user/ben", "better everywhere")
        'ben'
    """
    return "policy" if description.startswith(BY_POLICY) else person_of(identity)


def _identity_problems(description: Mapping[str, Any], rule: ApprovalRule) -> Iterator[str]:
    identity, by_policy = approver(description), is_automatic(description)
    allowed = " or ".join((*rule.approvers, *rule.machines)) or "nobody"
    if identity is None:
        yield f"SageMaker does not name its approver; {allowed} may approve: approve it again in that role"
    elif has_role(identity, rule.machines):
        if not by_policy:
            yield f"{identity} approves by policy, but the description does not say so; approve it again by hand"
    elif not has_role(identity, rule.approvers):
        yield (
            f"{identity} approved it, or changed it after it was approved, but only {allowed} may; approve it again in that role"
        )
    elif by_policy:
        yield f"{identity} approved it, but the description says {BY_POLICY!r}; approve it again with a reason"


def _binding_problems(description: Mapping[str, Any], package: RegisteredPackage) -> Iterator[str]:
    approved, present = bound_by(description), package.container_sha256
    if approved is None:
        yield "its approval has no hash of the approved content; approve it with: mlops models approve"
    elif approved != present:
        yield f"{approved} was approved, but it is {present} now; review it and approve it again"


def _checked(reason: str) -> str:
    problem = _reason_problem(reason)
    if problem is not None:
        raise ValueError(f"reason must {problem}, got {reason[:80]!r}")
    return reason.strip()


def _reason_problem(reason: str) -> str | None:
    if not reason.strip():
        return "not be empty; state the reason"
    if len(reason) > MAXIMUM_REASON:
        return f"have at most {MAXIMUM_REASON} characters ({len(reason)})"
    if not reason.isprintable():
        return "be one line of printable characters"
    if reason.startswith(BY_POLICY):
        return f"not begin with {BY_POLICY!r}, which is how the machine's approvals begin"
    if _BINDING.search(reason) or _TRUST.search(reason):
        return "not name a binding or a trust, which are added to it"
    return None


def _span(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryInbox:
    """The source of a registry's releases: ``source_name`` is the environment's name; ``table`` has offers and their chain's head.

    A release that is neither taken nor finally refused ``max_wait_seconds`` after its offer is overdue.
    """

    table: str
    source: LinkedEnvironment
    source_name: str
    max_wait_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BusRules:
    """Rules of an event bus, by their ``names``; ``bus`` is absent for the default bus."""

    names: tuple[str, ...]
    bus: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """Parameter ``/mlops/<unit>/registry/<group>``.

    ``inbox`` is absent if models are trained here. ``releases`` is the name of the audit chain of releases, absent if nothing is
    released. ``targets`` may take the releases; the models that they serve are in the row ``<group>.downstream`` of the unit's
    automation table. ``undelivered`` is the URL of the queue of events for other environments that reached no inbox. ``export`` is
    set if another stack than the unit's defines the registry: importing stacks refer to it, so CloudFormation keeps that stack.
    ``rules`` are the rules for taking and releasing versions and for reporting live models; the alarm ``StoppedRules`` reports a
    disabled one.
    """

    group: str
    unit: str
    rule: ApprovalRule
    inbox: RegistryInbox | None = None
    releases: str | None = None
    targets: tuple[NamedEnvironment, ...] | None = None
    undelivered: str | None = None
    export: str | None = None
    rules: tuple[BusRules, ...] | None = None
    format: Literal["mlops.registry-entry/1"] = "mlops.registry-entry/1"


def registry_parameter(*, unit: str, group: str) -> str:
    """Return the name of a group's parameter.

    Example:
        >>> registry_parameter(unit="demand", group="demand-forecast")
        '/mlops/demand/registry/demand-forecast'
    """
    return f"/mlops/{unit}/registry/{group}"


def is_registry_parameter(name: str) -> bool:
    """Return whether the parameter with a name contains a ``RegistryEntry``.

    Example:
        >>> is_registry_parameter("/mlops/demand/endpoint/demand-forecast")
        False
    """
    parts = name.split("/")
    return len(parts) == 5 and (parts[0], parts[1], parts[3]) == ("", "mlops", "registry") and all(parts[2::2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One package for a reviewer. ``problems`` prevent a deployment: of its approval, or if not approved, of an approval now.

    ``version`` has the form ``<group>/<number>``, as in the command. ``rule`` is absent if the group's rule is unknown.
    """

    version: str
    arn: str
    status: str
    approval: str
    registered: datetime
    changed: datetime | None
    changed_by: str | None
    description: str
    metadata: Mapping[str, str]
    image: str
    artifact_uri: str
    binding: str
    problems: tuple[str, ...]
    rule: ApprovalRule | None = None


def review(description: Mapping[str, Any], *, rule: ApprovalRule | None, now: datetime) -> Review:
    """Return a package for review.

    Args:
        description: Response of DescribeModelPackage.
        rule: The group's rule; ``None`` if unknown, so that approver and time are not checked.
        now: Current time of the cloud.
    """
    arn = str(description["ModelPackageArn"])
    containers = description.get("InferenceSpecification", {}).get("Containers", [{}])
    metadata = dict(description.get("CustomerMetadataProperties", {}))
    return Review(
        version=version_of(arn),
        arn=arn,
        status=str(description.get("ModelPackageStatus", "")),
        approval=str(description.get("ModelApprovalStatus", "")),
        registered=description["CreationTime"],
        changed=description.get("LastModifiedTime"),
        changed_by=approver(description),
        description=str(description.get("ApprovalDescription", "")),
        metadata=metadata,
        image=str(containers[0].get("Image", "")),
        artifact_uri=str(containers[0].get("ModelDataUrl", "")),
        binding=container_sha256(containers[0], metadata),
        problems=tuple(_problems(description, rule, now)),
        rule=rule,
    )


def unapprovable(description: Mapping[str, Any], *, rule: ApprovalRule | None, now: datetime) -> list[str]:
    """Return everything that would prevent the deployment of a package if it were approved now.

    Args:
        description: Response of DescribeModelPackage.
        rule: The group's rule; ``None`` if unknown, so that time and location are not checked.
        now: Current time of the cloud.
    """
    return list(_unapprovable(description, rule, now))


def is_settled(description: Mapping[str, Any], *, rule: ApprovalRule | None, now: datetime) -> bool:
    """Return whether a package has a valid approval."""
    return description.get("ModelApprovalStatus") == "Approved" and not _problems(description, rule, now)


def approval_requests(description: Mapping[str, Any], *, reason: str) -> "list[UpdateModelPackageInputTypeDef]":
    """Return the arguments of consecutive calls of UpdateModelPackage that approve a package in its current state.

    A rollout starts when the approval *changes*, so a package that is already approved is rejected first.

    Raises:
        ValueError: If the reason is not allowed.
        PackageError: If it cannot be deployed, for example because it was changed after its registration.
    """
    package = read_package(description)
    text = approval_description(reason, bound=package.container_sha256, trust=package.spec.trust)
    approval = _update(description, "Approved", text)
    if description.get("ModelApprovalStatus") != "Approved":
        return [approval]
    return [_update(description, "Rejected", "to be approved again"), approval]


def rejection_request(description: Mapping[str, Any], *, reason: str) -> "UpdateModelPackageInputTypeDef":
    """Return the arguments of UpdateModelPackage that reject a package.

    Raises:
        ValueError: If the reason is not allowed.
    """
    return _update(description, "Rejected", _checked(reason))


def _update(
    description: Mapping[str, Any], status: "ModelApprovalStatusType", text: str
) -> "UpdateModelPackageInputTypeDef":
    return {
        "ModelPackageArn": description["ModelPackageArn"],
        "ModelApprovalStatus": status,
        "ApprovalDescription": text,
    }


def _problems(description: Mapping[str, Any], rule: ApprovalRule | None, now: datetime) -> list[str]:
    if description.get("ModelApprovalStatus") != "Approved" or rule is None:
        return unapprovable(description, rule=rule, now=now)
    try:
        package = read_package(description)
    except PackageError as error:
        return list(error.problems)
    return approval_problems(description, package, rule=rule, now=now)


def _unapprovable(description: Mapping[str, Any], rule: ApprovalRule | None, now: datetime) -> Iterator[str]:
    try:
        read_package(description)
    except PackageError as error:
        yield from error.problems
    if description.get("ModelPackageStatus") != "Completed":
        yield f"ModelPackageStatus must be Completed, got {description.get('ModelPackageStatus')!r}"
    changer = changed_while_pending(description)
    if changer is not None:
        yield f"{changer} changed it at {description.get('LastModifiedTime')}, after it was registered; register it again"
    if rule is not None:
        metadata = description.get("CustomerMetadataProperties", {})
        yield from timeout_problems(description, rule=rule, at=now)
        yield from location_problems(description, rule=rule)
        yield from trust_problems(metadata.get("flavor"), metadata.get("trust"), allowed=rule.trust)
