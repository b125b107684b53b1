"""The section has the cells done, the total, and the cells with problems."""

from typing import Any

from tests.campaign.matrix.cells import CRASH, Cell
from tests.campaign.matrix.report import SECTIONS, section

CELLS = [
    Cell(scenario="promotes", state="Record", label="lambda:invoke record", kind="5xx"),
    Cell(scenario="promotes", state="Watch", label="eventbridge:enableRule", kind="5xx"),
    Cell(scenario="promotes", state="Watch", label="eventbridge:enableRule", kind=CRASH, then="recovery"),
]


def result(cell: Cell, *problems: str) -> dict[str, Any]:
    """The stored result of a cell."""
    kept = {"key": cell.key, "kind": cell.kind, "state": cell.state, "outcome": "PROMOTED", "met": 1}
    return kept | {"problems": list(problems), "seconds": 0.2, "at": "2026-11-29T15:00:00+00:00"}


def test_kinds_have_their_cells_and_ends() -> None:
    """Cells of an earlier definition do not count."""
    text = section("deploy", [result(CELLS[0]), result(CELLS[2]), result(CELLS[0]) | {"key": "gone"}], CELLS, load=1.0)
    assert text.startswith("<!-- matrix: begin -->\n## Faults of every task of the Deploy machine\n")
    assert "2 of 3 cells of 1 scenarios" in text
    assert "| 5xx | 1 | 2 | 1 | 1 PROMOTED | 0 |" in text
    assert "| the execution dies | 1 | 1 | 1 | 1 PROMOTED | 0 |" in text
    assert "No cell broke the invariant." in text


def test_a_broken_cell_is_named() -> None:
    """With its violations."""
    text = section("deploy", [result(CELLS[1], "orphan alarms x")], CELLS, load=1.0)
    assert "- `promotes, Watch, eventbridge:enableRule, 5xx`: orphan alarms x" in text


def test_each_machine_has_its_section() -> None:
    """With marks of its own."""
    for name, about in SECTIONS.items():
        text = section(name, [result(CELLS[0])], CELLS, load=1.0)
        assert text.startswith(f"<!-- {about.name}: begin -->\n## {about.title}\n")
        assert f"tests.campaign.matrix.run {name} .mlops/campaign" in text.replace("\n", " ")
