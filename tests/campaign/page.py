"""``docs/campaign.md``: each campaign replaces its own section, between two marks, and leaves the others alone."""

import re
import textwrap
from pathlib import Path

_WIDTH = 100
# a paragraph or list item: neither a row of a table, a heading nor a mark
_PROSE = re.compile(r"^(?![|#<])\S.*(?:\n(?![|#<]|- )\S.*)*", re.MULTILINE)


def marks(name: str) -> tuple[str, str]:
    """Return the marks around a section.

    Example:
        >>> marks("faults")
        ('<!-- faults: begin -->', '<!-- faults: end -->')
    """
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def wrapped(text: str) -> str:
    """Wrap the paragraphs and list items that have a line of more than 100 columns."""
    return _PROSE.sub(_filled, text)


def _filled(match: re.Match[str]) -> str:
    prose = match[0]
    if max(map(len, prose.splitlines())) <= _WIDTH:
        return prose
    indent = "  " if prose.startswith("- ") else ""
    words = " ".join(prose.split())
    return textwrap.fill(words, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def write(page: Path, name: str, text: str) -> None:
    """Replace a section of the page, marks included; append a new one. Its prose is wrapped."""
    begin, end = marks(name)
    old = page.read_text() if page.is_file() else "# Campaigns\n\n"
    if begin in old:
        head, _, rest = old.partition(begin)
        tail = rest.partition(end)[2].lstrip("\n")
    else:
        head, tail = old.rstrip("\n") + "\n\n", ""
    page.write_text(head + wrapped(text) + ("\n" + tail if tail else ""))
