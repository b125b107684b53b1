"""Source accounts of a chain of promotions: their audit chains, each read with a profile of its account."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_cli.aws_account import UserError, account

if TYPE_CHECKING:
    from mlops_runtime.business_unit.deployed_entries import RegistryChain
    from mlops_runtime.contracts.rollout import AuditRecord
    from mlops_runtime.contracts.unit_entries import EndpointEntry, UnitEntry
    from mlops_runtime.promotion.source_records import FollowedChain
    from mlops_runtime.registry.package_approval import RegistryInbox


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedSource:
    """Result for one source: its chain and number of records, or in ``unread`` why it was not read."""

    name: str
    account: str
    region: str
    chain: str | None = None
    records: int = 0
    problems: tuple[str, ...] = ()
    unread: str | None = None

    @property
    def sentence(self) -> str:
        """The result as a sentence."""
        of = f"{self.name} ({self.account} {self.region})"
        if self.unread is not None:
            return f"the chain of {of} was not read, nor any chain behind it: {self.unread}"
        return f"the chain {self.chain} of {of} is intact up to record {self.records} and released everything that was taken"

    @property
    def document(self) -> dict[str, object]:
        """The result as JSON."""
        return {
            "name": self.name,
            "account": self.account,
            "region": self.region,
            "chain": self.chain,
            "records": self.records,
            "findings": list(self.problems),
            "unread": self.unread,
        }


def follow_sources(
    entry: "UnitEntry | EndpointEntry | RegistryChain",
    taken: "Sequence[AuditRecord]",
    *,
    profiles: Sequence[str | None],
    home: Path | None,
) -> Iterator[FollowedSource]:
    """Verify the chains of a registry's source accounts, from the nearest to the one that trained the models.

    Ends at a source that takes models from no other account, at one that cannot be read, or at a cycle.

    Args:
        entry: Entry of the registry with the chain of promotions.
        taken: Records of that chain.
        profiles: Profiles in any order; each account is read with the first one that belongs to it.
        home: Folder of the embedded cloud.

    Raises:
        UserError: If the entry has no chain of promotions.
    """
    from mlops_runtime.business_unit.deployed_entries import RegistryChain

    inbox = entry.registry.inbox if isinstance(entry, RegistryChain) and entry.is_of_promotions else None
    if not isinstance(entry, RegistryChain) or inbox is None:
        raise UserError(
            "--follow requires a chain of promotions, which names records of another account: <group>.promotions"
        )
    seen = set()
    while inbox is not None:
        source, name = inbox.source, inbox.source_name
        followed = partial(FollowedSource, name=name, account=source.account, region=source.region)
        if source in seen:
            yield followed(problems=(f"{name}: the accounts take their versions from each other in a cycle",))
            return
        seen.add(source)
        try:
            found = _read(inbox, entry.registry.group, taken, profiles=profiles, home=home)
        except UserError as error:
            yield followed(unread=str(error))
            return
        problems = tuple(f"{name}: {problem}" for problem in found.problems)
        yield followed(chain=found.chain, records=found.records, problems=problems)
        inbox, taken = found.inbox, found.taken


def _read(
    inbox: "RegistryInbox",
    group: str,
    taken: "Sequence[AuditRecord]",
    *,
    profiles: Sequence[str | None],
    home: Path | None,
) -> "FollowedChain":
    from mlops_runtime.promotion.source_records import follow

    source, others = inbox.source, []
    for profile in profiles:
        with account(profile, home, region=source.region) as aws:
            caller = aws.client("sts").get_caller_identity()["Account"]
            if caller == source.account:
                return follow(aws.client, group=group, taken=taken)
            others.append(caller)
    raise UserError(
        f"these credentials belong to account {' and '.join(dict.fromkeys(others))}; name a profile of {source.account} with "
        "--source-profile"
    )
