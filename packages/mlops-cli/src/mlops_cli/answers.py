"""Output of every verb: text, or with ``--json`` one JSON document on standard output; and confirmations."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from mlops_cli.aws_account import UserError

AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON.")]
_NAMES = 2
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


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
