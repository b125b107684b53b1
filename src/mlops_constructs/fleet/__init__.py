"""What each account of a fleet has so that one account can look after all of them."""

from mlops_constructs.fleet.fleet_reader import FleetReader
from mlops_constructs.fleet.observability import ObservabilityLink, ObservabilitySink

__all__ = ["FleetReader", "ObservabilityLink", "ObservabilitySink"]
