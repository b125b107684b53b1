"""Printed tables lose nothing in a narrow terminal."""

import pytest

from mlops_cli.printed_tables import print_facts, print_table

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize("whole_words", [True, False])
def test_what_does_not_fit_is_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole_words: bool
) -> None:
    """Keeps every character, including brackets."""
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("id", "what"), [(ID, "[bold] three words here and some more")], whole_words=whole_words)
    shown = capsys.readouterr().out

    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in shown.splitlines() if line.startswith("│")]
    assert "".join(row[0] for row in rows) == ID
    assert " ".join(row[1] for row in rows).split() == ["[bold]", "three", "words", "here", "and", "some", "more"]


def test_short_words_are_kept_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Applies to all columns but the last."""
    monkeypatch.setenv("COLUMNS", "30")
    print_table(("name", "what"), [("a name of words", "and what is said of it")], whole_words=True)

    assert "│ a name of words │" in capsys.readouterr().out


def test_a_program_that_reads_gets_whole_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal nothing is folded at 80 columns: a row is one line."""
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(("id", "what"), [(ID, "word " * 40)])
    print_facts([("arn", ID * 4)])

    shown = capsys.readouterr().out
    assert any(ID in line and line.count("word") == 40 for line in shown.splitlines())
    assert ID * 4 in shown


def test_a_quoted_line_break_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Services quote reasons of other services."""
    print_facts([("reason", "first\\nsecond")])

    assert "\\n" not in capsys.readouterr().out


def test_what_others_wrote_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a reason could overwrite the line above it, such as a decision."""
    print_facts([("reason", "lost\x1b[1A\x1b[2K\x9b1A\rpassed")])

    shown = capsys.readouterr().out
    assert "lost\\x1b[1A\\x1b[2K\\x9b1A\\rpassed" in shown
    assert not {"\x1b", "\x9b", "\r"} & set(shown)
