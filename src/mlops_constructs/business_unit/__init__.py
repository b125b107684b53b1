"""The tenant: what every construct of one business unit shares."""

from mlops_constructs.business_unit.business_unit import BusinessUnit
from mlops_constructs.business_unit.network import Network
from mlops_constructs.business_unit.profile import Profile

__all__ = ["BusinessUnit", "Network", "Profile"]
