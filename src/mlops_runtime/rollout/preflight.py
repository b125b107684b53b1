"""What a Deploy execution should do, decided from what the sources say now; the request only says what was asked for.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal

from mlops_runtime.contracts import content_hash, from_json, to_dict
from mlops_runtime.contracts.rollout import DeployReason, DeployRequest, LivePointer, LockRow, ServingSpec, spec_key
from mlops_runtime.registry.package import PackageError, RegisteredPackage, read_package
from mlops_runtime.rollout import render
from mlops_runtime.rollout.limits import SpecError, check_spec
from mlops_runtime.rollout.serving import Serving, Version

POLL_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the Deploy machine does. ``as_dict`` always has every key, for expressions that may not meet an undefined one."""

    action: Literal["create", "update", "nothing", "refuse"]
    reason: str
    endpoint: str
    started: str
    variant: str = ""
    create_model: Mapping[str, Any] = field(default_factory=dict)
    create_endpoint_config: Mapping[str, Any] = field(default_factory=dict)
    create_endpoint: Mapping[str, Any] = field(default_factory=dict)
    update_endpoint: Mapping[str, Any] = field(default_factory=dict)
    revert_endpoint: Mapping[str, Any] = field(default_factory=dict)
    alarms: tuple[Mapping[str, Any], ...] = ()
    alarm_names: tuple[str, ...] = ()
    model_name: str | None = None
    config_name: str | None = None
    previous_config: str | None = None
    previous_model: str | None = None
    expired_config: str | None = None
    poll_seconds: int = POLL_SECONDS
    bake: int = 0
    min_invocations: int = 0
    candidate_package: str | None = None
    requested_by: str | None = None
    live: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values, ``null`` where there is nothing."""
        return {f.name: to_dict(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the sources say. ``package`` describes the package that the request is about (see ``wanted_package``)."""

    row: LockRow
    spec: ServingSpec | None
    serving: Serving | None
    package: Mapping[str, Any] | None
    alarm_states: Mapping[str, str]
    group: str


class RefusedError(Exception):
    """The request cannot be carried out now; the message is the reason that is recorded."""


class NothingToDoError(Exception):
    """What is asked for already is, or has nothing to be done with; the message says which."""


def live_pointer(row: LockRow) -> LivePointer | None:
    """Return the live pointer of a row."""
    return None if row.live is None else from_json(LivePointer, row.live)


def wanted_package(request: DeployRequest, serving: Serving | None, previous: Version | None) -> str | None:
    """Return the package that a request is about: the one asked for, the one that serves, or the one that did before."""
    if request.reason is DeployReason.APPROVAL:
        return request.model_package_arn
    if request.reason is DeployReason.ROLLBACK:
        return None if previous is None else previous.package
    return None if serving is None or serving.version is None else serving.version.package


def verified_spec(uri: str, document: bytes) -> ServingSpec:
    """Return a stored spec whose content is what its key says.

    Raises:
        ContractError: If it is not a serving spec.
        SpecError: If it was changed after it was stored.
    """
    spec = from_json(ServingSpec, document)
    expected = spec_key(spec.endpoint, content_hash(spec))
    if not uri.endswith("/" + expected):
        raise SpecError(f"the spec at {uri} was changed after it was stored: its content belongs to {expected}")
    return spec


def decide(request: DeployRequest, facts: Facts, *, execution: str, now: datetime) -> Plan:
    """Return the plan of one execution.

    Args:
        request: What was asked for. Nothing that it says about the world is believed.
        facts: What the sources say.
        execution: ARN of the execution; names follow from it, so that a retry plans the same.
        now: The time in the cloud.
    """
    blank = Plan(action="nothing", reason="", endpoint=facts.row.endpoint, started=_iso(now))
    blank = replace(blank, candidate_package=request.model_package_arn, live=_present(facts.row))
    try:
        return _plan(blank, request, facts, execution, now)
    except NothingToDoError as nothing:
        return replace(blank, reason=str(nothing))
    except (RefusedError, PackageError, SpecError) as refused:
        return replace(blank, action="refuse", reason=str(refused))


def _plan(blank: Plan, request: DeployRequest, facts: Facts, execution: str, now: datetime) -> Plan:
    spec = _desired(facts)
    serving = _settled(facts.serving)
    if serving is None and request.reason is not DeployReason.APPROVAL:
        raise NothingToDoError("NOT_YET_DEPLOYED: no model serves yet; the endpoint is made at the first approval")
    package = _approved(request, facts)
    blank = replace(blank, candidate_package=package.arn, requested_by=package.approved_by)
    if request.reason is DeployReason.ROLLBACK:
        # what rings because of the live fleet must not keep it there
        spec = replace(
            spec, rollout=replace(spec.rollout, kind="ALL_AT_ONCE", percent=None, alarms=(), min_invocations=0)
        )
    _check_unlike_live(request, facts, package)
    name = render.version_name(spec.endpoint, execution)
    version = None if serving is None else serving.version
    common = replace(
        blank,
        variant=spec.variant,
        create_model=render.render_model(spec, package=package.arn, name=name, execution=execution),
        create_endpoint_config=render.render_endpoint_config(spec, name=name, execution=execution),
        model_name=name,
        config_name=name,
        bake=spec.rollout.bake,
        live=to_dict(_pointer(spec, facts, package, execution, now)),
    )
    if serving is None:
        endpoint = render.render_endpoint(spec, config=name, execution=execution)
        return replace(common, action="create", reason=f"first model: {package.arn}", create_endpoint=endpoint)
    if version is None:
        raise RefusedError(
            f"config {serving.config}, which serves, or its model was deleted: a deployment could not go back"
        )
    if version.variant != spec.variant:
        raise RefusedError(
            f"variant must stay {version.variant!r} (blue/green needs the same name), got {spec.variant!r}"
        )
    _check_quiet(spec, facts.alarm_states)
    count, kind = version.instance_count, version.instance_type
    return replace(
        common,
        action="update",
        reason=_why(request, facts, package.arn, version),
        update_endpoint=render.render_update(spec, config=name, live_count=count, live_type=kind),
        revert_endpoint=render.render_revert(spec, config=version.config, live_count=count, live_type=kind),
        alarms=tuple(render.render_alarms(spec, config=name, execution=execution)),
        alarm_names=render.alarm_names(spec, name),
        previous_config=version.config,
        previous_model=version.model,
        expired_config=_succession(facts, package.arn)[1],
        min_invocations=spec.rollout.min_invocations if request.reason is DeployReason.APPROVAL else 0,
    )


