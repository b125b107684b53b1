"""``docs/campaign.md``: each campaign replaces its own section, between two marks, and leaves the others alone."""

from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """Return the marks around a section.

    Example:
        >>> marks("faults")
        ('<!-- faults: begin -->', '<!-- faults: end -->')
    """
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def write(page: Path, name: str, text: str) -> None:
    """Replace a section of the page, marks included; append a new one."""
    begin, end = marks(name)
    old = page.read_text() if page.is_file() else "# Campaigns\n\n"
    if begin in old:
        head, _, rest = old.partition(begin)
        tail = rest.partition(end)[2].lstrip("\n")
    else:
        head, tail = old.rstrip("\n") + "\n\n", ""
    page.write_text(head + text + ("\n" + tail if tail else ""))
