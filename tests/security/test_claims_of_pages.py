"""Claims of `SECURITY.md` and `docs/reviewer.md` have tests: each row names one, and each file and test exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TEST = re.compile(r"`(tests/[^`]+)`")
_PATH = re.compile(r"`((?:src|packages|tests|tools|lambdas|docs|examples)/[^`]*)`")
PAGES = {"SECURITY.md": ("## Threats", 5, 15), "docs/reviewer.md": ("## Guarantees", 4, 12)}


def rows(page: str) -> list[list[str]]:
    """Return the cells of the table below the page's heading, without its header."""
    heading, columns, _ = PAGES[page]
    section = (ROOT / page).read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    found = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert {len(row) for row in found} == {columns}, "a row has another number of cells"
    return [[cell.strip() for cell in row] for row in found]


def _exists(test: str) -> bool:
    path, *names = test.split("::")
    if not (ROOT / path).exists():
        return False
    if not names:
        return True
    functions = {n.name for n in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(n, ast.FunctionDef)}
    return set(names) <= functions


@pytest.mark.parametrize("page", PAGES)
def test_every_row_names_a_test(page: str) -> None:
    """A claim without a test must be removed."""
    found = rows(page)
    assert len(found) >= PAGES[page][2]
    column = 3
    assert [row[0] for row in found if not _TEST.search(row[column])] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_test_is_there(page: str) -> None:
    """Covers those that the text around the table names."""
    named = set(_PATH.findall((ROOT / page).read_text()))
    assert len(named) > 15
    assert sorted(name for name in named if "*" not in name and not _exists(name)) == []


def test_a_threat_says_what_is_left() -> None:
    """The cell has words, or a dash if no residual risk is known."""
    assert [row[0] for row in rows("SECURITY.md") if not row[4]] == []
