"""Client of a deployed business unit, found by the SSM parameters that its stacks publish."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mlops_runtime.client.connection import Connection, UnitError
from mlops_runtime.client.model import Model
from mlops_runtime.contracts.unit_entries import ROOT, EndpointEntry, Entry, PipelineEntry, UnitEntry, read_entry

if TYPE_CHECKING:
    import boto3

E = TypeVar("E", bound=Entry)


class Unit:
    """A deployed unit; create it with ``connect``.

    Example:
        >>> unit = Unit.connect("demand")  # doctest: +SKIP
        >>> unit.model("forecast").runs(last=5)  # doctest: +SKIP
    """

    def __init__(self, connection: Connection, entry: UnitEntry) -> None:
        self._connection, self._entry = connection, entry

    @classmethod
    def connect(cls, name: str, *, session: "boto3.Session | None" = None, home: str | Path | None = None) -> "Unit":
        """Connect to a unit.

        Args:
            name: Name of the unit.
            session: Session of the AWS account. Default: from the environment.
            home: Folder of an embedded cloud. Default: the one running in ``.mlops/local``, unless the environment selects an
                AWS account.

        Raises:
            UnitError: If the unit is not found.
        """
        connection = Connection.open(session, home)
        entry = _read(connection, f"{ROOT}{name}/unit", UnitEntry)
        if entry is None:
            where = connection.client("ssm").meta.endpoint_url
            raise UnitError(f"business unit {name!r} not found at {where}; list the units with: mlops status")
        return cls(connection, entry)

    @property
    def name(self) -> str:
        """Its name."""
        return self._entry.unit

    def model(self, name: str) -> Model:
        """Return a model of the unit.

        Args:
            name: Name of the model, such as ``forecast``, or with the unit's name, ``demand-forecast``.

        Raises:
            UnitError: If the unit has neither a pipeline nor an endpoint of that name.
        """
        full = name if name.startswith(f"{self.name}-") else f"{self.name}-{name}"
        pipeline = _read(self._connection, f"{ROOT}{self.name}/pipeline/{full}", PipelineEntry)
        served = full if pipeline is None or pipeline.endpoint is None else pipeline.endpoint
        endpoint = _read(self._connection, f"{ROOT}{self.name}/endpoint/{served}", EndpointEntry)
        if pipeline is None and endpoint is None:
            raise UnitError(
                f"business unit {self.name!r} has no pipeline or endpoint {full!r}; list them with: mlops status {self.name}"
            )
        return Model(self._connection, unit=self._entry, pipeline=pipeline, endpoint=endpoint)


def _read(connection: Connection, name: str, kind: type[E]) -> E | None:
    ssm = connection.client("ssm")
    try:
        value = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return None
    entry = read_entry(name, value)
    return entry if isinstance(entry, kind) else None
