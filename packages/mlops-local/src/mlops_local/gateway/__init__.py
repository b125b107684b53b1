"""API Gateway REST APIs of the embedded cloud: service integrations, mappings and mapping templates.

MiniStack stores the APIs; this package executes requests to them.
"""

from mlops_local.gateway import (
    access_denials,
    api_hosts,
    deployments,
    distribution_origins,
    execution,
    firewall,
    method_checks,
    model_checks,
    template_types,
    vpc_links,
)


def install() -> None:
    """Install the execution of REST API requests."""
    access_denials.install()
    api_hosts.install()
    deployments.install()
    execution.install()
    firewall.install()
    method_checks.install()
    model_checks.install()
    template_types.install()
    vpc_links.install()
    distribution_origins.install()
