"""Output of every verb: text, tables, or with ``--json`` one JSON document on standard output; and confirmations.

Cells of tables are wrapped and never cut on a terminal; piped output has unwrapped lines.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_cli.aws_account import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON.")]
_NAMES = 2
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
LONGEST_WORD = 32  # characters; with `whole_words`, columns up to this width are not wrapped
# all control characters except line break and tab, and those that change the direction of text
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNBOUNDED = 10_000  # columns for a file or pipe, more than any line has


def answer(document: object, text: str = "", *, as_json: bool) -> None:
    """Print the document as JSON, or the equivalent text; an empty text prints nothing.

    Example:
        >>> answer({"unit": "retail"}, "retail is paused", as_json=False)
        retail is paused
    """
    if as_json:
        print_json(document)
    elif text:
        typer.echo(text)


def print_json(document: object) -> None:
    """Print a document as JSON; times are ISO 8601, paths are strings.

    Example:
        >>> print_json({"unit": "retail"})
        {
          "unit": "retail"
        }
    """
    typer.echo(json.dumps(document, indent=2, sort_keys=True, default=_plain))


def optional_first(names: Sequence[str], form: str) -> tuple[str | None, str]:
    """Return the two positional arguments of a verb whose first one is optional.

    Example:
        >>> optional_first(["price"], "[ENDPOINT] FEATURE"), optional_first(["demand", "price"], "[ENDPOINT] FEATURE")
        ((None, 'price'), ('demand', 'price'))

    Raises:
        typer.BadParameter: If there are more than two.
    """
    if len(names) > _NAMES:
        raise typer.BadParameter(f"give {form}, got {' '.join(names)}")
    return (None if len(names) == 1 else names[0]), names[-1]


def confirm(what: str, *, yes: bool) -> None:
    """Ask for confirmation of an irreversible action; ``yes`` confirms without asking.

    Example:
        >>> confirm("destroy Retail", yes=True)

    Raises:
        UserError: If the user declines, or standard input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"not done without a confirmation: {what}; add --yes")
    print(f"{what[:1].upper()}{what[1:]}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("not confirmed; nothing was changed")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def console() -> "Console":
    """Return the console for tables, with the width of the terminal, or unbounded if piped."""
    from rich.console import Console

    is_chosen = "COLUMNS" in os.environ
    return Console() if is_chosen or sys.stdout.isatty() else Console(width=_UNBOUNDED)


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", whole_words: bool = False
) -> None:
    """Print rows as a table; long cells are folded.

    Args:
        heads: Names of the columns.
        rows: Their cells, as strings.
        title: Title above the table. Default: none.
        whole_words: Wrap only the last column if the others are short. Default: wrap any column that needs it.
    """
    from rich.table import Table

    table = Table(title=title or None)
    for index, head in enumerate(heads):
        last, longest = index == len(heads) - 1, max((len(row[index]) for row in rows), default=0)
        table.add_column(head, overflow="fold", no_wrap=whole_words and not last and longest <= LONGEST_WORD)
    for row in rows:
        table.add_row(*map(_cell, row))
    console().print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print a table of names and values; long values are folded."""
    from rich.table import Column, Table

    table = Table(Column("name", no_wrap=True), Column("value", overflow="fold"), show_header=False)
    for name, value in facts:
        table.add_row(name, _cell(value))
    console().print(table)


def visible(text: str) -> str:
    r"""Escape control characters, with which a reason or a pickle's names could manipulate the terminal.

    Example:
        >>> visible("rejected\x1b[2K\x1b[1A\nby the gate")
        'rejected\\x1b[2K\\x1b[1A\nby the gate'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _cell(value: str) -> "Text":
    r"""Return a cell without markup, since it may contain user input; an escaped ``\n`` becomes a line break."""
    from rich.text import Text

    return Text(visible(value.replace("\\n", "\n")))
