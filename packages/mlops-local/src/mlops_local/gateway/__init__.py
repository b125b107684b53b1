"""API Gateway REST APIs of the embedded cloud: service integrations, mappings and mapping templates.

MiniStack stores the APIs; this package executes requests to them.
"""

from mlops_local.gateway import (
    api_hosts,
    definition_checks,
    deployments,
    execution,
    firewall,
    gateway_responses,
    template_types,
    vpc_links,
)


def install() -> None:
    """Install the execution of REST API requests."""
    gateway_responses.install()
    api_hosts.install()
    deployments.install()
    execution.install()
    firewall.install()
    definition_checks.install()
    template_types.install()
    vpc_links.install()
