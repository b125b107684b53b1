"""The load balancers of the embedded cloud: ELBv2's control plane over a real weighted proxy, with health checks and metrics.

Application load balancers with HTTP only: a listener of any port and protocol is reached at a port of 127.0.0.1 that
``mlops local status`` names. What the proxy cannot do is refused: other actions, other conditions, stickiness.
"""

from mlops_local.load_balancer import api, balancers
from mlops_local.routes import ROUTES


def install() -> None:
    """Complete the service, and start what follows it."""
    api.install()
    balancers.start()
    ROUTES["/_mlops/load-balancers"] = balancers.control
