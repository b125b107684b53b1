"""Service Quotas, as far as rollouts and ``mlops verify`` need them: SageMaker endpoint instances, and VPCs.

Only ``ListServiceQuotas``. Each instance type has a quota of 20; ``POST /_mlops/quotas`` with
``{"ml.m5.large for endpoint usage": 3}`` replaces all quotas set before.

See: https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_ListServiceQuotas.html
"""

import hashlib
import json
import logging
import os
from functools import partial

from ministack import app
from ministack.core import iam_actions, router
from ministack.core.responses import get_account_id, get_region
from ministack.services import stepfunctions

from mlops_local.routes import ROUTES
from mlops_local.sagemaker.api_shapes import Record, ServiceError, Shape, model, page, serve_operation
from mlops_local.saved_state import kept_stores

LOGGER = logging.getLogger(__name__)
SERVICE = "service-quotas"
_NAME = "servicequotas"
_TARGET = "ServiceQuotasV20190624"
_USUAL = 20.0
# claim: five-vpcs-per-region
# https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html: default quota and its code
VPCS = "VPCs per Region"
_VPC = {VPCS: ("L-F678F1CE", 5.0)}
# default number of VPCs in a Region; set by tests that share a cloud
_VPCS_VARIABLE = "MLOPS_LOCAL_VPCS"
_SET: dict[str, float] = kept_stores.keep(__name__, "_SET", {})


def install() -> None:
    """Register the service and its address ``/_mlops/quotas``."""
    app.SERVICE_HANDLERS[_NAME] = partial(serve_operation, "ListServiceQuotas", SERVICE, "Service Quotas", list_quotas)
    router.SERVICE_PATTERNS[_NAME] = {"target_prefixes": [f"{_TARGET}."]}
    iam_actions.SERVICE_TO_IAM_NAMESPACE[_NAME] = _NAME
    iam_actions._BOTOCORE_SERVICE_MAP.setdefault(_NAME, [SERVICE])
    # claim: step-functions-calls-service-quotas
    stepfunctions._AWS_SDK_SERVICE_MAP[_NAME] = {"target_prefix": _TARGET, "protocol": "json"}
    stepfunctions._AWS_SDK_ERROR_PREFIX[_NAME] = "ServiceQuotas"
    ROUTES["/_mlops/quotas"] = control


def control(method: str, body: bytes) -> tuple[int, object]:
    """Serve ``/_mlops/quotas``: POST quotas by name, GET those that were set."""
    if method == "POST":
        try:
            given = {str(name): float(value) for name, value in json.loads(body).items()}
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {"message": f"expected numbers by name of a quota: {type(error).__name__}: {error}"}
        unknown = sorted(set(given) - set(_names()) - set(_VPC))
        if unknown:
            return 400, {"message": f"SageMaker and VPC have no such quotas: {', '.join(unknown)}"}
        _SET.clear()
        _SET.update(given)
    elif method != "GET":
        return 405, {"message": f"POST quotas by name, or GET them, got {method}"}
    return 200, dict(_SET)


def value(name: str) -> float:
    """Return the value of a quota."""
    usual = float(os.environ.get(_VPCS_VARIABLE, _VPC[VPCS][1])) if name == VPCS else _USUAL
    return _SET.get(name, usual)


def list_quotas(request: Record) -> Record:
    """ListServiceQuotas: of SageMaker, one quota per instance type, sorted by name and paginated; of Amazon VPC, its VPCs."""
    # claim: quotas-are-listed-by-service
    if request["ServiceCode"] == "vpc":
        return {"Quotas": [_vpc_quota(name) for name in _VPC]}
    if request["ServiceCode"] != "sagemaker":
        raise ServiceError("NoSuchResourceException", f"the embedded cloud has no quotas of {request['ServiceCode']!r}")
    found = page("Quotas", _names(), request, most=100, code="InvalidPaginationTokenException")
    return {**found, "Quotas": [_quota(name, value(name)) for name in found["Quotas"]]}


def _names() -> list[str]:
    shape: Shape = model().shape_for("ProductionVariantInstanceType")
    types: list[str] = shape.enum
    return sorted(f"{kind} for endpoint usage" for kind in types)


def _quota(
    name: str, amount: float, *, service: str = "sagemaker", title: str = "Amazon SageMaker", code: str | None = None
) -> Record:
    code = "L-" + hashlib.sha256(name.encode()).hexdigest()[:8].upper() if code is None else code
    return {
        "ServiceCode": service,
        "ServiceName": title,
        "QuotaArn": f"arn:aws:servicequotas:{get_region()}:{get_account_id()}:{service}/{code}",
        "QuotaCode": code,
        "QuotaName": name,
        "Value": amount,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _vpc_quota(name: str) -> Record:
    code, usual = _VPC[name]
    title = "Amazon Virtual Private Cloud (Amazon VPC)"
    return _quota(name, _SET.get(name, usual), service="vpc", title=title, code=code)
