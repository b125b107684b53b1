"""API Gateway's REST APIs on the embedded cloud: integrations with services, mappings and templates, as on AWS.

MiniStack keeps the APIs and their records; the way of a request through them is ours.
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
    """Take over the requests to REST APIs."""
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
