"""The load balancers of the embedded cloud: ELBv2's control plane over a real weighted proxy, with health checks and metrics.

Application load balancers with HTTP only: a listener of any port and protocol is reached at a port of 127.0.0.1 that
``mlops local status`` names. What the proxy cannot do is refused: other actions, other conditions, stickiness.
"""

from ministack.services import stepfunctions

from mlops_local import compat
from mlops_local.load_balancer import access_logs, balancer_api
from mlops_local.routes import ROUTES

compat.expect("ministack.services.stepfunctions", _AWS_SDK_SERVICE_MAP=dict, _AWS_SDK_ERROR_PREFIX=dict)


def install() -> None:
    """Complete the service and its tasks of state machines, and start what follows it."""
    balancer_api.install()
    access_logs.install()
    sdk, service = "elasticloadbalancingv2", {"protocol": "query", "service_key": "elasticloadbalancing"}
    stepfunctions._AWS_SDK_SERVICE_MAP[sdk] = service
    stepfunctions._AWS_SDK_ERROR_PREFIX[sdk] = "ElasticLoadBalancingV2"
    balancer_api.start()
    ROUTES["/_mlops/load-balancers"] = balancer_api.control
