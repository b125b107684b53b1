"""The other end of a chain of promotions: the account that released what was taken, read in a profile of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_cli.aws_account import UserError, account

if TYPE_CHECKING:
    from mlops_runtime.business_unit.deployed_entries import RegistryChain
    from mlops_runtime.contracts.rollout import AuditRecord
    from mlops_runtime.contracts.unit_entries import EndpointEntry, UnitEntry
    from mlops_runtime.promotion.environment_link import LinkedEnvironment
    from mlops_runtime.promotion.source_records import FollowedChain


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedSource:
    """What was found in the source: its chain and number of records, or in ``unread`` why it was not read."""

    name: str
    account: str
    region: str
    chain: str | None = None
    records: int = 0
    problems: tuple[str, ...] = ()
    unread: str | None = None

    @property
    def sentence(self) -> str:
        """The same for people."""
        of = f"{self.name} ({self.account} {self.region})"
        if self.unread is not None:
            return f"the chain of its source, {of}, was not read: {self.unread}"
        return f"the chain {self.chain} of {of} is intact up to record {self.records} and released everything that was taken"

    @property
    def document(self) -> dict[str, object]:
        """The same for programs."""
        return {
            "name": self.name,
            "account": self.account,
            "region": self.region,
            "chain": self.chain,
            "records": self.records,
            "unread": self.unread,
        }


def follow_source(
    entry: "UnitEntry | EndpointEntry | RegistryChain",
    taken: "Sequence[AuditRecord]",
    *,
    profile: str | None,
    home: Path | None,
) -> FollowedSource:
    """Verify the chain of the account that released what a registry took.

    Args:
        entry: What has the chain of promotions.
        taken: The chain's records.
        profile: Profile of the source's account.
        home: Folder of the embedded cloud.

    Raises:
        UserError: If the chain is not one of promotions.
    """
    from mlops_runtime.business_unit.deployed_entries import RegistryChain

    inbox = entry.registry.inbox if isinstance(entry, RegistryChain) and entry.is_of_promotions else None
    if not isinstance(entry, RegistryChain) or inbox is None:
        raise UserError("only a chain of promotions names records of another account: <group>.promotions")
    source = inbox.source
    try:
        found = _read(source, entry.registry.group, taken, profile=profile, home=home)
    except UserError as error:
        return FollowedSource(name=inbox.source_name, account=source.account, region=source.region, unread=str(error))
    return FollowedSource(
        name=inbox.source_name,
        account=source.account,
        region=source.region,
        chain=found.chain,
        records=found.records,
        problems=tuple(f"{inbox.source_name}: {problem}" for problem in found.problems),
    )


def _read(
    source: "LinkedEnvironment", group: str, taken: "Sequence[AuditRecord]", *, profile: str | None, home: Path | None
) -> "FollowedChain":
    from mlops_runtime.promotion.source_records import follow

    with account(profile, home, region=source.region) as aws:
        caller = aws.client("sts").get_caller_identity()["Account"]
        if caller != source.account:
            raise UserError(
                f"these credentials are of account {caller}; name those of {source.account} with --source-profile"
            )
        return follow(aws.client, group=group, taken=taken)
