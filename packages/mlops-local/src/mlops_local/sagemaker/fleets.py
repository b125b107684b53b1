"""Fleets: the servers of one endpoint config of an endpoint.

A variant of N instances is a single process that counts as N instances and serves all their calls; instance counts and canary sizes
only determine that process's share of the traffic.
"""

import http.client
import random
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from mlops_local import clock, runners
from mlops_local.sagemaker import endpoint_configs, foreign_images, resource_store
from mlops_local.sagemaker.api_shapes import Record
from mlops_local.sagemaker.container_processes import LogStream, Process, environment, mapped, opt_ml
from mlops_local.sagemaker.role_clients import Identity
from mlops_runtime.serving.model_archive import ArchiveError, Limits, unpack

LOG_GROUP = "/aws/sagemaker/Endpoints"
# real seconds; AWS's default is longer, but here no image is pulled and no instance started. A variant's
# ContainerStartupHealthCheckTimeoutInSeconds overrides it
STARTUP = 60.0
PING = 2.0  # timeout of one ping, in seconds
# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html#your-algorithms-inference-algo-ping-requests
# "SageMaker sends SIGTERM, then SIGKILL 30 seconds later"; the page is the same
_STOP = 30.0
# the same page: "containers must respond to requests within 60 seconds"
_DRAIN = 60.0
# https://www.kernel.org/doc/html/latest/networking/ip-sysctl.html: ephemeral ports start at 32768
_PORTS = range(20_000, 32_000)
_MAX_UNPACKED = 20 * 2**30  # maximum bytes of unpacked model data, so that it cannot fill the disk


class FleetError(Exception):
    """A fleet could not start; the message is the ``FailureReason``."""


@dataclass(slots=True, kw_only=True)
class Server:
    """The process of one variant."""

    variant: str
    config: str  # endpoint config of its fleet
    instances: int  # number of instances that it represents; 0 for a serverless variant
    weight: float  # weight among the variants; of a shadow variant, relative to the production variant's weight
    identity: Identity  # execution role of its model
    image: str  # image URI
    root: Path  # folder that serves as the container's `/opt/ml`
    command: list[str]  # program and arguments
    env: dict[str, str]  # environment, except for the port
    log_group: str  # log group of its lines
    limit: float  # real seconds until it must respond to `/ping`
    model: Record  # record of the model, from which it can be created again
    instance_type: str | None = None  # instance type. Default: none, for a serverless variant
    serverless: Record | None = None  # `ServerlessConfig`. Default: none, for an instance variant
    resolved: datetime = field(default_factory=clock.utcnow)
    port: int = 0
    log_stream: str = ""
    process: Process | None = None
    busy: int = 0
    used: float = field(default_factory=clock.now)
    waking: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Start the process on its own port."""
        self.port = _free_port()
        self.log_stream = f"{self.variant}/i-{self.port:05d}-{int(clock.now())}"
        port = {"SAGEMAKER_BIND_TO_PORT": str(self.port), "SAGEMAKER_SAFE_PORT_RANGE": f"{self.port}-{self.port}"}
        logs = LogStream(self.log_group, self.log_stream, self.identity)
        self.process = Process(self.command, env=self.env | port, cwd=self.root, logs=logs)

    def wait_healthy(self, stop: threading.Event) -> None:
        """Wait until ``/ping`` responds.

        Raises:
            FleetError: If the process ended, was not ready in time, or ``stop`` was set.
        """
        # claim: endpoint-passes-ping-or-fails
        deadline = time.monotonic() + self.limit
        while not self.ping():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline or stop.wait(0.05):
                # AWS's wording in public reports: github.com/aws/sagemaker-python-sdk/issues/1028
                raise FleetError(
                    f"The primary container for production variant {self.variant} did not pass the ping health check. "
                    "Please check CloudWatch logs for this endpoint."
                )

    def ping(self) -> bool:
        """Return whether ``/ping`` returns 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PING)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def rest(self) -> None:
        """Stop the process and keep its files for a restart."""
        process, self.process = self.process, None
        if process is not None:
            process.stop(_STOP)

    def stop(self) -> None:
        """Stop the process and delete its files."""
        self.rest()
        shutil.rmtree(self.root, ignore_errors=True)

    def summary(self) -> Record:
        """Return the variant as Describe returns it."""
        image = {"SpecifiedImage": self.image, "ResolvedImage": self.image, "ResolutionTime": self.resolved}
        shown: Record = {
            "VariantName": self.variant,
            "DeployedImages": [image],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
        }
        if self.serverless is None:
            shown |= {"CurrentInstanceCount": self.instances, "DesiredInstanceCount": self.instances}
        else:
            shown |= {"CurrentServerlessConfig": self.serverless, "DesiredServerlessConfig": self.serverless}
        return shown


