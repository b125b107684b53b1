"""Verification that a source's audit chain contains the releases that a target took, and where the source took them from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
from mlops_runtime.business_unit.deployed_entries import Entries, NotDeployedError
from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.promotion.environment_link import promotions_chain
from mlops_runtime.registry.package_approval import RegistryInbox


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedChain:
    """The source's chain: its name, number of records, and problems of the chain or of the versions taken from it.

    A source that takes its versions from another one has an ``inbox``, and in ``taken`` the records of its own chain of
    promotions, which was verified too.
    """

    chain: str
    records: int
    problems: tuple[str, ...]
    inbox: RegistryInbox | None = None
    taken: tuple[AuditRecord, ...] = ()


def follow(client: Callable[[str], Any], *, group: str, taken: Sequence[AuditRecord]) -> FollowedChain:
    """Verify the source's chain, and that it has a release for each taken version.

    If the source takes versions itself, its chain of promotions is verified too, and must have each model that was taken from it.

    Args:
        client: Returns the client of a service of the source's account and Region.
        group: The package group, whose name is the same on both sides.
        taken: Records of the target's chain of promotions.

    Raises:
        NotDeployedError: If the source has no registry of the group that releases.
    """
    entries = Entries(ssm=client("ssm"))
    registry = entries.registry(group)
    if registry.releases is None:
        raise NotDeployedError(f"the registry of {group!r} there has no releases")
    problems, records = _verified(client, entries, registry.releases)
    problems += unreleased(taken, records)
    own: list[AuditRecord] = []
    if registry.inbox is not None:
        name = promotions_chain(group)
        found, own = _verified(client, entries, name)
        problems += [*(f"{name}: {problem}" for problem in found), *untaken(taken, own)]
    return FollowedChain(
        chain=registry.releases, records=len(records), problems=tuple(problems), inbox=registry.inbox, taken=tuple(own)
    )


def _verified(client: Callable[[str], Any], entries: Entries, name: str) -> tuple[list[str], list[AuditRecord]]:
    """Return the problems of a chain, and its records."""
    entry = entries.chain(name)
    chain, key = open_chain(client, entry), public_key_of(client, entry)
    problems = chain.problems(key.is_signed)
    row = chain.table.read()
    return list(problems), list(chain.newest(row, row.audit_sequence))


def untaken(taken: Sequence[AuditRecord], own: Sequence[AuditRecord]) -> list[str]:
    """Return the records of models that the source, which takes its models from another one, did not take.

    Args:
        taken: Records of the target.
        own: Records of the source's chain of promotions.

    Example:
        >>> took = AuditRecord(endpoint="a.promotions", sequence=4, outcome=Outcome.REGISTERED, model_sha256="b" * 64, reason="",
        ...                    previous="0" * 64, execution="e", at="2017-08-01T09:00:00Z", requested_by="staging")
        >>> untaken([took], [took]), len(untaken([took], []))
        ([], 1)
    """
    models = {record.model_sha256 for record in own if record.outcome is Outcome.REGISTERED}
    return [
        f"record {record.sequence} is about model {record.model_sha256}, but the source, which takes its models from another "
        "environment, has no record of taking it"
        for record in taken
        if record.outcome is Outcome.REGISTERED and record.model_sha256 not in models
    ]


def unreleased(taken: Sequence[AuditRecord], source: Sequence[AuditRecord]) -> list[str]:
    """Return the registrations without a matching release in the source's records.

    Args:
        taken: Records of the target. Refusals may name any record, and are not checked.
        source: Records of the source.

    Example:
        >>> common = dict(previous="0" * 64, reason="", execution="e", at="2017-08-01T09:00:00Z", requested_by="build")
        >>> released = AuditRecord(endpoint="a.releases", sequence=1, outcome=Outcome.RELEASED, model_sha256="b" * 64, **common)
        >>> took = AuditRecord(endpoint="a.promotions", sequence=4, outcome=Outcome.REGISTERED, model_sha256="b" * 64,
        ...                    source_record=content_hash(released), **common)
        >>> unreleased([took], [released])
        []
        >>> unreleased([took], [])[0].startswith("record 4 was taken by a release whose record, ")
        True
    """
    released = {content_hash(record): record for record in source}
    problems = []
    for record in taken:
        if record.outcome is not Outcome.REGISTERED:
            continue
        if record.source_record is None:
            problems.append(f"record {record.sequence} names no record of the source")
            continue
        found, named = released.get(record.source_record), record.source_record[:16]
        if found is None:
            problems.append(
                f"record {record.sequence} was taken by a release whose record, {named}, the source's chain does not have"
            )
        elif found.outcome is not Outcome.RELEASED:
            problems.append(
                f"record {record.sequence} names the source's record {found.sequence}, which is {found.outcome.value}, not RELEASED"
            )
        elif found.model_sha256 != record.model_sha256:
            problems.append(
                f"record {record.sequence} is about model {record.model_sha256}, the source's record {found.sequence} about "
                f"{found.model_sha256}"
            )
    return problems
