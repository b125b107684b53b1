"""The child process of the embedded cloud: MiniStack with our modules registered, serving on an inherited socket."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator

if __name__ == "__main__":
    gc.disable()  # imported modules stay: collecting garbage took two fifths of the import time

import uvicorn
from ministack import app

from mlops_local import (
    alarms,
    autoscaling,
    bucket_abac,
    clock,
    cognito,
    compat,
    embedded_metrics,
    event_buses,
    gateway,
    image_registry,
    kubernetes,
    load_balancer,
    metric_statistics,
    model_environments,
    observability_links,
    own_names,
    page_hosts,
    price_list,
    queue_metrics,
    request_quotas,
    s3_objects,
    sagemaker,
    schedules,
    service_quotas,
    session_processes,
    settings,
    stamps,
)
from mlops_local.athena import queries
from mlops_local.egress import proxy_service
from mlops_local.egress.proxy import Proxy, with_schemes
from mlops_local.egress.refusals import with_refusals
from mlops_local.functions import function_processes, functions, invocation_telemetry
from mlops_local.glue import jobs, rulesets
from mlops_local.iam import (
    authorization,
    deliveries,
    machine_roles,
    owner_policies,
    owners,
    policy_limits,
    policy_principals,
    request,
    resource_tags,
    role_sessions,
    signatures,
    simulator,
)
from mlops_local.iam.signatures import with_signatures
from mlops_local.networks import networks, reach, security_groups
from mlops_local.origins import with_origins
from mlops_local.routes import with_routes
from mlops_local.saved_state import saver, snapshot_files
from mlops_local.stacks import (
    creation_order,
    custom_resources,
    failed_deletions,
    refused_operations,
    resource_imports,
    resource_types,
    stack_descriptions,
    taken_names,
    waves,
)
from mlops_local.state_machines import definitions, diagnostics, executions, faults, s3_tasks

LOGGER = logging.getLogger(__name__)
_OWNER_SECONDS = 1  # between checks of the owner

# in order of installation: IAM precedes the services that the other modules register
_MODULES = (
    clock,
    stamps,
    functions,
    invocation_telemetry,
    function_processes,
    embedded_metrics,
    signatures,
    authorization,
    owner_policies,
    role_sessions,
    machine_roles,
    request,
    deliveries,
    resource_tags,
    bucket_abac,
    s3_objects,
    reach,
    sagemaker,
    resource_types,
    observability_links,
    custom_resources,
    creation_order,
    stack_descriptions,
    taken_names,
    policy_limits,
    security_groups,
    networks,
    resource_imports,
    definitions,
    executions,
    s3_tasks,
    queue_metrics,
    alarms,
    metric_statistics,
    schedules,
    autoscaling,
    price_list,
    service_quotas,
    simulator,
    diagnostics,
    jobs,
    rulesets,
    queries,
    model_environments,
    image_registry,
    request_quotas,
    event_buses,
    policy_principals,
    owners,
    load_balancer,
    gateway,
    cognito,
    own_names,
    page_hosts,
    kubernetes,
    faults,
    failed_deletions,
    refused_operations,
    waves,
    saver,
)


def install() -> None:
    """Check MiniStack's names, then install every module.

    Raises:
        CompatError: If MiniStack is not the supported version.
    """
    compat.check()
    for module in _MODULES:
        module.install()


class _Server(uvicorn.Server):
    """A server that ends in order on this process's signals, without raising them again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, self, "should_exit", True)
        yield


async def _serve(descriptor: int, proxy: Proxy) -> None:
    answering = with_signatures(saver.with_changes(with_routes(with_refusals(app.app))))
    application = with_origins(with_schemes(answering, proxy.is_tls))
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        date_header=False,  # MiniStack's
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    watch = asyncio.create_task(_end_with_owner(server)) if settings.owner else None
    await server.serve([socket.socket(fileno=descriptor)])
    if watch is not None:
        watch.cancel()


async def _end_with_owner(server: _Server) -> None:
    """Stop the server in order once the process that owns this cloud has ended."""
    started, misses = session_processes.born(settings.owner), 0
    while started is not None and misses < 2:  # a single read may fail, as for want of file descriptors
        await asyncio.sleep(_OWNER_SECONDS)
        misses = 0 if session_processes.born(settings.owner) == started else misses + 1
    LOGGER.info("embedded cloud: its owner, process %d, has ended", settings.owner)
    server.should_exit = True


def main() -> None:
    """Run the embedded cloud until SIGTERM, then end its whole session without waiting for busy threads."""
    tempfile.tempdir = None  # TMPDIR was set for this process
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        install()
        saver.restore()
    except compat.CompatError as error:
        sys.exit(f"mlops local: {error}")
    except snapshot_files.SnapshotError as error:
        sys.exit(
            f"mlops local: the state cannot be restored, and is not deleted: {error}; put a copy of {saver.folder()} "
            "in its place, or delete the state with `mlops local down --forget`"
        )
    gc.freeze()
    gc.enable()
    proxy = proxy_service.start()
    clock.start()
    saver.start()
    LOGGER.info("embedded cloud: ministack %s, port %d, state in %s", compat.VERSION, settings.port, settings.home)
    asyncio.new_event_loop().run_until_complete(_serve(int(os.environ["MLOPS_LOCAL_SOCKET"]), proxy))
    saver.save_at_end()
    LOGGER.info("embedded cloud: down")
    logging.shutdown()
    session_processes.kill(pid for pid in session_processes.members(os.getsid(0)) if pid != os.getpid())
    os._exit(0)


if __name__ == "__main__":
    main()
