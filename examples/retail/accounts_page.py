"""Page of the demo with several accounts: the state of each account side by side, and the audit records of all by time."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.retail.page import TEMPLATES, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account at the end: its model as in ``mlops fleet``, and its information on the others.

    ``version`` is the account's own number, ``digest`` the model's SHA-256; both are absent if no model serves.
    """

    name: str
    number: str
    region: str
    state: str
    version: str | None = None
    digest: str | None = None
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One record of an audit chain; ``at`` is ISO 8601, UTC, ``account`` the name of an environment."""

    at: str
    account: str
    word: str
    text: str
    digest: str | None = None
    is_bad: bool = False


def write_accounts_page(
    path: Path,
    *,
    title: str,
    ok: bool,
    verdict: str,
    note: str,
    rows: Sequence[Row],
    accounts: Sequence[Account],
    events: Sequence[Event],
) -> None:
    """Write the page as one self-contained file. The page of a run that stopped early has the data up to then."""
    reported: list[Event | Account] = [*events, *accounts]
    digests = dict.fromkeys(each.digest for each in reported if each.digest is not None)
    text = TEMPLATES.get_template("accounts_page.html.jinja").render(
        title=title,
        ok=ok,
        verdict=verdict,
        note=note,
        rows=[(row, ()) for row in rows],
        accounts=accounts,
        events=sorted(events, key=lambda each: each.at),
        letters=dict(zip(digests, string.ascii_uppercase, strict=False)),
        lanes={each.name: number for number, each in enumerate(accounts, start=1)},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
