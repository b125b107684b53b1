"""Roles and CloudWatch links in the accounts of a fleet, by which one account can observe all of them."""

from mlops_constructs.fleet.fleet_reader import FleetReader
from mlops_constructs.fleet.observability import ObservabilityLink, ObservabilitySink

__all__ = ["FleetReader", "ObservabilityLink", "ObservabilitySink"]
