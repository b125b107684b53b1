"""The page with sections of several campaigns."""

from pathlib import Path

from tests.campaign.page import marks, write


def section(name: str, text: str) -> str:
    """Return a section with its marks."""
    begin, end = marks(name)
    return f"{begin}\n{text}\n{end}\n"


def test_a_section_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    """Two campaigns write, one of them twice; each replaces its own section."""
    page = tmp_path / "campaign.md"
    write(page, "one", section("one", "first"))
    write(page, "two", section("two", "other"))
    write(page, "one", section("one", "second"))

    assert page.read_text() == f"# Campaigns\n\n{section('one', 'second')}\n{section('two', 'other')}"


def test_a_page_without_marks_keeps_its_text(tmp_path: Path) -> None:
    """A new section is appended."""
    page = tmp_path / "campaign.md"
    page.write_text("# Campaigns\n\nWritten by hand.\n")
    write(page, "one", section("one", "first"))
    assert page.read_text() == f"# Campaigns\n\nWritten by hand.\n\n{section('one', 'first')}"
