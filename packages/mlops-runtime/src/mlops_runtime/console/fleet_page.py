"""Page with the models of several accounts and Regions, with links to their consoles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from mlops_runtime.console.http_message import Call, Connection
from mlops_runtime.contracts.fleet import FleetEnvironment, FleetModel
from mlops_runtime.fleet.fleet_reading import read_environments


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPage:
    """The models of a fleet, sorted by unit and model, in the order of its ``environments``.

    ``here`` is this console's own environment, null if it is not in the fleet; ``consoles`` are the addresses of other consoles.
    ``unread`` is why an environment, unit or model is missing, as in ``mlops fleet``.
    """

    now: datetime
    models: tuple[FleetModel, ...]
    environments: tuple[str, ...]
    here: str | None = None
    consoles: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)


class Fleet:
    """The environments of a fleet, with cached connections.

    Args:
        environments: Environments in the order of promotion.
        connect: Returns the connection to an environment with its reader role.
    """

    def __init__(
        self, environments: Sequence[FleetEnvironment], connect: Callable[[FleetEnvironment], Connection]
    ) -> None:
        self._environments, self._connect = tuple(environments), connect
        self._made: dict[str, Connection] = {}
        self._making = {each.name: Lock() for each in environments}

    def page(self, call: Call) -> FleetPage:
        """Return all models; an environment that cannot be read does not affect others, and is retried on the next call."""
        view = read_environments(self._environments, self._connected, now=call.now)
        return FleetPage(
            now=view.now,
            models=view.models,
            environments=tuple(each.name for each in self._environments),
            here=self._here(call),
            consoles={each.name: each.console for each in self._environments if each.console is not None},
            unread=view.unread,
        )

    def _connected(self, environment: FleetEnvironment) -> Connection:
        with self._making[environment.name]:
            if environment.name not in self._made:
                self._made[environment.name] = self._connect(environment)
            return self._made[environment.name]

    def _here(self, call: Call) -> str | None:
        own = call.caller.split(":")[4], call.cloud.client("ssm").meta.region_name
        return next((each.name for each in self._environments if (each.account, each.region) == own), None)
