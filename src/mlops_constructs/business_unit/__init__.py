"""Business units: the tenant whose resources all its constructs share."""

from mlops_constructs.business_unit.automation_access import FreezeCalendar
from mlops_constructs.business_unit.business_unit import BusinessUnit
from mlops_constructs.business_unit.platform_defaults import PlatformDefaults
from mlops_constructs.business_unit.platform_estate import Platform
from mlops_constructs.business_unit.unit_network import Network
from mlops_constructs.unit_interface import Profile
from mlops_runtime.business_unit.freeze_calendar import Freeze

__all__ = ["BusinessUnit", "Freeze", "FreezeCalendar", "Network", "Platform", "PlatformDefaults", "Profile"]
