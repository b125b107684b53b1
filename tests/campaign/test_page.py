"""The page with sections of several campaigns."""

from pathlib import Path

from tests.campaign.page import marks, wrapped, write


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


def test_prose_of_a_section_is_wrapped(tmp_path: Path) -> None:
    """Tables, headings and short paragraphs stay as they are."""
    words, row = "a word " * 20, f"| {'a cell ' * 20} |"
    text = section("one", f"## {words}\n\n{words}\n- item {words}\n- b\n\n{row}\n{row}\n\nshort\nlines")
    write(page := tmp_path / "campaign.md", "one", text)

    lines = page.read_text().splitlines()
    assert page.read_text().split() == ["#", "Campaigns", *text.split()]
    assert [line for line in lines if len(line) > 100] == [f"## {words}", row, row]
    assert [line[:8] for line in lines if "item" in line or line.startswith("  ")] == ["- item a", "  word a"]
    assert lines[-3:] == ["short", "lines", marks("one")[1]]


def test_the_page_is_wrapped_as_it_is_written() -> None:
    """A campaign that is run again changes no other line."""
    text = Path("docs/campaign.md").read_text()
    assert wrapped(text) == text
