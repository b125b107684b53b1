"""Accounts and Regions of a fleet (``fleet.json``), and the contents of the fleet view."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

FLEET_READER = "MlopsFleetReader"  # default name of the reader role in each account


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetEnvironment:
    """A named account and Region, and the credentials that read it.

    ``role`` is the ARN of a role with read access in the account, ``profile`` a profile of the AWS configuration. Without
    either, the caller's own credentials are used, which must belong to this account. ``console`` is the address of the
    account's own console, which the fleet page links to.
    """

    name: str
    account: str
    region: str
    role: str | None = None
    profile: str | None = None
    console: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFile:
    """``fleet.json``: the environments, in the order in which models are promoted through them."""

    environments: tuple[FleetEnvironment, ...]
    format: Literal["mlops.fleet/1"] = "mlops.fleet/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetModel:
    """One model in one environment: served by an endpoint, or in a registry whose unit has no endpoint for it there.

    ``state`` is one or two words; ``summary`` explains it in a sentence, as in the console and ``mlops status``. ``digest`` is the
    SHA-256 of the serving model, the same in every environment, while ``version`` is numbered per environment. ``drift`` and
    ``quality`` are the states of these monitors in the newest window, which ended at ``monitored_until``; absent without such a
    monitor or before its first decision. ``waiting`` are packages pending a decision, absent without permission to read them.
    ``cost`` is the billed cost of the model's endpoint on one day, in ``currency``.

    For a registry, ``approved`` and ``released`` are its newest approved and its last released version, ``<group>/<number>``;
    ``version``, ``digest`` and ``since`` describe the released version, else the approved one.
    """

    environment: str
    account: str
    region: str
    unit: str
    model: str
    state: str
    summary: str
    automation: str
    owner: str
    cost_center: str
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

    ``unread`` maps the name of an environment, of an environment and unit (``build/demand``), or of an endpoint or pipeline
    (``build/demand endpoint demand-forecast``) to the reason why it could not be read. ``costs`` is why requested costs are
    missing, by environment.
    """

    now: datetime
    models: tuple[FleetModel, ...]
    unread: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, str] = field(default_factory=dict)
