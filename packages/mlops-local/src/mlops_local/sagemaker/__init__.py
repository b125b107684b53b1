"""The SageMaker of the embedded cloud: jobs, registry, endpoints with deployment guardrails, capture and metrics.

It is registered beside MiniStack's own services and runs real scripts and real servers as processes.
"""

from ministack import app
from ministack.core import router

from mlops_local import clock, compat
from mlops_local.iam import resource_tags
from mlops_local.routes import ROUTES
from mlops_local.sagemaker import (
    api,
    asynchronous,
    monitoring,
    monitoring_runs,
    resources,
    serverless,
    spot,
    stepfunctions,
    store,
)

compat.expect("ministack.app", SERVICE_HANDLERS=dict)
compat.expect("ministack.core.router", SERVICE_PATTERNS=dict)


def install() -> None:
    """Register the service, its CloudFormation types and its Step Functions integrations."""
    app.SERVICE_HANDLERS["sagemaker"] = api.handle
    # requests of the API carry a target; those of the runtime are found by their credential scope
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."]}
    resources.install()
    stepfunctions.install()
    resource_tags.FINDERS["sagemaker"] = store.tags_of
    ROUTES["/_mlops/interruptions"] = spot.control
    ROUTES["/_mlops/monitoring"] = monitoring.control
    clock.add_source(monitoring_runs.Schedules())
    clock.add_source(serverless.Rests())
    clock.add_source(asynchronous.Backlogs())
