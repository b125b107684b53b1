"""Find deployed units, endpoints, pipelines, stores and registries by the SSM parameters that their stacks publish."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.unit_entries import (
    ROOT,
    EndpointEntry,
    Entry,
    FeatureStoreEntry,
    PipelineEntry,
    UnitEntry,
    read_entry,
)
from mlops_runtime.promotion.environment_link import DOWNSTREAM, PROMOTIONS, RELEASES
from mlops_runtime.refused_calls import DENIED
from mlops_runtime.registry.package_approval import RegistryEntry, is_registry_parameter, registry_parameter

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

E = TypeVar("E", EndpointEntry, PipelineEntry)
Published = Entry | RegistryEntry

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


class NotDeployedError(ValueError):
    """The named entry is not deployed or cannot be read by this version; the message lists the deployed ones."""


class WholeUnit(NamedTuple):
    """A unit with its endpoints and pipelines, and its registries without an endpoint."""

    unit: UnitEntry
    endpoints: list[EndpointEntry]
    pipelines: list[PipelineEntry]
    registries: list[RegistryEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryChain:
    """An audit chain of a registry: ``name`` is ``<group>`` with ``.releases``, ``.promotions`` or ``.downstream``.

    Its row is in ``table``.
    """

    name: str
    owner: UnitEntry
    table: str
    registry: RegistryEntry

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return self.owner.unit

    @property
    def is_of_promotions(self) -> bool:
        """Whether it is the chain of versions that the registry takes from another environment."""
        return self.name.endswith(PROMOTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """The published parameters of an account and Region."""

    ssm: "SSMClient"

    def unit(self, name: str) -> UnitEntry:
        """Return a unit.

        Raises:
            NotDeployedError: If the name is not found.
        """
        found = [entry for entry in self._get(_unit_names(name)) if isinstance(entry, UnitEntry)]
        if not found:
            raise self._no_unit(name)
        return found[0]

    def endpoint(self, name: str | None) -> EndpointEntry:
        """Return an endpoint; ``None`` stands for the only one.

        Raises:
            NotDeployedError: If the name is not found, or there is not exactly one.
        """
        return self._one(EndpointEntry, "endpoint", name)

    def pipeline(self, name: str | None) -> PipelineEntry:
        """Return a pipeline; ``None`` stands for the only one.

        Raises:
            NotDeployedError: If the name is not found, or there is not exactly one.
        """
        return self._one(PipelineEntry, "pipeline", name)

    def feature_store(self, unit: str) -> FeatureStoreEntry:
        """Return the feature store of a unit.

        Raises:
            NotDeployedError: If the unit has no feature store.
        """
        names = [f"{ROOT}{_checked(unit)}/features"]
        found = [entry for entry in self._get(names) if isinstance(entry, FeatureStoreEntry)]
        if not found:
            raise NotDeployedError(
                f"business unit {unit!r} has not published a feature store; {self._there_are(FeatureStoreEntry)}"
            )
        return found[0]

    def chain(self, name: str) -> UnitEntry | EndpointEntry | RegistryChain:
        """Return the owner of an audit chain: an endpoint, a unit or a registry.

        Args:
            name: Name of the endpoint or unit; ``<group>.releases`` for releases of a registry without an endpoint,
                ``<group>.promotions`` for versions that a registry takes, ``<group>.downstream`` for candidates rejected in
                comparison with a champion in another environment.

        Raises:
            NotDeployedError: If the name is not found, or names both an endpoint and a unit.
        """
        if name.endswith((RELEASES, PROMOTIONS, DOWNSTREAM)):
            return self._of_registry(name)
        found = self._get([*_endpoint_names(name), *_unit_names(name)])
        endpoint = next((entry for entry in found if isinstance(entry, EndpointEntry)), None)
        unit = next((entry for entry in found if isinstance(entry, UnitEntry)), None)
        if unit is not None and endpoint is not None:
            raise NotDeployedError(
                f"{name!r} is both a business unit and an endpoint of {endpoint.unit!r}; rename one of them"
            )
        answer = unit if endpoint is None else endpoint
        if answer is None:
            there_are = self._there_are(EndpointEntry, UnitEntry)
            raise NotDeployedError(f"no endpoint or business unit is named {name!r}; {there_are}")
        return answer

    def registry(self, group: str) -> RegistryEntry:
        """Return the registry of a package group.

        Raises:
            NotDeployedError: If no registry of the group is deployed.
        """
        denied: ClientError | None = None
        # a group's name starts with its unit's name, which may contain hyphens
        for match in re.finditer("-", _checked(group)):
            name = registry_parameter(unit=group[: match.start()], group=group)
            value = self._value(name)
            if isinstance(value, ClientError):
                denied = value  # possibly for another unit whose name is a prefix
            elif value is not None:
                try:
                    return from_json(RegistryEntry, value)
                except ContractError as error:
                    raise _unreadable(name, error) from error
        if denied is not None:
            raise denied
        raise NotDeployedError(f"no registry of group {group!r} is deployed")

    def _of_registry(self, name: str) -> RegistryChain:
        group, _, what = name.rpartition(".")
        entry = self.registry(group)
        owner = self.unit(entry.unit)
        if what == PROMOTIONS[1:]:
            if entry.inbox is None:
                raise NotDeployedError(f"the registry of {group!r} takes no releases, so it has no chain {name!r}")
            return RegistryChain(name=name, owner=owner, table=entry.inbox.table, registry=entry)
        if what == DOWNSTREAM[1:]:
            if entry.targets is None:
                raise NotDeployedError(f"the registry of {group!r} has no targets, so it has no chain {name!r}")
            return RegistryChain(name=name, owner=owner, table=owner.automation_table, registry=entry)
        if entry.releases is None:
            raise NotDeployedError(f"the registry of {group!r} releases nothing, so it has no chain {name!r}")
        if entry.releases != name:
            raise NotDeployedError(f"releases of {group!r} are in the chain of endpoint {entry.releases!r}")
        return RegistryChain(name=name, owner=owner, table=owner.automation_table, registry=entry)

    def whole_units(self) -> list[WholeUnit]:
        """Return every unit with its deployed entries, from one listing of parameters."""
        entries = list(self._all(ROOT))
        return [
            _whole(own, [each for each in entries if each.unit == own.unit])
            for own in entries
            if isinstance(own, UnitEntry)
        ]

    def whole_unit(self, name: str) -> WholeUnit:
        """Return a unit with its deployed entries, from one listing of parameters.

        Raises:
            NotDeployedError: If the name is not found.
        """
        entries = list(self._all(f"{ROOT}{_checked(name)}/"))
        own = next((entry for entry in entries if isinstance(entry, UnitEntry)), None)
        if own is None:
            raise self._no_unit(name)
        return _whole(own, entries)

    def of_unit(self, unit: str) -> tuple[list[EndpointEntry], list[PipelineEntry]]:
        """Return the endpoints and pipelines of a unit."""
        return _of_kinds(list(self._all(f"{ROOT}{unit}/")))

    def by_unit(self) -> tuple[dict[str, list[Published]], dict[str, str]]:
        """Return the entries of every unit, from one listing of parameters.

        Returns:
            Entries by unit name, the unit's own entry first; and the reason, by unit name, for units that this version cannot read.
        """
        found: dict[str, list[Published]] = {}
        unread: dict[str, str] = {}
        for name, value in self._values(ROOT):
            unit = name.removeprefix(ROOT).partition("/")[0]
            try:
                entry = _read(name, value)
            except NotDeployedError as error:
                unread[unit] = str(error)
                continue
            if entry is not None:
                found.setdefault(unit, []).append(entry)
        return {
            unit: sorted(entries, key=lambda entry: not isinstance(entry, UnitEntry))
            for unit, entries in found.items()
            if unit not in unread and any(isinstance(entry, UnitEntry) for entry in entries)
        }, unread

    def endpoints_of(self, group: str) -> list[EndpointEntry]:
        """Return the endpoints that serve models of a package group."""
        return [entry for entry in self._all(ROOT) if isinstance(entry, EndpointEntry) and entry.group == group]

    def _one(self, kind: type[E], what: str, name: str | None) -> E:
        """Return the entry with a name; ``None`` stands for the only one of its kind."""
        if name is None:
            every = [entry for entry in self._all(ROOT) if isinstance(entry, kind)]
            if len(every) == 1:
                return every[0]
            raise NotDeployedError(f"name the {what}: {self._there_are(kind)}")
        names = [each.replace("/endpoint/", f"/{what}/") for each in _endpoint_names(name)]
        found = [entry for entry in self._get(names) if isinstance(entry, kind)]
        if not found:
            raise NotDeployedError(f"{what} {name!r} not found; {self._there_are(kind)}")
        return found[0]

    def _get(self, names: Sequence[str]) -> list[Entry]:
        """Return the entries of the parameters that exist and that the caller may read."""
        found: list[Entry] = []
        denied: ClientError | None = None
        for name in names:
            value = self._value(name)
            if isinstance(value, ClientError):
                denied = value
            elif value is not None:
                entry = _read(name, value)
                found += [entry] if isinstance(entry, Entry) else []
        if denied is not None and not found:
            raise denied
        return found

    def _value(self, name: str) -> str | ClientError | None:
        """Return a parameter's value, the error if the caller may not read it, or ``None`` if it does not exist."""
        try:
            return self.ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except self.ssm.exceptions.ParameterNotFound:
            return None
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                raise
            return error

    def _all(self, path: str) -> Iterator[Published]:
        for name, value in self._values(path):
            entry = _read(name, value)
            if entry is not None:
                yield entry

    def _values(self, path: str) -> Iterator[tuple[str, str]]:
        for page in self.ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True):
            for parameter in page["Parameters"]:
                yield parameter["Name"], parameter["Value"]

    def _no_unit(self, name: str) -> NotDeployedError:
        return NotDeployedError(f"business unit {name!r} not found; {self._there_are(UnitEntry)}")

    def _there_are(self, *kinds: type[Entry]) -> str:
        try:
            names = sorted(name for entry in self._all(ROOT) if isinstance(entry, kinds) for name in [_name(entry)])
        except ClientError:
            return "this caller has no permission to list deployed names (ssm:GetParametersByPath)"
        return f"deployed are: {', '.join(names)}" if names else "none is deployed; deploy a stack with: mlops deploy"


