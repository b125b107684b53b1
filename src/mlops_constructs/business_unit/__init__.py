"""The tenant: what every construct of one business unit shares."""

from mlops_constructs.business_unit.business_unit import BusinessUnit
from mlops_constructs.business_unit.freeze import FreezeCalendar
from mlops_constructs.business_unit.network import Network
from mlops_constructs.business_unit.platform import Platform
from mlops_constructs.unit_interface import Profile
from mlops_runtime.business_unit.freeze_calendar import Freeze

__all__ = ["BusinessUnit", "Freeze", "FreezeCalendar", "Network", "Platform", "Profile"]
