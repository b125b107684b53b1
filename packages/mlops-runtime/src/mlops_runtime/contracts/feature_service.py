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
    """The features that a service takes from one group version, and how to read them.

    ``ttl_bound`` is whether the last instant of the time to live counts; ``None`` means ``inclusive``. ``alias`` replaces the
    group's name in this service. ``on`` maps key columns of the group to columns of the entity rows, where their names differ.
    """

    group: str
    version: int
    table: str
    entities: tuple[ServedColumn, ...]
    features: tuple[ServedColumn, ...]
    ttl_seconds: float | None = None
    ttl_bound: Literal["inclusive", "exclusive"] | None = None
    alias: str | None = None
    on: Mapping[str, str] | None = None

    @property
    def prefix(self) -> str:
        """Prefix of the group's columns, before ``__``."""
        return self.group if self.alias is None else self.alias

    @property
    def key_columns(self) -> dict[str, str]:
        """Map each key column of the group to the column of the entity rows that contains it."""
        return {entity.name: (self.on or {}).get(entity.name, entity.name) for entity in self.entities}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureServiceSpec:
    """A stored, immutable version of a feature service: ``services/<name>/<version>.json``."""

    name: str
    version: int
    groups: tuple[ServedGroup, ...]
    format: Literal["mlops.feature-service/1"] = "mlops.feature-service/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureServiceUse:
    """The version of a feature service that produced an artifact; ``sha256`` is the hash of its stored document."""

    name: str
    version: int
    sha256: str

    @property
    def text(self) -> str:
        """Reference to the version as model packages store it, in characters that the registry accepts.

        Example:
            >>> FeatureServiceUse(name="shelves", version=2, sha256="0f").text
            'shelves/2@0f'
        """
        return f"{self.name}/{self.version}@{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLookup:
    """How a model's server looks up features: the service, and the request field of each key column whose name differs.

    ``budget_milliseconds`` is the longest time that a call waits for them. After that the model gets nulls if ``allows_nulls``,
    else the caller gets status 503.
    """

    service: FeatureServiceSpec
    keys: Mapping[str, str] = field(default_factory=dict)
    budget_milliseconds: int = 15
    allows_nulls: bool = False
