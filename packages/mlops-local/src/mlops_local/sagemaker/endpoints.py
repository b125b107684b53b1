"""Endpoints: create, describe and delete operations, and the routing of calls between fleets.

See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
"""

import logging
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from mlops_local import clock
from mlops_local.sagemaker import fleets, resource_store, status_events
from mlops_local.sagemaker.api_shapes import Record, ServiceError, validation
from mlops_local.sagemaker.container_processes import background
from mlops_local.sagemaker.fleets import Fleet, FleetError, Server

LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class Deployment:
    """A running update: its target, the new fleet, its share of traffic, and its description."""

    config: Record  # the new endpoint config
    wanted: list[Record]  # its variants, with properties retained from the running ones
    capture: Record | None  # `DataCaptureConfig` of the new fleet
    started: datetime  # start time of the update
    fleet: Fleet | None = None  # the new fleet, once its servers respond
    shares: dict[str, float] = field(default_factory=dict)  # share of each variant's requests for the new fleet, 0 to 1
    variants: list[Record] = field(default_factory=list)  # its variants as `PendingDeploymentSummary` shows them
    before: dict[str, int] = field(default_factory=dict)  # instances of each running variant at the start of the update


@dataclass(slots=True)
class Live:
    """The running state of an endpoint."""

    seed: int  # seed of the generator that routes requests and samples captures
    fleet: Fleet | None = None  # the fleet in service
    deployment: Deployment | None = None  # the running update
    compared: bool = False  # whether an update has run; from then on metrics also have the endpoint config's name
    stop: threading.Event = field(default_factory=threading.Event)
    generator: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.generator = random.Random(self.seed)  # noqa: S311 - routing and sampling, not security

    @contextmanager
    def route(self, variant: str | None) -> Iterator[tuple[Fleet, Server]]:
        """Choose the variant by weight or by the caller's choice, and its fleet by the deployment's share.

        An update does not stop the fleet while the call runs.

        Raises:
            ServiceError: ``ValidationError`` if no fleet is in service, or the variant does not exist.
        """
        with resource_store.LOCK:
            fleet, server = self._choose(variant)
            fleet.start_call()
        try:
            yield fleet, server
        finally:
            fleet.end_call()

    def _choose(self, variant: str | None) -> tuple[Fleet, Server]:
        # claim: calls-go-to-variants-by-weight
        with resource_store.LOCK:
            fleet, deployment = self.fleet, self.deployment
            green = None if deployment is None else deployment.fleet
            shares = {} if deployment is None else deployment.shares
            if green is not None and shares and min(shares.values()) >= 1.0:
                fleet, green = green, None
            if fleet is None:
                raise ServiceError("ValidationError", "endpoint has no fleet in service")
            name = self._variant(fleet, variant)
            if green is not None and self.generator.random() < shares.get(name, 0.0):
                fleet = green
            return fleet, fleet.servers[name]

    def _variant(self, fleet: Fleet, variant: str | None) -> str:
        # claim: calls-go-to-variants-by-weight
        if variant is not None:
            if variant not in fleet.servers:
                known = ", ".join(fleet.servers)
                raise ServiceError("ValidationError", f"Variant {variant} not found in endpoint; it has {known}")
            return variant
        weights = [server.weight for server in fleet.servers.values()]
        if not any(weights):
            raise ServiceError("ValidationError", "every variant of the endpoint has weight 0")
        return self.generator.choices(list(fleet.servers), weights)[0]


_LIVE: dict[str, Live] = {}


def everything() -> dict[str, Live]:
    """Return the running state of each endpoint by ARN, in all accounts and Regions."""
    return dict(_LIVE)


def revive(arn: str, state: Live) -> None:
    """Set the running state of an existing endpoint, after a start of the embedded cloud."""
    _LIVE[arn] = state


def live(record: Record) -> Live:
    """Return the running state of an endpoint.

    Raises:
        ServiceError: ``ValidationException`` if it was deleted meanwhile.
    """
    # claim: endpoint-in-progress-takes-no-change
    found = _LIVE.get(record["EndpointArn"])
    if found is None:
        raise validation(resource_store.KINDS["Endpoint"].missing.format(arn=record["EndpointArn"]))
    return found


def create(request: Record) -> Record:
    """CreateEndpoint; the fleet starts in the background."""
    name = request["EndpointName"]
    config = usable_config(request["EndpointConfigName"])
    record = {"EndpointConfigName": config["EndpointConfigName"], "EndpointStatus": "Creating"}
    if "DeploymentConfig" in request:
        record["LastDeploymentConfig"] = request["DeploymentConfig"]
    with resource_store.LOCK:
        record = resource_store.add("Endpoint", name, record, request.get("Tags"))
        state = _LIVE[record["EndpointArn"]] = Live(seed=int(clock.now()))
    set_config(record, config, config.get("DataCaptureConfig"))
    announce(record)
    background(f"create endpoint {name}", _start, record, state, config)
    return {"EndpointArn": record["EndpointArn"]}


def describe(request: Record) -> Record:
    """DescribeEndpoint."""
    return view(resource_store.get("Endpoint", request["EndpointName"]))


def delete(request: Record) -> Record:
    """DeleteEndpoint; rejected while the endpoint is being created or updated, as in AWS."""
    record = resource_store.get("Endpoint", request["EndpointName"])
    with resource_store.LOCK:
        refuse_in_progress(record)
        resource_store.update(record, EndpointStatus="Deleting")
    announce(record)
    background(f"delete endpoint {record['EndpointName']}", _delete, record)
    return {}


