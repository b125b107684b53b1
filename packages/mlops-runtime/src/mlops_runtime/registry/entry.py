"""The parameter by which the command finds a package group, its unit, and who may approve its packages."""

from dataclasses import dataclass
from typing import Literal

from mlops_runtime.registry.approval import ApprovalRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """Parameter ``/mlops/<unit>/registry/<group>``."""

    group: str
    unit: str
    rule: ApprovalRule
    format: Literal["mlops.registry-entry/1"] = "mlops.registry-entry/1"


def registry_parameter(*, unit: str, group: str) -> str:
    """Return the name of a group's parameter.

    Example:
        >>> registry_parameter(unit="demand", group="demand-forecast")
        '/mlops/demand/registry/demand-forecast'
    """
    return f"/mlops/{unit}/registry/{group}"


def is_registry_parameter(name: str) -> bool:
    """Return whether a parameter of a name holds a ``RegistryEntry``.

    Example:
        >>> is_registry_parameter("/mlops/demand/endpoint/demand-forecast")
        False
    """
    parts = name.split("/")
    return len(parts) == 5 and (parts[0], parts[1], parts[3]) == ("", "mlops", "registry") and all(parts[2::2])
