"""Application Auto Scaling for variants of SageMaker endpoints: targets, policies, scheduled actions, and their effect.

Each embedded minute the service acts on alarms whose actions name a policy; scheduled actions run at their own times.
"""

from ministack import app
from ministack.core import iam_actions, router
from ministack.services import stepfunctions

from mlops_local import clock
from mlops_local.autoscaling import scaling_api, scaling_engine, scaling_store, scaling_types
from mlops_local.sagemaker import endpoint_configs

NAME = "application-autoscaling"
_PREFIX = "AnyScaleFrontendService"


def install() -> None:
    """Register the service, its CloudFormation types, its state machine tasks, and its clock source."""
    app.SERVICE_HANDLERS[NAME] = scaling_api.handle
    router.SERVICE_PATTERNS[NAME] = {"target_prefixes": [f"{_PREFIX}."]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE[NAME] = NAME
    stepfunctions._AWS_SDK_SERVICE_MAP["applicationautoscaling"] = {
        "target_prefix": _PREFIX,
        "protocol": "json",
        "service_key": NAME,
    }
    stepfunctions._AWS_SDK_ERROR_PREFIX["applicationautoscaling"] = "ApplicationAutoScaling"
    scaling_types.install()
    endpoint_configs.add_look(scaling_store.is_registered)
    clock.add_source(scaling_engine.Engine())
    clock.add_guard(scaling_engine.scheduled)
