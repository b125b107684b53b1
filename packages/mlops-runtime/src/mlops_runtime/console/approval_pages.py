"""Operations on packages that await an approval: list them, show one with its evidence, approve or reject it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.console.http_message import Call, RefusedRequestError
from mlops_runtime.console.write_requests import DecisionBody
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model import GateResult
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.refused_calls import DENIED, Tolerated
from mlops_runtime.registry.model_package import PackageError
from mlops_runtime.registry.package_approval import Review, person_of
from mlops_runtime.registry.package_case import PackageCase
from mlops_runtime.registry.package_finder import PackageFinder, PackageNotFoundError
from mlops_runtime.rollout.rollout_table import RolloutTable

_PENDING = "PendingManualApproval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A package that awaits an approval: ``package`` is ``<group>/<number>``, as in `mlops models`."""

    unit: str
    group: str
    package: str
    registered: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """All packages that await an approval, newest first."""

    now: datetime
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEndpoint:
    """An endpoint that serves models of the package's group.

    ``is_same`` is whether another package with the same archive serves there; null if unknown.
    """

    unit: str
    endpoint: str
    is_same: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePage:
    """One package: ``review`` and ``gate`` as printed by `mlops models show --json`, with all problems that prevent an approval.

    ``metrics`` are the losses of candidate, champion and baselines on ``rows`` holdout rows, by ``metric``. ``note`` is information
    for the approver. ``pickled`` are the globals that the pickle imports, which is not a guarantee, as unpickling can run any
    code; null without a pickle. ``endpoints`` are those on which an approval starts a rollout, as far as the caller may list them.
    """

    now: datetime
    review: Review
    gate: GateResult | None
    metric: str | None
    rows: int | None
    metrics: Mapping[str, float]
    note: str | None
    can_approve: bool
    can_reject: bool
    pickled: tuple[str, ...] | None
    endpoints: tuple[PackageEndpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A stored decision: the identity that made it, and its description. ``changed`` is false for a repeated request."""

    package: str
    approval: str
    identity: str
    said: str
    changed: bool


def approvals(call: Call) -> Approvals:
    """List the packages that await an approval."""
    finder, found = PackageFinder(client=call.cloud.client), []
    sagemaker = call.cloud.client("sagemaker")
    try:
        registries = finder.registries(None)
    except PackageNotFoundError:
        registries = []  # no registry is deployed yet
    for registry in registries:
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=registry.group, ModelPackageType="Versioned", ModelApprovalStatus=_PENDING
        )
        found += [
            Waiting(
                unit=registry.unit,
                group=registry.group,
                package=str(each["ModelPackageArn"]).partition(":model-package/")[2],
                registered=each["CreationTime"],
            )
            for page in pages
            for each in page["ModelPackageSummaryList"]
        ]
    return Approvals(now=call.now, waiting=tuple(sorted(found, key=lambda each: each.registered, reverse=True)))


def package(call: Call) -> PackagePage:
    """Return one package."""
    case = _case(call)
    review, evaluation = case.review, case.evidence.evaluation
    return PackagePage(
        now=call.now,
        review=review,
        gate=case.evidence.gate,
        metric=None if evaluation is None else evaluation.metric,
        rows=None if evaluation is None else evaluation.rows,
        metrics={} if evaluation is None else evaluation.metrics,
        note=case.not_compared,
        can_approve=not review.problems and review.approval == _PENDING,
        can_reject=review.approval != "Rejected",
        pickled=None if evaluation is None else evaluation.pickled,
        endpoints=_endpoints(call, review),
    )


def _endpoints(call: Call, review: Review) -> tuple[PackageEndpoint, ...]:
    """Return the endpoints of the package's group; an empty tuple if the caller may not list them."""
    found: Sequence[EndpointEntry] = ()
    with Tolerated(*DENIED):
        found = Entries(ssm=call.cloud.client("ssm")).endpoints_of(call.names["group"])
    return tuple(
        PackageEndpoint(unit=each.unit, endpoint=each.endpoint, is_same=_is_same(call, each, review)) for each in found
    )


def _is_same(call: Call, entry: EndpointEntry, review: Review) -> bool | None:
    """Return whether another package with its archive serves; ``None`` if that cannot be determined."""
    row = None
    with Tolerated(*DENIED):
        row = RolloutTable(call.cloud.client("dynamodb"), entry.rollout_table, entry.endpoint).read()
    if row is None:
        return None
    if row.live is None:
        return False
    live, archive = from_json(LivePointer, row.live), review.metadata.get("artifact_sha256")
    if live.model_package_arn == review.arn:
        return False
    return None if archive is None else live.artifact_sha256 == archive


def approve(call: Call) -> Decided:
    """Approve a package.

    Raises:
        RefusedRequestError: If it has changed since it was displayed, or cannot be deployed, with all reasons.
    """
    case, body = _case(call), call.body
    if case.is_settled and _is_own(case, body, call.caller):
        return _repeated(case)
    _require_seen(case, body)
    try:
        case.require_approvable()
        identity, result = case.approve(caller=call.caller, reason=body.reason.strip())
    except PackageError as error:
        raise RefusedRequestError(409, str(error), *error.problems) from error
    except ValueError as error:
        raise RefusedRequestError(422, str(error)) from error
    return Decided(package=case.version, approval="Approved", identity=identity, said=result, changed=True)


def reject(call: Call) -> Decided:
    """Reject a package; a live one serves until a rollback or the next promotion.

    Raises:
        RefusedRequestError: If it has changed since it was displayed.
    """
    case, body = _case(call), call.body
    if case.description["ModelApprovalStatus"] == "Rejected" and _is_own(case, body, call.caller):
        return _repeated(case)
    _require_seen(case, body)
    try:
        identity, result = case.reject(caller=call.caller, reason=body.reason.strip())
    except ValueError as error:
        raise RefusedRequestError(422, str(error)) from error
    return Decided(package=case.version, approval="Rejected", identity=identity, said=result, changed=True)


def _case(call: Call) -> PackageCase:
    named = f"{call.names['group']}/{call.names['number']}"
    try:
        case = PackageCase.read(PackageFinder(client=call.reader.client), named, call.now)
    except PackageNotFoundError as error:
        raise RefusedRequestError(404, str(error)) from error
    return replace(case, finder=PackageFinder(client=call.cloud.client))


def _is_own(case: PackageCase, body: DecisionBody, caller: str) -> bool:
    """Return whether a package already has this decision, because the response to the first request was lost."""
    review = case.review
    return (
        review.changed_by is not None
        and person_of(review.changed_by) == person_of(caller)
        and review.description.startswith(body.reason.strip())
    )


def _repeated(case: PackageCase) -> Decided:
    review = case.review
    return Decided(
        package=case.version,
        approval=review.approval,
        identity=review.changed_by or "",
        said=review.description,
        changed=False,
    )


def _require_seen(case: PackageCase, body: DecisionBody) -> None:
    review = case.review
    if (review.approval, review.binding) != (body.expect.approval, body.expect.binding):
        by = "" if review.changed_by is None else f" by {person_of(review.changed_by)}"
        raise RefusedRequestError(
            409,
            f"{case.version} has changed since it was displayed: it is {review.approval}{by}, with the content {review.binding}. "
            "Reload it, then decide",
        )
