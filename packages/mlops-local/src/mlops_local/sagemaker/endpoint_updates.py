"""UpdateEndpoint with deployment guardrails: blue/green (all at once, canary, linear), rolling, and rollback.

The green fleet starts beside the blue one and takes over its traffic in steps; each step bakes while the alarms are watched. An
alarm, a green fleet that does not start, or the time limit returns all traffic to the blue fleet: the endpoint is InService again
with the old config and without a failure reason.

A rolling update has no second fleet: each batch of new capacity takes its share of traffic and bakes, and replaces old capacity.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html
and https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RollingUpdatePolicy.html
and https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
"""

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from botocore.exceptions import ClientError

from mlops_local import clock
from mlops_local.sagemaker import endpoint_configs, endpoints, fleets, resource_store, status_events
from mlops_local.sagemaker.api_shapes import Record, ServiceError, validation
from mlops_local.sagemaker.container_processes import background
from mlops_local.sagemaker.endpoint_configs import instance_types, is_scaled
from mlops_local.sagemaker.endpoints import Deployment, Live
from mlops_local.sagemaker.fleets import Fleet, FleetError
from mlops_local.sagemaker.role_clients import Identity

LOGGER = logging.getLogger(__name__)

_POLL = 0.25  # real seconds between two polls of the alarms
_DEFAULT_TIMEOUT = 28_800  # default of MaximumExecutionTimeoutInSeconds: AWS's maximum


class _RollbackError(Exception):
    """The deployment must roll back; the message is the reason, for the launcher's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The plan of a deployment."""

    # instances of each variant that take traffic at each step; the last step has all of them
    steps: tuple[Mapping[str, int], ...]
    wait: float  # embedded seconds between two steps
    final: float  # embedded seconds of baking after the last step, before the blue fleet ends
    timeout: float  # embedded seconds after which the deployment rolls back
    alarms: tuple[str, ...]  # alarms that cause a rollback
    # batch sizes of a rolling update's rollback, by variant. Default: none, for blue/green
    back: Mapping[str, int] | None = None


def update(request: Record) -> Record:
    """UpdateEndpoint; the deployment runs in the background."""
    # claim: failed-endpoint-takes-no-update
    record = resource_store.get("Endpoint", request["EndpointName"])
    config = endpoints.usable_config(request["EndpointConfigName"])
    with resource_store.LOCK:
        endpoints.refuse_in_progress(record)
        state = endpoints.live(record)
        blue = state.fleet
        if record["EndpointStatus"] != "InService" or blue is None:
            raise validation(f'Cannot update failed endpoint "{record["EndpointArn"]}"; delete it.')
        guard = _deployment_config(request, record)
        excluded = [item["VariantPropertyType"] for item in request.get("ExcludeRetainedVariantProperties", [])]
        retain = request.get("RetainAllVariantProperties", False)
        wanted = fleets.variants(config, blue.summaries() if retain else [], excluded)
        # retained data capture is the running fleet's, regardless of the new config
        kept = retain and "DataCaptureConfig" not in excluded
        capture = blue.capture if kept else config.get("DataCaptureConfig")
        _check_scaled(record, blue, config)
        counts = {v["VariantName"]: int(v.get("InitialInstanceCount", 1)) for v in wanted}
        policy = plan(guard, counts, set(blue.servers), is_guarded=_is_guarded(blue, wanted))
    _check_alarms(policy.alarms, wanted)
    with resource_store.LOCK:
        endpoints.refuse_in_progress(record)
        state.compared = True
        before = {server.variant: server.instances for server in blue.servers.values()}
        deployment = Deployment(config=config, wanted=wanted, capture=capture, started=clock.utcnow(), before=before)
        state.deployment = deployment
        resource_store.update(record, EndpointStatus="Updating", LastDeploymentConfig=guard or None)
    endpoints.announce(record)
    background(f"update endpoint {record['EndpointName']}", _deploy, record, state, deployment, policy)
    return {"EndpointArn": record["EndpointArn"]}


