"""The feature service ``mlops.feature-service/1``: a versioned list of features that training and serving share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedColumn:
    """A key column or a feature, with its declared type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedGroup:
    """The features of one group version that a service has, and what it takes to read them.

    ``ttl_bound`` says whether the last instant of the time to live counts; ``None``: it does.
    """

    group: str
    version: int
    table: str
    entities: tuple[ServedColumn, ...]
    features: tuple[ServedColumn, ...]
    ttl_seconds: float | None = None
    ttl_bound: Literal["inclusive", "exclusive"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureServiceSpec:
    """A version of a feature service as it is stored, once: ``services/<name>/<version>.json``."""

    name: str
    version: int
    groups: tuple[ServedGroup, ...]
    format: Literal["mlops.feature-service/1"] = "mlops.feature-service/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureServiceUse:
    """Which version of a feature service something was made with; ``sha256`` is of its stored document."""

    name: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLookup:
    """How a model's server looks up features: the service, and the name in requests of each key column, where it is another.

    ``budget_milliseconds`` is how long a call may wait for them. ``allows_nulls`` says what happens then: the model gets nulls, or
    the caller the status 503.
    """

    service: FeatureServiceSpec
    keys: Mapping[str, str] = field(default_factory=dict)
    budget_milliseconds: int = 15
    allows_nulls: bool = False