@dataclass(slots=True)
class Fleet:
    """The servers of one endpoint config by variant, including shadow variants."""

    config: str
    servers: dict[str, Server]
    capture: Record | None
    shadows: dict[str, Server] = field(default_factory=dict)
    calls: int = 0
    _ended: threading.Condition = field(default_factory=lambda: threading.Condition(resource_store.LOCK))

    def start_call(self) -> None:
        """Count a call that was routed here and is in progress."""
        with self._ended:
            self.calls += 1

    def end_call(self) -> None:
        """Count a call as finished."""
        with self._ended:
            self.calls -= 1
            self._ended.notify_all()

    def retire(self) -> None:
        """Stop every server after the calls in progress have finished or timed out."""
        with self._ended:
            self._ended.wait_for(lambda: self.calls == 0, timeout=_DRAIN)
        self.stop()

    def stop(self) -> None:
        """Stop every server."""
        for server in (*self.servers.values(), *self.shadows.values()):
            server.stop()

    def summaries(self) -> list[Record]:
        """Return the variants as Describe returns them."""
        return [server.summary() for server in self.servers.values()]


def variants(config: Record, retained: Sequence[Record], excluded: Sequence[str]) -> list[Record]:
    """Return a config's variants with the instance counts and weights that an update retains.

    Args:
        config: The new endpoint config.
        retained: Summaries of the running variants; empty if nothing is retained.
        excluded: Properties to take from the config nevertheless.

    See: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html (RetainAllVariantProperties)
    """
    running = {summary["VariantName"]: summary for summary in retained}
    kept = {"DesiredInstanceCount": "InitialInstanceCount", "DesiredWeight": "InitialVariantWeight"}
    return [
        variant
        | {
            member: running[variant["VariantName"]][source]
            for source, member in kept.items()
            if source in running.get(variant["VariantName"], {}) and source not in excluded
        }
        for variant in config["ProductionVariants"]
    ]


def start(
    endpoint: str, config: Record, wanted: Sequence[Record], capture: Record | None, stop: threading.Event
) -> Fleet:
    """Start one server per variant, and wait until each responds to ``/ping``.

    Raises:
        FleetError: If a server did not start; the others are stopped.
    """
    fleet = Fleet(config=config["EndpointConfigName"], servers={}, capture=capture)
    try:
        for variant in wanted:
            fleet.servers[variant["VariantName"]] = _launch(endpoint, fleet.config, variant)
        for variant in config.get("ShadowProductionVariants", []):
            fleet.shadows[variant["VariantName"]] = _launch(endpoint, fleet.config, variant)
        for server in (*fleet.servers.values(), *fleet.shadows.values()):
            server.wait_healthy(stop)
    except OSError as error:
        fleet.stop()
        # claim: endpoint-passes-ping-or-fails
        raise FleetError(f"The servers of {endpoint} cannot start: {error}") from error
    except Exception:
        fleet.stop()
        raise
    return fleet


def _launch(endpoint: str, config: str, variant: Record) -> Server:
    name = variant["VariantName"]
    # a separate folder, as an instance has its own disk: a rollback may start a fleet whose predecessor is still being stopped
    root = opt_ml("endpoints", endpoint, config, f"{name}-{uuid.uuid4().hex[:8]}")
    server = make_server(
        resource_store.get("Model", variant["ModelName"]),
        root,
        variant=name,
        config=config,
        instances=int(variant.get("InitialInstanceCount", 0)),
        weight=float(variant["InitialVariantWeight"]),
        log_group=f"{LOG_GROUP}/{endpoint}",
        limit=float(variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP)),
        instance_type=variant.get("InstanceType"),
        serverless=variant.get("ServerlessConfig"),
    )
    server.start()
    return server