def plan(guard: Record, counts: Mapping[str, int], running: set[str], *, is_guarded: bool = True) -> Policy:
    """Return the plan of a deployment.

    Args:
        guard: ``DeploymentConfig``; empty means blue/green all at once without baking.
        counts: Instances of each variant of the green fleet.
        running: Variants of the blue fleet. Traffic shifts in steps only between equal sets of variants; otherwise the
            update is all at once without baking, as in AWS's exclusions of guardrails.
            https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
        is_guarded: Whether guardrails support these fleets; otherwise the update is all at once, without alarms. Default: they do.

    Raises:
        ServiceError: ``ValidationException`` for a step that AWS rejects.
    """
    # claim: guardrail-plans-are-checked
    back = None
    guard = guard if is_guarded else {}
    alarms = tuple(alarm["AlarmName"] for alarm in guard.get("AutoRollbackConfiguration", {}).get("Alarms", []))
    if "RollingUpdatePolicy" in guard:
        if "BlueGreenUpdatePolicy" in guard:
            raise validation("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
        rolling = guard["RollingUpdatePolicy"]
        if len(counts) > 1:
            raise validation("Rolling deployments are not supported for endpoints with multiple variants.")
        sizes = {n: _size(rolling["MaximumBatchSize"], c, "MaximumBatchSize", 5) for n, c in counts.items()}
        # every batch bakes, including the last one
        policy, wait, final = rolling, rolling["WaitIntervalInSeconds"], rolling["WaitIntervalInSeconds"]
        steps, back = _even_steps(sizes, counts), _rollback_sizes(rolling, counts)
    else:
        policy = guard.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0})
        wait, final = routing["WaitIntervalInSeconds"], policy.get("TerminationWaitInSeconds", 0)
        steps = _steps(routing, counts)
    timeout = policy.get("MaximumExecutionTimeoutInSeconds", _DEFAULT_TIMEOUT)
    needed = wait * (len(steps) - 1) + final
    if timeout <= needed:
        raise validation(
            f"MaximumExecutionTimeoutInSeconds {timeout} must be larger than the waits of the deployment, {needed} seconds."
        )
    if running != set(counts):
        steps, final, back = [dict(counts)], 0, None
    return Policy(steps=tuple(steps), wait=wait, final=final, timeout=timeout, alarms=alarms, back=back)


