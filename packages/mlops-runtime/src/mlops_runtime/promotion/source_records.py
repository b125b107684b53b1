"""Whether the source's audit chain has the records by which it released what a target took."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.business_unit.deployed_chain import open_chain, public_key_of
from mlops_runtime.business_unit.deployed_entries import Entries, NotDeployedError
from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.rollout import AuditRecord, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedChain:
    """The source's chain: its name, number of records, and what is wrong with it or with what was taken from it."""

    chain: str
    records: int
    problems: tuple[str, ...]


def follow(client: Callable[[str], Any], *, group: str, taken: Sequence[AuditRecord]) -> FollowedChain:
    """Verify the source's chain, and that it has a release for everything that was taken.

    Args:
        client: Returns the client of a service of the source's account and Region.
        group: The package group, whose name is the same on both sides.
        taken: Records of the target's chain of promotions.

    Raises:
        NotDeployedError: If the source has no registry of the group that releases.
    """
    entries = Entries(ssm=client("ssm"))
    releases = entries.registry(group).releases
    if releases is None:
        raise NotDeployedError(f"the registry of {group!r} there releases nothing")
    entry = entries.chain(releases)
    chain, key = open_chain(client, entry), public_key_of(client, entry)
    # a writer may be between row and object: what is wrong must be so twice
    problems = chain.problems(key.is_signed) and chain.problems(key.is_signed)
    row = chain.table.read()
    problems += unreleased(taken, chain.newest(row, row.audit_sequence))
    return FollowedChain(chain=releases, records=row.audit_sequence, problems=tuple(problems))


def unreleased(taken: Sequence[AuditRecord], source: Sequence[AuditRecord]) -> list[str]:
    """Return which records registered something that the source's records do not release.

    Args:
        taken: Of the target. What was refused may name any record, and is not compared.
        source: Of the source.

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
