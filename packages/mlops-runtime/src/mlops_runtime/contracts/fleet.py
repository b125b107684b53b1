"""Which accounts and Regions a fleet has (``fleet.json``), and what one view of it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

FLEET_READER = "MlopsFleetReader"  # name of the role of each account, if its stack gives it no other


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetEnvironment:
    """An account and Region under the name by which people know it, and how it is read.

    ``role`` is the ARN of a role of the account that may read, ``profile`` a profile of the AWS configuration. Without either the
    caller's own credentials read it, which must be of this account. ``console`` is the address of the account's own console, to
    which the page of the fleet leads.
    """

    name: str
    account: str
    region: str
    role: str | None = None
    profile: str | None = None
    console: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """``fleet.json``: the environments, in the order in which a model passes them."""

    environments: tuple[FleetEnvironment, ...]
    format: Literal["mlops.fleet/1"] = "mlops.fleet/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetModel:
    """One model in one environment: of an endpoint, or of a registry for which its unit has no endpoint there.

    ``state`` is one word or two, ``says`` explains it in a sentence, as the console and ``mlops status`` do. ``digest`` is the
    SHA-256 of the model that serves: the same in every environment that serves the model, while ``version`` is its own number.
    ``drift`` and ``quality`` are states of these monitors in the newest window, which ended at ``monitored_until``; absent where
    there is no such monitor, or none has decided yet. ``waiting`` are packages without a decision, absent where they may not be
    read. ``cost`` is what was billed of the model's endpoint on a day, in ``currency``.
    Of a registry, ``approved`` and ``released`` name its newest version that is approved and the one that it released last,
    ``<group>/<number>``; ``version``, ``digest`` and ``since`` are of the one that it released, else of the one that is approved.
    """

    environment: str
    account: str
    region: str
    unit: str
    model: str
    state: str
    says: str
    automation: str
    owner: str | None = None
    cost_center: str | None = None
    version: int | None = None
    digest: str | None = None
    since: str | None = None
    drift: str | None = None
    quality: str | None = None
    monitored_until: str | None = None
    retrained: str | None = None
    rollout: str | None = None
    probation_until: str | None = None
    waiting: tuple[str, ...] | None = None
    approved: str | None = None
    released: str | None = None
    cost: float | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """Every model of a fleet, by unit and model, in the order of environments; ``now`` is the time in the cloud.

    ``unread`` says what could not be read, and why, by the name of an environment, of an environment and unit (``build/demand``),
    or of an endpoint or pipeline there (``build/demand endpoint demand-forecast``). ``costs`` is why costs are missing, by
    environment, where they were asked for.
    """

    now: datetime
    models: tuple[FleetModel, ...]
    unread: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, str] = field(default_factory=dict)
