"""Tables that the command prints: nothing is cut, in a narrow terminal neither; a program that reads them gets whole lines."""

import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LONGEST_WORD = 32  # characters of a cell that is not wrapped where words are kept whole
# but line break and tab; with those that turn the direction of text
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_UNBOUNDED = 10_000  # columns of a file or a pipe, which no line has


def console() -> "Console":
    """Return where tables go: as wide as the terminal, or as the text where it is piped."""
    from rich.console import Console

    is_chosen = "COLUMNS" in os.environ
    return Console() if is_chosen or sys.stdout.isatty() else Console(width=_UNBOUNDED)


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", whole_words: bool = False
) -> None:
    """Print rows as a table; what does not fit is folded.

    Args:
        heads: Names of the columns.
        rows: Their cells, as strings.
        title: Above the table. Default: none.
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
    """Print names with their values; an ARN that does not fit goes on in the next line."""
    from rich.table import Column, Table

    table = Table(Column("name", no_wrap=True), Column("value", overflow="fold"), show_header=False)
    for name, value in facts:
        table.add_row(name, _cell(value))
    console().print(table)


def visible(text: str) -> str:
    r"""Return a text with control characters spelled out: those of a reason or of a pickle could rewrite what a terminal shows.

    Example:
        >>> visible("rejected\x1b[2K\x1b[1A\nby the gate")
        'rejected\\x1b[2K\\x1b[1A\nby the gate'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _cell(value: str) -> "Text":
    """Return a cell as text, since input of users is not markup; a line break that a service quoted is one again."""
    from rich.text import Text

    return Text(visible(value.replace("\\n", "\n")))