def _is_guarded(blue: Fleet, wanted: Sequence[Record]) -> bool:
    """Return whether guardrails support the fleets: not for serverless variants, and not on Inf1."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html
    new = [str(variant.get("InstanceType", "")) for variant in wanted]
    old = [server.instance_type or "" for server in blue.servers.values()]
    return all(kind and not kind.startswith("ml.inf1.") for kind in (*new, *old))


def _check_scaled(record: Record, blue: Fleet, config: Record) -> None:
    """Reject another instance type for a variant with autoscaling, which must be deregistered first."""
    # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-policy.html
    # claim: scaled-variant-keeps-its-type
    types = instance_types(config)
    for name, server in blue.servers.items():
        if types.get(name, server.instance_type) != server.instance_type and is_scaled(record["EndpointName"], name):
            raise validation(
                f"The instance type of variant {name} of endpoint {record['EndpointName']} cannot change from "
                f"{server.instance_type} to {types[name]} while it is registered with Application Auto Scaling; deregister "
                "the scalable target, update the endpoint, and register it again."
            )


def _rollback_sizes(rolling: Record, counts: Mapping[str, int]) -> Mapping[str, int]:
    # claim: guardrail-plans-are-checked
    size = rolling.get("RollbackMaximumBatchSize", {"Type": "CAPACITY_PERCENT", "Value": 100})
    if size["Type"] == "INSTANCE_COUNT":
        return {name: min(count, int(size["Value"])) for name, count in counts.items()}
    if not 5 <= size["Value"] <= 100:
        raise validation(f"RollbackMaximumBatchSize must be 5-100 % of the total instance count, got {size['Value']}.")
    return {name: max(1, math.floor(count * size["Value"] / 100)) for name, count in counts.items()}


def _steps(routing: Record, counts: Mapping[str, int]) -> list[Mapping[str, int]]:
    # claim: guardrail-plans-are-checked
    kind = routing["Type"]
    if kind == "ALL_AT_ONCE":
        return [dict(counts)]
    member, lowest = ("CanarySize", 0) if kind == "CANARY" else ("LinearStepSize", 10)
    if member not in routing:
        raise validation(f"{member} is required for traffic routing of type {kind}.")
    sizes = {name: _size(routing[member], count, member, lowest) for name, count in counts.items()}
    if kind == "LINEAR" or sizes == counts:
        return _even_steps(sizes, counts)
    return [sizes, dict(counts)]


def _even_steps(sizes: Mapping[str, int], counts: Mapping[str, int]) -> list[Mapping[str, int]]:
    number = max(math.ceil(counts[name] / sizes[name]) if sizes[name] else 1 for name in counts)
    return [{name: min(counts[name], sizes[name] * step) for name in counts} for step in range(1, number + 1)]


def _size(size: Record, count: int, member: str, lowest: int) -> int:
    """Return the instances of one step; at most half of the fleet, so a single instance cannot have a canary.

    A fleet that was scaled to zero has no steps: AWS's behaviour is not documented.
    """
    # claim: guardrail-plans-are-checked
    if count == 0:
        return 0
    value = size["Value"]
    percent = size["Type"] == "CAPACITY_PERCENT"
    instances = max(1, math.floor(count * value / 100)) if percent else int(value)
    share = value if percent else value * 100 / count
    if instances * 2 > count or not lowest <= share <= 50:
        allowed = "at most 50 %" if lowest == 0 else f"{lowest}-50 %"
        raise validation(
            f"{member} must be {allowed} of the variant's total instance count: {value} "
            f"({size['Type']}) of {count} instances is {instances}."
        )
    return instances


def _deployment_config(request: Record, record: Record) -> Record:
    # claim: guardrail-plans-are-checked
    if request.get("RetainDeploymentConfig", False):
        if "DeploymentConfig" in request:
            raise validation("DeploymentConfig and RetainDeploymentConfig cannot be specified together.")
        return dict(record.get("LastDeploymentConfig", {}))
    return dict(request.get("DeploymentConfig", {}))


def _check_alarms(alarms: Sequence[str], wanted: Sequence[Record]) -> None:
    """Reject alarms that do not exist or that the execution role may not describe."""
    # claim: rollback-alarms-must-exist
    if not alarms:
        return
    try:
        states = _alarm_states(alarms, _role(wanted))
    except ClientError as error:
        raise validation(f"cannot describe the auto-rollback alarms {list(alarms)}: {error}") from error
    missing = sorted(set(alarms) - set(states))
    if missing:
        raise validation(f"Alarms do not exist: {missing}")


def _alarm_states(alarms: Sequence[str], role: Identity) -> dict[str, str]:
    """Return the states of alarms; composite alarms last, since describing them requires permission for all alarms."""
    client = role.client("cloudwatch")
    found = client.describe_alarms(AlarmNames=list(alarms), AlarmTypes=["MetricAlarm"])["MetricAlarms"]
    rest = sorted(set(alarms) - {alarm["AlarmName"] for alarm in found})
    if rest:
        with contextlib.suppress(client.exceptions.ClientError):
            found += client.describe_alarms(AlarmNames=rest, AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}


def _role(wanted: Sequence[Record]) -> Identity:
    return endpoint_configs.identity(resource_store.get("Model", wanted[0]["ModelName"])).of_service()


def _deploy(record: Record, state: Live, deployment: Deployment, policy: Policy) -> None:
    # claim: an-alarm-ends-the-bake
    blue, counts = state.fleet, policy.steps[-1]
    if blue is None:
        raise RuntimeError("an update needs a fleet in service")
    deadline = clock.now() + policy.timeout
    name, wanted = record["EndpointName"], deployment.wanted
    old = {server.variant: server.instances for server in blue.servers.values()}
    _show(record, deployment, "Creating", "Launching {n} instance(s).", dict.fromkeys(counts, 0))
    try:
        green = fleets.start(name, deployment.config, wanted, deployment.capture, state.stop)
        deployment.fleet = green
        role = _role(wanted)
        _watch(policy.alarms, role)
        at = clock.now()
        for step in policy.steps:
            last = step == counts
            seconds = policy.final if last else policy.wait
            field = "TerminationWaitInSeconds" if last else "WaitIntervalInSeconds"
            part = f"{'full' if last else 'canary'} capacity of {{n}} instance(s)."
            _show(record, deployment, "ActivatingTraffic", f"Activating traffic on {part}", step)
            _shift(deployment, step, counts)
            if policy.back is not None:
                _retire(blue, old, step, counts)
            baking = f"Baking for {seconds} seconds ({field}) with traffic enabled on {part}"
            _show(record, deployment, "Baking", baking, step)
            at = _bake(at + seconds, deadline, policy.alarms, role, state)
    except (FleetError, ServiceError, ClientError, _RollbackError) as error:
        LOGGER.warning("update of endpoint %s rolls back: %s", name, error)
        _roll_back(record, state, deployment, (old, policy))
        return
    except Exception:
        LOGGER.exception("update of endpoint %s rolls back", name)
        _roll_back(record, state, deployment, (old, policy))
        return
    _promote(record, state, green, deployment)
    blue.retire()


def _shift(deployment: Deployment, step: Mapping[str, int], counts: Mapping[str, int]) -> None:
    with resource_store.LOCK:
        deployment.shares = {name: step[name] / max(1, count) for name, count in counts.items()}


def _retire(blue: Fleet, old: Mapping[str, int], step: Mapping[str, int], counts: Mapping[str, int]) -> None:
    """Reduce the old capacity by the share of the new capacity."""
    with resource_store.LOCK:
        for name, server in blue.servers.items():
            server.instances = max(0, math.ceil(old[name] * (1 - step[name] / max(1, counts[name]))))


def _bake(until: float, deadline: float, alarms: Sequence[str], role: Identity, state: Live) -> float:
    """Bake until an embedded time, and return that time: after a clock jump the next step continues from it, not from now."""
    # claim: an-alarm-ends-the-bake
    for _ in _ticks(min(until, deadline), state):
        _watch(alarms, role)
    _watch(alarms, role)
    if until > deadline:
        raise _RollbackError("MaximumExecutionTimeoutInSeconds has passed")
    return until


def _ticks(until: float, state: Live) -> Iterator[None]:
    """Yield every ``_POLL`` real seconds, and after each jump of the clock, until an embedded time."""
    # claim: an-alarm-ends-the-bake
    while (left := until - clock.now()) > 0:
        if not clock.wait(min(left, _POLL * clock.scale()), state.stop):
            raise _RollbackError("the endpoint is going away")
        yield


def _watch(alarms: Sequence[str], role: Identity) -> None:
    # claim: an-alarm-ends-the-bake
    # claim: a-deleted-alarm-watches-nothing
    if alarms:
        fired = [name for name, value in _alarm_states(alarms, role).items() if value == "ALARM"]
        if fired:
            raise _RollbackError(f"alarms {fired} are in state ALARM")


def _show(record: Record, deployment: Deployment, status: str, message: str, current: Mapping[str, int]) -> None:
    """Set the deployment's status in Describe and send an event; ``{n}`` in the message is the number of instances."""

    def shown(variant: Record) -> Record:
        active, all_ = current[variant["VariantName"]], int(variant.get("InitialInstanceCount", 1))
        text = message.format(n=active or all_)
        return {
            "VariantName": variant["VariantName"],
            "CurrentWeight": float(variant["InitialVariantWeight"]),
            "DesiredWeight": float(variant["InitialVariantWeight"]),
            "VariantStatus": [{"Status": status, "StatusMessage": text, "StartTime": clock.utcnow()}],
        } | (
            {
                "CurrentServerlessConfig": variant["ServerlessConfig"],
                "DesiredServerlessConfig": variant["ServerlessConfig"],
            }
            if "ServerlessConfig" in variant
            else {"InstanceType": variant["InstanceType"], "CurrentInstanceCount": active, "DesiredInstanceCount": all_}
        )

    with resource_store.LOCK:
        deployment.variants = [shown(variant) for variant in deployment.wanted]
        resource_store.update(record)
    status_events.deployment(endpoints.view(record))


