"""Tables of a monitor fit into the terminal, and no word is cut."""

import re
from collections.abc import Sequence

import pytest
from tests.runtime.monitor import reports

from mlops_cli.monitor_tables import bar, print_distribution, print_features, print_history
from mlops_runtime.monitor.page.drawings import CellRow


@pytest.fixture(params=[80, 120, 200])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set the terminal's width."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


def _cells(shown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.splitlines() if line[:1] == "│"]


def test_features_fit_and_no_word_is_cut(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A narrow terminal shows fewer columns, a wide one all."""
    report = reports.drifting().report
    print_features(report)
    shown = capsys.readouterr().out

    assert max(map(len, shown.splitlines())) <= width
    assert ("nulls" in shown) == (width > 80)
    message = " ".join(cells[-1] for cells in _cells(shown))
    for feature in report.drift.features:
        assert feature.name in shown
        for word in re.findall(r"\w{3,}", feature.untested or feature.description or ""):
            assert word in message


def test_the_longest_bar_has_a_line(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each value has one line, whatever its label."""
    rows: Sequence[CellRow] = [
        CellRow(label=label, kind="cell", before=before, after=1 - before)
        for label, before in (("2", 0.9), ("4.99 and above, out of range", 0.1))
    ]
    print_distribution(rows)
    shown = capsys.readouterr().out

    assert max(map(len, shown.splitlines())) <= width
    assert [cells[0] for cells in _cells(shown)] == [row.label for row in rows]
    assert len({cells[-1].count("█") + cells[-1].count("░") + cells[-1].count("▓") for cells in _cells(shown)}) == 1


def test_a_history_has_a_line_a_window(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines have time, PSI, decision and text."""
    sample = reports.drifting()
    past = [(sample.report, sample.report.drift.features[0])] * 3
    print_history(past)
    shown = capsys.readouterr().out

    assert max(map(len, shown.splitlines())) <= width
    assert sum(cells[0] == "2017-08-08 06:00" for cells in _cells(shown)) == 3


def test_a_bar_holds_both_shares() -> None:
    """The longer bar fills it."""
    assert (bar(0.5, 0.5, 0.5), bar(0.0, 0.0, 0.5)) == ("█" * 30, "")
    assert bar(0.0, 0.5, 0.5) == "▓" * 30
