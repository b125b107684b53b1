"""The page of the demo over accounts: what each serves and knows side by side, and the records of all of them by time."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.retail.page import TEMPLATES, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account at the end: what ``mlops fleet`` says of its model, and what it knows of the others.

    ``version`` is its own number, ``digest`` the model's SHA-256; both are absent where nothing serves.
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
    """Write the page: one file, nothing loaded from elsewhere. A run that stopped early has what was known by then."""
    told: list[Event | Account] = [*events, *accounts]
    digests = dict.fromkeys(each.digest for each in told if each.digest is not None)
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
