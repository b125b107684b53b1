"""Limits of the code that users write."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("customer_behavior", "demand_forecasting", "dynamic_pricing")


@pytest.mark.parametrize(
    ("path", "limit"), [("app.py", 40), *((f"examples/retail/{unit}/stack.py", 85) for unit in UNITS)]
)
def test_a_file_stays_short(path: str, limit: int) -> None:
    """App and unit stack are short."""
    assert len((ROOT / path).read_text().splitlines()) < limit


def test_a_first_endpoint_takes_a_stack_of_at_most_15_lines() -> None:
    """Counts from the class line to its end."""
    tree = ast.parse((ROOT / "examples/first_endpoint.py").read_text())
    stack = next(node for node in tree.body if isinstance(node, ast.ClassDef))

    assert stack.end_lineno is not None
    assert stack.end_lineno - stack.lineno + 1 <= 15
