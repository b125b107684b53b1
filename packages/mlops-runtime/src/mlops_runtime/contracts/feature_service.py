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

    ``ttl_bound`` says whether the last instant of the time to live counts; ``None``: it does. ``alias`` is what this use of the
    group is called, where not by the group; ``on`` names the columns of entity rows that hold its keys, where they are others.
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
        """What the columns of the group begin with, before ``__``."""
        return self.group if self.alias is None else self.alias

    @property
    def key_columns(self) -> dict[str, str]:
        """By key column of the group, the column of the entity rows that holds it."""
        return {entity.name: (self.on or {}).get(entity.name, entity.name) for entity in self.entities}


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

    @property
    def text(self) -> str:
        """The use as model packages name it, in characters that the registry takes.

        Example:
            >>> FeatureServiceUse(name="shelves", version=2, sha256="0f").text
            'shelves/2@0f'
        """
        return f"{self.name}/{self.version}@{self.sha256}"


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
