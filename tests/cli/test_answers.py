"""Output of verbs: text, tables and JSON; confirmation prompts."""

import io
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from mlops_cli.answers import answer, confirm, print_facts, print_json, print_table
from mlops_cli.aws_account import UserError

ID = "0123456789abcdef" * 4


class Terminal(io.StringIO):
    """Standard input of a terminal user."""

    def isatty(self) -> bool:
        """Return true, as a terminal."""
        return True


def test_prints_times_and_paths_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """No verb uses its own format."""
    print_json({"at": datetime(2026, 3, 1, 8, tzinfo=UTC), "day": date(2026, 3, 1), "file": Path("a/b")})

    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-03-01T08:00:00+00:00",
        "day": "2026-03-01",
        "file": "a/b",
    }


def test_answers_with_the_document_or_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints one of them: programs read all of standard output."""
    answer({"unit": "retail"}, "retail is paused", as_json=True)
    first = capsys.readouterr().out
    answer({"unit": "retail"}, "retail is paused", as_json=False)
    answer({"unit": "retail"}, as_json=False)

    assert json.loads(first) == {"unit": "retail"}
    assert capsys.readouterr().out == "retail is paused\n"


def test_asks_a_person_on_standard_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output contains only the document."""
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))

    confirm("destroy Retail", yes=False)

    shown = capsys.readouterr()
    assert (shown.out, "Destroy Retail? [y/N]" in shown.err) == ("", True)


def test_no_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports that nothing changed."""
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))

    with pytest.raises(UserError, match="not confirmed; nothing was changed"):
        confirm("destroy Retail", yes=False)


def test_who_cannot_be_asked_is_told_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelines have no terminal."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    with pytest.raises(UserError, match="not done without a confirmation: destroy Retail; add --yes"):
        confirm("destroy Retail", yes=False)
    confirm("destroy Retail", yes=True)


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
