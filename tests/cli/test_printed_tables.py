"""Printed tables lose nothing in a narrow terminal."""

import pytest

from mlops_cli.printed_tables import print_table

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize("whole_words", [True, False])
def test_what_does_not_fit_is_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole_words: bool
) -> None:
    """Every character is there, brackets too."""
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("id", "what"), [(ID, "[bold] three words here and some more")], whole_words=whole_words)
    shown = capsys.readouterr().out

    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in shown.splitlines() if line.startswith("│")]
    assert "".join(row[0] for row in rows) == ID
    assert " ".join(row[1] for row in rows).split() == ["[bold]", "three", "words", "here", "and", "some", "more"]


def test_short_words_are_kept_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In all columns but the last."""
    monkeypatch.setenv("COLUMNS", "30")
    print_table(("name", "what"), [("a name of words", "and what is said of it")], whole_words=True)

    assert "│ a name of words │" in capsys.readouterr().out
