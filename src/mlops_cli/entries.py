"""Finds what a unit has deployed by the parameters that its stack published, and names what there is if it does not find it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_cli.errors import UserError
from mlops_runtime.business_unit.entries import ROOT, Entry, read_entry
from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.automation import EndpointEntry, PipelineEntry, UnitEntry

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """The published parameters of an account and region.

    Args:
        ssm: Client.
    """

    ssm: "SSMClient"

    def unit(self, name: str) -> UnitEntry:
        """Return a unit.

        Raises:
            UserError: If there is none of that name.
        """
        found = self._get(f"{ROOT}{_checked(name)}/unit")
        if isinstance(found, UnitEntry):
            return found
        raise UserError(f"there is no business unit {name!r} here; {self._there_are(UnitEntry)}")

    def endpoint(self, name: str) -> EndpointEntry:
        """Return an endpoint.

        Raises:
            UserError: If there is none of that name.
        """
        found = self._endpoint(_checked(name))
        if found is None:
            raise UserError(f"there is no endpoint {name!r} here; {self._there_are(EndpointEntry)}")
        return found

    def chain(self, name: str) -> UnitEntry | EndpointEntry:
        """Return what has a chain of audit records: an endpoint or a unit.

        Raises:
            UserError: If there is none of that name, or both.
        """
        unit, endpoint = self._get(f"{ROOT}{_checked(name)}/unit"), self._endpoint(name)
        if isinstance(unit, UnitEntry) and endpoint is not None:
            raise UserError(f"{name!r} is a business unit and an endpoint of {endpoint.unit!r}; rename one of them")
        if endpoint is not None:
            return endpoint
        if isinstance(unit, UnitEntry):
            return unit
        raise UserError(
            f"there is no endpoint or business unit {name!r} here; {self._there_are(EndpointEntry, UnitEntry)}"
        )

    def units(self) -> list[UnitEntry]:
        """Return every unit."""
        return [entry for entry in self._all(ROOT) if isinstance(entry, UnitEntry)]

    def of_unit(self, unit: str) -> tuple[list[EndpointEntry], list[PipelineEntry]]:
        """Return the endpoints and pipelines of a unit."""
        entries = list(self._all(f"{ROOT}{unit}/"))
        return (
            [entry for entry in entries if isinstance(entry, EndpointEntry)],
            [entry for entry in entries if isinstance(entry, PipelineEntry)],
        )

    def _endpoint(self, name: str) -> EndpointEntry | None:
        # an endpoint's name begins with its unit's, which may have hyphens itself
        units = [name[: match.start()] for match in re.finditer("-", name)]
        found = (self._get(f"{ROOT}{unit}/endpoint/{name}") for unit in units)
        return next((entry for entry in found if isinstance(entry, EndpointEntry)), None)

    def _get(self, name: str) -> Entry | None:
        try:
            value = self.ssm.get_parameter(Name=name)["Parameter"]["Value"]
        except self.ssm.exceptions.ParameterNotFound:
            return None
        return _read(name, value)

    def _all(self, path: str) -> Iterator[Entry]:
        for page in self.ssm.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=True):
            for parameter in page["Parameters"]:
                entry = _read(parameter["Name"], parameter["Value"])
                if entry is not None:
                    yield entry

    def _there_are(self, *kinds: type[Entry]) -> str:
        from botocore.exceptions import ClientError

        try:
            names = sorted(name for entry in self._all(ROOT) if isinstance(entry, kinds) for name in [_name(entry)])
        except ClientError:
            return "which there are may not be listed by this caller (ssm:GetParametersByPath)"
        return f"there are: {', '.join(names)}" if names else "there is none; deploy a stack first"


def _name(entry: Entry) -> str:
    if isinstance(entry, UnitEntry):
        return entry.unit
    return entry.endpoint if isinstance(entry, EndpointEntry) else entry.pipeline


def _read(name: str, value: str) -> Entry | None:
    try:
        return read_entry(name, value)
    except ContractError as error:
        raise UserError(
            f"the parameter {name} is not what this version of mlops reads: {error}; deploy the stack again"
        ) from error


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UserError(f"a name is letters, digits and hyphens, got {name!r}")
    return name
