"""Output of verbs, and confirmation prompts."""

import io
import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from mlops_cli.answers import answer, confirm, print_json
from mlops_cli.aws_account import UserError


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
