"""Plans compared with golden pairs: two templates with their text and JSON output."""

import json
import os
from pathlib import Path

import pytest

from mlops_runtime.changes import Action, compare, document, lines, read_schemas, refusals
from mlops_runtime.changes.template import Template

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = read_schemas(json.loads((ROOT / "packages/mlops-cli/src/mlops_cli" / "replacement.json").read_text()))
VALUES = {"Stage": "dev"}


def _template(case: str, side: str) -> Template:
    return Template(document=json.loads((GOLDEN / case / f"{side}.json").read_text()), values=VALUES)


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_plan_is_the_golden_one(case: str) -> None:
    """Text and JSON; ``MLOPS_UPDATE_GOLDEN=1`` writes them anew, to be read before they are kept."""
    found = [compare("Demand", _template(case, "before"), _template(case, "after"), SCHEMAS)]
    refused = refusals(found)
    text = "\n".join([*lines(found), *(f"refused: {refusal.text}" for refusal in refused)]) + "\n"
    data = json.dumps(document(found, refused), indent=1) + "\n"
    if os.environ.get("MLOPS_UPDATE_GOLDEN"):
        (GOLDEN / case / "plan.txt").write_text(text)
        (GOLDEN / case / "plan.json").write_text(data)

    assert text == (GOLDEN / case / "plan.txt").read_text()
    assert data == (GOLDEN / case / "plan.json").read_text()


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
@pytest.mark.parametrize("side", ["before", "after"])
def test_the_same_template_changes_nothing(case: str, side: str) -> None:
    """Of any template."""
    assert compare("Demand", _template(case, side), _template(case, side), SCHEMAS).changes == ()


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_a_new_stack_creates_all_and_refuses_nothing(case: str) -> None:
    """There is nothing to lose."""
    template = _template(case, "after")
    found = compare("Demand", None, template, SCHEMAS)

    assert found.is_new
    assert {change.action for change in found.changes} == {Action.CREATED}
    assert len(found.changes) == len(template.resources())
    assert refusals([found]) == []