def _desired(facts: Facts) -> ServingSpec:
    if facts.spec is None:
        raise RefusedError("no serving spec is stored yet; deploy the stack, then approve the package again")
    return check_spec(facts.spec)


def _settled(serving: Serving | None) -> Serving | None:
    if serving is None or serving.status == "InService":
        return serving
    if serving.status in ("Failed", "OutOfService"):
        fix = "it can only be deleted; delete it, then approve the package again"
    elif serving.status == "UpdateRollbackFailed":
        fix = "it serves a mix of old and new; look into its events and update it by hand"
    else:
        fix = "ask again when it is InService"
    raise RefusedError(
        f"the endpoint is {serving.status}: {fix}" + (f" ({serving.failure})" if serving.failure else "")
    )


def _approved(request: DeployRequest, facts: Facts) -> RegisteredPackage:
    if facts.package is None:
        wanted = {
            DeployReason.APPROVAL: f"model package {request.model_package_arn} does not exist",
            DeployReason.SPEC: "the model that serves comes from no model package; approve one",
            DeployReason.ROLLBACK: "there is no previous version to go back to, or it was deleted",
        }
        raise RefusedError(wanted[request.reason])
    package = read_package(facts.package)
    if package.spec.group != facts.group:
        raise RefusedError(f"model package {package.arn} belongs to group {package.spec.group!r}, not {facts.group!r}")
    if not package.is_approved:
        raise RefusedError(f"model package {package.arn} is {package.approval} ({package.status}); approve it first")
    return package


def _check_unlike_live(request: DeployRequest, facts: Facts, package: RegisteredPackage) -> None:
    live, serving, spec = live_pointer(facts.row), facts.serving, facts.spec
    if live is None or serving is None or spec is None or serving.config != live.config:
        return
    same_spec = live.spec_sha256 == content_hash(spec)
    if same_spec and live.model_package_arn == package.arn and request.reason is not DeployReason.ROLLBACK:
        raise NothingToDoError(f"{package.arn} already serves under this spec, as {live.config}")


def _check_quiet(spec: ServingSpec, states: Mapping[str, str]) -> None:
    missing = [name for name in spec.rollout.alarms if name not in states]
    if missing:
        raise RefusedError(
            f"rollback alarms do not exist: {', '.join(missing)}; nothing would roll the deployment back"
        )
    ringing = [name for name in spec.rollout.alarms if states[name] == "ALARM"]
    if ringing:
        raise RefusedError(f"rollback alarms already ring: {', '.join(ringing)}; they would end any deployment at once")


def _pointer(spec: ServingSpec, facts: Facts, package: RegisteredPackage, execution: str, now: datetime) -> LivePointer:
    name, digest = render.version_name(spec.endpoint, execution), content_hash(facts.spec)
    return LivePointer(
        endpoint=spec.endpoint,
        config=name,
        model=name,
        model_package_arn=package.arn,
        model_sha256=package.spec.model_sha256,
        artifact_uri=package.spec.artifact_uri,
        baseline_uri=package.spec.baseline_uri,
        evaluation_uri=package.spec.evaluation_uri,
        training_set_id=package.spec.training_set_id,
        spec_sha256=digest,
        spec_uri=str(facts.row.desired),
        execution=execution,
        since=_iso(now),
        previous=_succession(facts, package.arn)[0],
    )


def _why(request: DeployRequest, facts: Facts, package: str, version: Version) -> str:
    live = live_pointer(facts.row)
    what = {
        DeployReason.APPROVAL: f"approved: {package}",
        DeployReason.SPEC: "the serving spec changed",
        DeployReason.ROLLBACK: f"back to {package}",
    }[request.reason]
    if live is None or live.config != version.config:
        recorded = "nothing" if live is None else live.config
        return f"{what}; the endpoint serves {version.config}, but {recorded} is recorded"
    return what


def _succession(facts: Facts, package: str) -> tuple[str | None, str | None]:
    """Return the config to keep for a rollback and the one to delete: a rollback goes back to another *model*."""
    version = None if facts.serving is None else facts.serving.version
    if version is None:
        return None, None
    live = live_pointer(facts.row)
    if live is None or live.config != version.config:
        return version.config, None
    if version.package == package and live.previous is not None:
        return live.previous, version.config
    return version.config, live.previous


def _present(row: LockRow) -> Mapping[str, Any]:
    live = live_pointer(row)
    return {} if live is None else to_dict(live)


def _iso(at: datetime) -> str:
    return str(to_dict(at))