def saved(fleet: Fleet) -> Record:
    """Return the state from which a fleet can be restarted."""

    def members(server: Server) -> Record:
        names = ("model", "instances", "weight", "log_group", "limit", "instance_type", "serverless", "resolved")
        return {name: getattr(server, name) for name in names} | {"rests": server.process is None}

    return {
        "config": fleet.config,
        "capture": fleet.capture,
        "servers": {name: members(server) for name, server in fleet.servers.items()},
        "shadows": {name: members(server) for name, server in fleet.shadows.items()},
    }


def start_again(endpoint: str, record: Record, stop: threading.Event) -> Fleet:
    """Restart a fleet from the result of ``saved``, and wait until its servers respond to ``/ping``.

    Raises:
        FleetError: If a server did not start; the others are stopped.
        OSError: If this machine cannot start one; the others are stopped.
    """
    fleet = Fleet(config=record["config"], servers={}, capture=record["capture"])
    try:
        for kind, servers in (("servers", fleet.servers), ("shadows", fleet.shadows)):
            for name, saved_members in record[kind].items():
                members = {key: value for key, value in saved_members.items() if key not in ("model", "rests")}
                root = opt_ml("endpoints", endpoint, fleet.config, f"{name}-{uuid.uuid4().hex[:8]}")
                server = make_server(saved_members["model"], root, variant=name, config=fleet.config, **members)
                servers[name] = server
                if not saved_members["rests"]:
                    server.start()
        for server in (*fleet.servers.values(), *fleet.shadows.values()):
            if server.process is not None:
                server.wait_healthy(stop)
    except Exception:
        fleet.stop()
        raise
    return fleet


def make_server(model: Record, root: Path, *, given: Mapping[str, str] | None = None, **members: Any) -> Server:
    """Return the server of a model with its data in place; it is not started.

    Args:
        model: Record of the model.
        root: Empty folder that serves as the container's ``/opt/ml``.
        given: Environment variables in addition to the model's own. Default: none.
        members: The other fields of the ``Server``.

    Raises:
        FleetError: If the data cannot be extracted, or the image cannot run here.
    """
    container = model["Resolved"]
    identity = endpoint_configs.identity(model)
    problem = foreign_images.pull_problem(container["Image"], identity)
    if problem is not None:
        raise FleetError(problem)
    (root / "model").mkdir()
    if "ModelDataUrl" in container:
        _unpack(container["ModelDataUrl"], identity, root)
    # claim: job-image-must-be-known
    try:
        image = runners.environment(container["Image"])
        command = runners.serve_command(container["Image"])
    except runners.UnknownImageError as error:
        raise FleetError(str(error)) from error
    # one worker: this machine has many endpoints, an instance only one
    env = {"MLOPS_WORKERS": "1"} | image
    requested = {**container.get("Environment", {}), **({} if given is None else given)}
    env |= environment(root, requested, identity, isolated=model["EnableNetworkIsolation"])
    env |= {"SM_MODEL_DIR": str(root / "model"), "MLOPS_BIND_HOST": "127.0.0.1", "MLOPS_HOSTS": "127.0.0.1,localhost"}
    return Server(
        identity=identity,
        model=model,
        image=container["Image"],
        root=root,
        command=[mapped(root, part) for part in command],
        env=env,
        **members,
    )


def _unpack(url: str, identity: Identity, root: Path) -> None:
    """Download and extract model data, as a pod's ``fetch`` does: plain files and folders only, with a size limit."""
    # claim: endpoint-passes-ping-or-fails
    bucket, _, key = url.removeprefix("s3://").partition("/")
    archive = root / "model.tar.gz"
    try:
        identity.client("s3").download_file(bucket, key, str(archive))
        with archive.open("rb") as packed:
            unpack(packed, root / "model", limits=Limits(unpacked_bytes=_MAX_UNPACKED))
    except (ClientError, BotoCoreError, OSError, ArchiveError) as error:
        raise FleetError(f"Failed to extract model data archive from {url}: {error}") from error
    finally:
        archive.unlink(missing_ok=True)


def _free_port() -> int:
    """Return a free port below the system's ephemeral ports.

    Another process could take the port before the server binds it; below the ephemeral range, outgoing connections cannot, and
    others only by chance.
    """
    for port in random.sample(_PORTS, k=100):
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise FleetError(f"No port from {_PORTS.start} to {_PORTS.stop - 1} on 127.0.0.1 is free for a model's server.")
