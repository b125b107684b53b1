"""The child process of the embedded cloud: MiniStack with our planes registered in it, on an inherited socket."""

import asyncio
import logging
import os
import resource
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, cast

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app

from mlops_local import (
    alarms,
    autoscaling,
    clock,
    cloudformation,
    compat,
    conditional_copies,
    custom_resources,
    deleted_stacks,
    embedded_metrics,
    endpoint_services,
    failed_deletions,
    faults,
    function_logs,
    function_metrics,
    function_processes,
    functions,
    glue_jobs,
    glue_rulesets,
    iam,
    iam_machines,
    iam_operations,
    iam_resource_tags,
    iam_simulator,
    iam_targets,
    image_registry,
    imports,
    kubernetes,
    load_balancer,
    machine_validation,
    networks,
    processes,
    queue_policies,
    reach,
    sagemaker,
    schedules,
    security_groups,
    service_quotas,
    settings,
    signatures,
    stack_order,
    stack_waves,
    stamps,
    state_machines,
    stepfunctions,
    taken_names,
    template_references,
)
from mlops_local.egress import service as egress
from mlops_local.egress.refusals import with_refusals
from mlops_local.origins import with_origins
from mlops_local.routes import with_routes
from mlops_local.signatures import with_signatures

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

LOGGER = logging.getLogger(__name__)

# in the order of their installation: IAM stands in front of what the planes register
_MODULES = (
    clock,
    stamps,
    functions,
    function_logs,
    function_metrics,
    function_processes,
    embedded_metrics,
    signatures,
    iam,
    iam_machines,
    iam_operations,
    iam_targets,
    iam_resource_tags,
    conditional_copies,
    reach,
    sagemaker,
    cloudformation,
    custom_resources,
    stack_order,
    template_references,
    deleted_stacks,
    taken_names,
    security_groups,
    networks,
    imports,
    state_machines,
    stepfunctions,
    alarms,
    schedules,
    autoscaling,
    service_quotas,
    endpoint_services,
    iam_simulator,
    machine_validation,
    glue_jobs,
    glue_rulesets,
    image_registry,
    queue_policies,
    load_balancer,
    kubernetes,
    faults,
    failed_deletions,
    stack_waves,
)


def install() -> None:
    """Assert MiniStack's seams, then let every module of ours patch and register.

    Raises:
        CompatError: When MiniStack is not the one that our modules were written for.
    """
    compat.check()
    for module in _MODULES:
        module.install()


async def _serve(descriptor: int) -> None:
    config = Config()
    config.bind = [f"fd://{descriptor}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    application = with_origins(with_signatures(with_routes(with_refusals(app.app))))
    await serve(cast("ASGIFramework", application), config, shutdown_trigger=stopped.wait)


def main() -> None:
    """Run the embedded cloud until SIGTERM, then end its whole session: threads in the middle of something are not waited for."""
    tempfile.tempdir = None  # TMPDIR was set for this process
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        install()
    except compat.CompatError as error:
        sys.exit(f"mlops local: {error}")
    egress.start()
    LOGGER.info("embedded cloud: ministack %s, port %d, state in %s", compat.VERSION, settings.port, settings.home)
    asyncio.new_event_loop().run_until_complete(_serve(int(os.environ["MLOPS_LOCAL_SOCKET"])))
    LOGGER.info("embedded cloud: down")
    logging.shutdown()
    processes.kill(pid for pid in processes.members(os.getsid(0)) if pid != os.getpid())
    os._exit(0)


if __name__ == "__main__":
    main()
