"""Read ``fleet.json``, and all its environments in parallel: units, and the state of each model as in the console."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError

from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.cloud_connection import EmbeddedCloudError
from mlops_runtime.console.daily_costs import CostsPage, costs
from mlops_runtime.console.http_message import Call, Connection
from mlops_runtime.console.model_pages import ModelRow, RegistryRow, UnitPage, units
from mlops_runtime.console.model_pages import unit as unit_page
from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.fleet import FleetEnvironment, FleetFile, FleetModel, FleetView
from mlops_runtime.refused_calls import DENIED, refusal

_ENVIRONMENTS_AT_ONCE = 8
_UNITS_AT_ONCE = 4
_FLEET_REQUIRED = "FleetReader reads only units whose platform enables it: PlatformDefaults(fleet=True)"
# errors of one environment, despite which the others are shown
_NOT_READABLE = (ClientError, BotoCoreError, NotDeployedError, ContractError, EmbeddedCloudError)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,18}[a-z0-9]")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_CONSOLE = re.compile(r"https://[a-z0-9.-]+")
_ROLE = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):role/[\x21-\x7e]+")


class FleetFileError(ValueError):
    """A ``fleet.json`` is invalid; the message has every problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Result of one environment: pages of its units, reasons why others are missing, and its costs if requested."""

    environment: FleetEnvironment
    pages: Sequence[UnitPage] = ()
    unread: Mapping[str, str]
    costs: CostsPage | None = None

    def models(self) -> Iterator[FleetModel]:
        """Yield its models."""
        for page in self.pages:
            for row in page.models:
                yield _served(_model(self.environment, page, row.endpoint, row), row, self.costs)
            for registry in page.registries:
                found = _model(self.environment, page, registry.group, registry)
                yield replace(found, approved=registry.approved, released=registry.released)


def read_fleet(content: str | bytes, *, name: str) -> FleetFile:
    """Return the environments of a file.

    Raises:
        FleetFileError: If it is not ``mlops.fleet/1``, or an environment is invalid.

    Example:
        >>> import json
        >>> here = {"name": "build", "account": "111111111111", "region": "eu-west-1"}
        >>> text = json.dumps({"format": "mlops.fleet/1", "environments": [here]})
        >>> read_fleet(text, name="fleet.json").environments[0].name
        'build'
    """
    try:
        found = from_json(FleetFile, content)
    except ContractError as error:
        raise FleetFileError(f"{name} cannot be read as mlops.fleet/1: {error}") from error
    problems = list(_problems(found))
    if problems:
        raise FleetFileError(f"{name}: {'; '.join(problems)}")
    return found


def read_environments(
    environments: Sequence[FleetEnvironment],
    connect: Callable[[FleetEnvironment], Connection],
    *,
    now: datetime,
    unit: str | None = None,
    has_costs: bool = False,
) -> FleetView:
    """Return every model of the environments. Environments that cannot be read are listed with the reason.

    Args:
        environments: The environments to read.
        connect: Returns a connection with the environment's reader credentials.
        now: The time in the cloud.
        unit: The unit to read. Default: all.
        has_costs: Whether to query Cost Explorer, once per environment. Default: costs are not queried.
    """
    with ThreadPoolExecutor(_ENVIRONMENTS_AT_ONCE) as pool:
        found = list(
            pool.map(lambda each: _environment(each, connect, now, unit=unit, has_costs=has_costs), environments)
        )
    order = {each.name: number for number, each in enumerate(environments)}
    models = (model for each in found for model in each.models())
    return FleetView(
        now=now,
        models=tuple(sorted(models, key=lambda each: (each.unit, each.model, order[each.environment]))),
        unread={name: reason for each in found for name, reason in each.unread.items()},
        costs={each.environment.name: each.costs.unread for each in found if each.costs and each.costs.unread},
    )


def _environment(
    environment: FleetEnvironment,
    connect: Callable[[FleetEnvironment], Connection],
    now: datetime,
    *,
    unit: str | None,
    has_costs: bool,
) -> _Read:
    try:
        cloud = connect(environment)
        account = cloud.identity().arn.split(":")[4]
        if account != environment.account:
            reason = f"the credentials are of account {account}; give the environment a role or profile of {environment.account}"
            return _Read(environment=environment, unread={environment.name: reason})
        listed = units(Call(cloud=cloud, reader=cloud, now=now))
        billed = costs(Call(cloud=cloud, reader=cloud, now=now)) if has_costs else None
    except _NOT_READABLE as error:
        return _Read(environment=environment, unread={environment.name: _reason(error, environment)})
    unread = {f"{environment.name}/{name}": why for name, why in listed.unread.items() if unit in (None, name)}
    with ThreadPoolExecutor(_UNITS_AT_ONCE) as pool:
        requested = {
            each.unit: pool.submit(unit_page, Call(cloud=cloud, reader=cloud, now=now, names={"unit": each.unit}))
            for each in listed.units
            if unit in (None, each.unit)
        }
    pages = []
    for name, each in requested.items():
        try:
            page = each.result()
        except _NOT_READABLE as error:
            unread[f"{environment.name}/{name}"] = _reason(error, environment)
        else:
            pages.append(page)
            unread |= {f"{environment.name}/{name} {part}": reason for part, reason in page.unread.items()}
    return _Read(environment=environment, pages=pages, unread=unread, costs=billed)


def _reason(error: Exception, environment: FleetEnvironment) -> str:
    if not isinstance(error, ClientError):
        return " ".join(str(error).split())
    message = refusal(error.response["Error"], error.operation_name)
    is_denied = error.response["Error"].get("Code") in DENIED
    return f"{message}; {_FLEET_REQUIRED}" if is_denied and environment.role is not None else message


def _model(environment: FleetEnvironment, page: UnitPage, name: str, row: ModelRow | RegistryRow) -> FleetModel:
    return FleetModel(
        environment=environment.name,
        account=environment.account,
        region=environment.region,
        unit=page.unit,
        model=name.removeprefix(f"{page.unit}-"),
        state=row.state.value,
        summary=row.summary,
        automation=page.automation,
        owner=page.owner,
        cost_center=page.cost_center,
        version=row.version,
        digest=row.digest,
        since=row.since,
        retrained=row.retrained,
        waiting=row.waiting,
    )


def _served(found: FleetModel, row: ModelRow, billed: CostsPage | None) -> FleetModel:
    cost = None if billed is None else billed.endpoints.get(row.endpoint)
    return replace(
        found,
        drift=row.monitors.get("drift"),
        quality=row.monitors.get("quality"),
        monitored_until=row.monitored_until,
        rollout=row.rollout,
        probation_until=row.probation_until,
        cost=cost,
        currency=None if cost is None or billed is None else billed.currency,
    )


def _problems(found: FleetFile) -> Iterator[str]:
    if not found.environments:
        yield "environments must not be empty; name at least one account and Region"
    for each in found.environments:
        yield from (f"environment {each.name!r}: {problem}" for problem in _of(each))
    for name, count in Counter(each.name for each in found.environments).items():
        if count > 1:
            yield f"{count} environments are named {name!r}; give each a unique name"
    for (account, region), count in Counter((each.account, each.region) for each in found.environments).items():
        if count > 1:
            yield f"{count} environments are {account} {region}; list it once"


def _of(each: FleetEnvironment) -> Iterator[str]:
    if not _NAME.fullmatch(each.name):
        yield "name must be 2 to 20 lower-case letters, digits or hyphens, starting with a letter"
    if not _ACCOUNT.fullmatch(each.account):
        yield f"account must be 12 digits, got {each.account!r}"
    if not _REGION.fullmatch(each.region):
        yield f"region must be an AWS Region such as 'eu-west-1', got {each.region!r}"
    if each.console is not None and not _CONSOLE.fullmatch(each.console):
        yield f"console must be https:// and a host, such as 'https://console.example.com', got {each.console!r}"
    if each.role is not None and each.profile is not None:
        yield "give role or profile, not both"
    if each.role is not None:
        role = _ROLE.fullmatch(each.role)
        if role is None:
            yield f"role must be the ARN of a role, arn:aws:iam::{each.account}:role/NAME, got {each.role!r}"
        elif role[1] != each.account:
            yield f"role is of account {role[1]}, the environment of {each.account}"