def update_weights(request: Record) -> Record:
    """UpdateEndpointWeightsAndCapacities: changes weights and instance counts of the running fleet."""
    # claim: weights-are-changed-by-variant
    record = resource_store.get("Endpoint", request["EndpointName"])
    changes = {change["VariantName"]: change for change in request["DesiredWeightsAndCapacities"]}
    least = 0 if "AsyncInferenceConfig" in record else 1  # only an asynchronous endpoint scales to zero
    with resource_store.LOCK:
        refuse_in_progress(record)
        fleet = live(record).fleet
        unknown = sorted(set(changes) - set(fleet.servers if fleet is not None else ()))
        if fleet is None or unknown:
            raise validation(f'Could not find variants {unknown} on endpoint "{record["EndpointArn"]}".')
        for name, change in changes.items():
            _check_change(fleet.servers[name], change, least)
        resource_store.update(record, EndpointStatus="Updating")
    announce(record)
    background(f"weights of {record['EndpointName']}", _apply_weights, record, fleet, changes)
    return {"EndpointArn": record["EndpointArn"]}


def servers() -> Iterator[Server]:
    """Yield the servers of every endpoint, in all accounts and Regions."""
    for state in list(_LIVE.values()):
        for fleet in (state.fleet, None if state.deployment is None else state.deployment.fleet):
            if fleet is not None:
                yield from (*fleet.servers.values(), *fleet.shadows.values())


def usable_config(name: str) -> Record:
    """Return an endpoint config after checking that its models exist.

    Raises:
        ServiceError: ``ValidationException`` if the config or one of its models does not exist.
    """
    config = resource_store.get("EndpointConfig", name)
    for variant in (*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])):
        resource_store.get("Model", variant["ModelName"])
    return config


def refuse_in_progress(record: Record) -> None:
    """Reject a change while another one is in progress.

    Raises:
        ServiceError: ``ValidationException`` in AWS's wording.
    """
    # claim: endpoint-in-progress-takes-no-change
    if record["EndpointStatus"] not in ("InService", "Failed", "OutOfService"):
        raise validation(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')


def set_config(record: Record, config: Record, capture: Record | None) -> None:
    """Set the config and data capture in an endpoint's record; the capture summary has every member even without a key."""
    for member in ("AsyncInferenceConfig", "DataCaptureConfig"):
        record.pop(member, None)
    if "AsyncInferenceConfig" in config:
        record["AsyncInferenceConfig"] = config["AsyncInferenceConfig"]
    if capture is None:
        return
    enabled = capture.get("EnableCapture", False)
    record["DataCaptureConfig"] = {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }


def view(record: Record) -> Record:
    """Return the description of an endpoint: the record, its running variants and the pending deployment."""
    with resource_store.LOCK:
        state = live(record)
        shown = dict(record)
        if state.fleet is not None:
            shown["ProductionVariants"] = state.fleet.summaries()
            if state.fleet.shadows:
                shown["ShadowProductionVariants"] = [server.summary() for server in state.fleet.shadows.values()]
        if state.deployment is not None:
            shown["PendingDeploymentSummary"] = {
                "EndpointConfigName": state.deployment.config["EndpointConfigName"],
                "StartTime": state.deployment.started,
                "ProductionVariants": list(state.deployment.variants),
            }
            if not state.deployment.variants:
                del shown["PendingDeploymentSummary"]["ProductionVariants"]
        return shown


def announce(record: Record) -> None:
    """Send the endpoint's state change event."""
    status_events.state_change("Endpoint", view(record))


def _start(record: Record, state: Live, config: Record) -> None:
    name = record["EndpointName"]
    wanted = fleets.variants(config, [], [])
    try:
        fleet = fleets.start(name, config, wanted, config.get("DataCaptureConfig"), state.stop)
    except (FleetError, ServiceError) as error:
        resource_store.update(record, EndpointStatus="Failed", FailureReason=str(error))
    except Exception as error:
        LOGGER.exception("endpoint %s does not start", name)
        reason = f"InternalServerError: {type(error).__name__}: {error}"
        resource_store.update(record, EndpointStatus="Failed", FailureReason=reason)
    else:
        with resource_store.LOCK:
            state.fleet = fleet
            resource_store.update(record, EndpointStatus="InService")
    announce(record)


def _delete(record: Record) -> None:
    state = live(record)
    state.stop.set()
    if state.fleet is not None:
        state.fleet.stop()
    forget(record)


def forget(record: Record) -> None:
    """Remove an endpoint whose servers have ended."""
    with resource_store.LOCK:
        del _LIVE[record["EndpointArn"]]
        resource_store.remove("Endpoint", record["EndpointName"])


def _check_change(server: Server, change: Record, least: int) -> None:
    """Reject a capacity that a variant cannot have.

    Raises:
        ServiceError: ``ValidationException``.
    """
    # claim: weights-are-changed-by-variant
    wrong = "DesiredInstanceCount" if server.serverless is not None else "ServerlessUpdateConfig"
    if wrong in change:
        raise validation(f"{wrong} cannot be set for variant {server.variant}.")
    if change.get("DesiredInstanceCount", least) < least:
        raise validation(f"DesiredInstanceCount of variant {server.variant} must be at least {least}.")


def _apply_weights(record: Record, fleet: Fleet, changes: dict[str, Record]) -> None:
    with resource_store.LOCK:
        for name, change in changes.items():
            server = fleet.servers[name]
            server.weight = float(change.get("DesiredWeight", server.weight))
            server.instances = int(change.get("DesiredInstanceCount", server.instances))
            if server.serverless is not None:
                server.serverless = server.serverless | change.get("ServerlessUpdateConfig", {})
        resource_store.update(record, EndpointStatus="InService")
    announce(record)
