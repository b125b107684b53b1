"""SageMaker of the embedded cloud: jobs, registry, endpoints with deployment guardrails, capture and metrics.

It is registered beside MiniStack's services, and runs real scripts and servers as processes.
"""

from ministack import app
from ministack.core import router

from mlops_local import clock
from mlops_local.iam import resource_tags
from mlops_local.routes import ROUTES
from mlops_local.sagemaker import (
    endpoint_restarts,
    invocations,
    jobs_under_way,
    machine_integrations,
    monitoring_schedules,
    resource_store,
    sagemaker_api,
    sagemaker_types,
    training_jobs,
)


def install() -> None:
    """Register the service, its CloudFormation types and its Step Functions integrations."""
    app.SERVICE_HANDLERS["sagemaker"] = sagemaker_api.handle
    # API requests have a target header; runtime requests are recognized by their credential scope
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."]}
    sagemaker_types.install()
    machine_integrations.install()
    resource_tags.FINDERS["sagemaker"] = resource_store.tags_of
    ROUTES["/_mlops/interruptions"] = training_jobs.control
    ROUTES["/_mlops/monitoring"] = monitoring_schedules.control
    endpoint_restarts.install()
    clock.add_settler(jobs_under_way.settle)
    clock.add_source(monitoring_schedules.Schedules())
    clock.add_source(invocations.Rests())
    clock.add_source(invocations.Backlogs())
