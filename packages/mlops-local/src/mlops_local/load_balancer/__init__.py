"""Load balancers of the embedded cloud: ELBv2's control plane over a real weighted proxy, with health checks and metrics.

Only application load balancers with HTTP: a listener of any port and protocol is served on a port of 127.0.0.1, listed by
``mlops local status``. Features that the proxy lacks are rejected: other actions, other conditions, stickiness.
"""

from ministack.services import stepfunctions

from mlops_local.load_balancer import access_logs, balancer_api
from mlops_local.routes import ROUTES


def install() -> None:
    """Complete MiniStack's service and its state machine tasks, and start the proxies and health checks."""
    balancer_api.install()
    access_logs.install()
    sdk, service = "elasticloadbalancingv2", {"protocol": "query", "service_key": "elasticloadbalancing"}
    stepfunctions._AWS_SDK_SERVICE_MAP[sdk] = service
    stepfunctions._AWS_SDK_ERROR_PREFIX[sdk] = "ElasticLoadBalancingV2"
    balancer_api.start()
    ROUTES["/_mlops/load-balancers"] = balancer_api.control