def _whole(own: UnitEntry, entries: Sequence[Published]) -> WholeUnit:
    endpoints, pipelines = _of_kinds(entries)
    served = {each.group for each in endpoints}
    registries = [each for each in entries if isinstance(each, RegistryEntry) and each.group not in served]
    return WholeUnit(own, endpoints, pipelines, registries)


def _of_kinds(entries: Sequence[Published]) -> tuple[list[EndpointEntry], list[PipelineEntry]]:
    return (
        [entry for entry in entries if isinstance(entry, EndpointEntry)],
        [entry for entry in entries if isinstance(entry, PipelineEntry)],
    )


def _name(entry: Published) -> str:
    if isinstance(entry, UnitEntry | FeatureStoreEntry):
        return entry.unit
    if isinstance(entry, RegistryEntry):
        return entry.group
    return entry.endpoint if isinstance(entry, EndpointEntry) else entry.pipeline


def _read(name: str, value: str) -> Published | None:
    try:
        return from_json(RegistryEntry, value) if is_registry_parameter(name) else read_entry(name, value)
    except ContractError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: ContractError) -> NotDeployedError:
    return NotDeployedError(
        f"the parameter {name} cannot be read by this version of mlops: {error}; deploy the stack again"
    )


def _unit_names(name: str) -> list[str]:
    return [f"{ROOT}{_checked(name)}/unit"]


def _endpoint_names(name: str) -> list[str]:
    # an endpoint's name starts with its unit's name, which may contain hyphens
    units = [name[: match.start()] for match in re.finditer("-", _checked(name))]
    return [f"{ROOT}{unit}/endpoint/{name}" for unit in units]


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise NotDeployedError(f"a name must consist of letters, digits and hyphens, got {name!r}")
    return name
