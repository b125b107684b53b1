"""``mlops promotions``: versions that other environments offered to a registry, its releases, and what its targets serve."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.answers import AsJson, print_json, print_table
from mlops_cli.aws_account import Account, Profile, UserError, account, shown
from mlops_cli.local import Home
from mlops_runtime.business_unit.deployed_entries import Entries
from mlops_runtime.contracts import to_dict
from mlops_runtime.registry.package_approval import RegistryEntry, approver_name

if TYPE_CHECKING:
    from mlops_runtime.contracts.served_model import ServedState
    from mlops_runtime.promotion.promotion_history import Promotion, PromotionHistory, ReleasedVersion


def promotions(
    group: Annotated[
        str | None, typer.Argument(help="Package group. Default: the only one that receives or releases versions.")
    ] = None,
    *,
    last: Annotated[int, typer.Option(help="Number of newest promotions to list.", min=1, max=1000)] = 20,
    as_json: AsJson = False,
    profile: Profile = None,
    home: Home = None,
) -> None:
    """List the versions offered to a group and their state, the group's releases, and what its targets serve; newest first."""
    from mlops_runtime.promotion.promotion_history import PromotionHistoryError, read_history

    with account(profile, home) as aws, shown(PromotionHistoryError):
        entries = Entries(ssm=aws.client("ssm"))
        registry = _only_registry(aws) if group is None else entries.registry(group)
        unit = entries.unit(registry.unit)
        if registry.inbox is None and registry.releases is None:
            raise UserError(
                f"{registry.group} neither receives versions of another environment (ModelRegistry.from_environment) nor releases "
                "its own (deploy_to=)"
            )
        found = read_history(aws.client, unit=unit, registry=registry, last=last, now=aws.caller()[1])
    if as_json:
        print_json(to_dict(found))
        return
    _print_offers(found)
    if registry.releases is not None:
        _print_releases(found)
    _print_undelivered(found, registry.undelivered)
    _print_stopped(found)
    _print_targets(found)


def _only_registry(aws: Account) -> RegistryEntry:
    from mlops_runtime.registry.package_finder import PackageFinder, PackageNotFoundError

    with shown(PackageNotFoundError):
        every = PackageFinder(client=aws.client).registries(None)
    linked = [each for each in every if each.inbox is not None or each.releases is not None]
    if len(linked) != 1:
        names = ", ".join(sorted(each.group for each in linked))
        there_are = f"these do: {names}" if linked else "no group of this account and Region does"
        raise UserError(f"name a group that receives or releases versions; {there_are}")
    return linked[0]


def _print_offers(found: "PromotionHistory") -> None:
    if found.inbox is None:
        return
    of = f"{found.inbox.source_name} ({found.inbox.source.account} {found.inbox.source.region})"
    if not found.offers:
        typer.echo(f"{of} has offered no version to {found.group} yet")
        return
    typer.echo(f"{found.group} receives the releases of {of}")
    head = ("offered", "state", "source version", "own version", "changed", "reason")
    print_table(head, [tuple(_offer_cells(each)) for each in found.offers], whole_words=True)
    if any(each.state == "WAITING" for each in found.offers):
        typer.echo('to approve a waiting version: mlops models approve VERSION --reason "..."')


def _offer_cells(each: "Promotion") -> Iterator[str]:
    yield _minute(each.offered_at)
    state = each.state if each.attempts == 1 else f"{each.state}, attempt {each.attempts}"
    yield f"{state}, overdue" if each.is_overdue else state
    yield each.source_version or ""
    yield each.version or ""
    yield _minute(each.changed_at)
    yield each.reason + ("; retried within an hour" if each.is_asked_again and each.state != "OFFERED" else "")


def _print_releases(found: "PromotionHistory") -> None:
    if not found.releases:
        typer.echo(f"{found.group} has released nothing yet")
        return
    typer.echo(f"{found.group} has released")
    head = ("released", "version", "model", "approved by", "record")
    print_table(head, [_release_cells(each) for each in found.releases], whole_words=True)


def _print_undelivered(found: "PromotionHistory", queue: str | None) -> None:
    if found.undelivered:
        typer.echo(
            f"{found.undelivered} events could not be delivered to another environment; read them in {queue}, compare both sides "
            "with mlops accounts show, then purge the queue"
        )


def _print_stopped(found: "PromotionHistory") -> None:
    for each in found.stopped:
        bus = "" if each.bus is None else f" --event-bus-name {each.bus}"
        if each.state == "DELETED":
            typer.echo(
                f"rule {each.name} was deleted, so its events are lost; create it again with that name and its targets, as in the "
                f"stack's template (aws events put-rule --name {each.name}{bus}, aws events put-targets): CloudFormation does not "
                "recreate resources deleted outside of it while the template is unchanged"
            )
            continue
        typer.echo(
            f"rule {each.name} is disabled, so its events are lost ({each.description}): aws events enable-rule --name "
            f"{each.name}{bus}"
        )
    if found.rules_unread is not None:
        typer.echo(f"rules could not be read, so disabled ones are not reported: {found.rules_unread}")


def _release_cells(each: "ReleasedVersion") -> tuple[str, ...]:
    who = approver_name(each.approved_by, each.approval)
    return (_minute(each.released_at), each.version, each.model_sha256[:12], who, f"{each.chain} {each.sequence}")


def _print_targets(found: "PromotionHistory") -> None:
    if found.targets:
        typer.echo(f"targets serve these versions of {found.group}")
        head = ("environment", "serves", "target version", "since", "rolled back")
        print_table(head, [tuple(_target_cells(each)) for each in found.targets])
    for each in found.targets:
        if (request := each.requested) is not None:
            typer.echo(
                f"{each.name} requested a retraining at {_minute(request.at)}, {request.reason}: {request.answer}"
            )
    for name in found.silent:
        typer.echo(f"{name} has not reported yet what it serves")


def _target_cells(each: "ServedState") -> Iterator[str]:
    yield each.name if each.via in (None, each.name) else f"{each.name}, reported by {each.via}"
    yield "nothing" if each.serves is None else each.serves.released_as or ""
    yield "" if each.serves is None else each.serves.version
    yield "" if each.serves is None else _minute(each.serves.at)
    yield "; ".join(
        f"{back.released_as} (target version {back.version}) at {_minute(back.at)}" for back in each.rolled_back
    )


def _minute(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M}"