def _promote(record: Record, state: Live, green: Fleet, deployment: Deployment) -> None:
    with resource_store.LOCK:
        state.fleet, state.deployment = green, None
        endpoints.set_config(record, deployment.config, deployment.capture)
        resource_store.update(record, EndpointStatus="InService", EndpointConfigName=green.config)
    endpoints.announce(record)
    status_events.deployment(endpoints.view(record))


def _roll_back(record: Record, state: Live, deployment: Deployment, before: tuple[Mapping[str, int], Policy]) -> None:
    """Return all traffic to the old fleet, for a rolling update in batches, and end the new fleet."""
    green, blue, (old, policy) = deployment.fleet, state.fleet, before
    with resource_store.LOCK:
        resource_store.update(record, EndpointStatus="RollingBack")
    endpoints.announce(record)
    if policy.back is not None and blue is not None and deployment.shares:
        counts = policy.steps[-1]
        left = {name: round(share * counts[name]) for name, share in deployment.shares.items()}
        while any(left.values()):
            left = {name: max(0, number - policy.back[name]) for name, number in left.items()}
            _shift(deployment, left, counts)
            _retire(blue, old, left, counts)
            _show(record, deployment, "Deleting", "Rolling back to {n} instance(s).", left)
    with resource_store.LOCK:
        deployment.shares = {}
        for server in blue.servers.values() if blue is not None else ():
            server.instances = old[server.variant]
    if green is not None:
        green.retire()
    with resource_store.LOCK:
        state.deployment = None
        resource_store.update(record, EndpointStatus="InService")
    endpoints.announce(record)
    status_events.deployment(endpoints.view(record))
