"""A crash at any step of an ingest or training set leaves nothing half visible; a repeat has one effect."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def steps(what: str, folder: Path) -> list[dict[str, Any]]:
    """Crash a process at each step, and return the visible state after each."""
    command = [sys.executable, "-m", "tests.runtime.features.crashing", what, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [step["code"] for step in found] == [9] * (len(found) - 1) + [0]
    assert all(step["left"][0] == step["again"][0] == 0 for step in found), result.stderr
    return found


def test_an_ingest_happens_once_wherever_it_is_killed(tmp_path: Path) -> None:
    """Readers see the whole batch or nothing; repeating the key gives the same single snapshot."""
    found = steps("ingest", tmp_path)

    assert len(found) > 8
    assert {json.dumps(step["left"][1]["rows"]) for step in found} == {"[]", "[3, 4]"}
    assert all(step["again"][1] == {"rows": [3, 4], "snapshots": 1} for step in found)


def test_a_training_set_is_built_once_wherever_it_is_killed(tmp_path: Path) -> None:
    """A set with a manifest is complete; repeating the request gives the same id, one tag and one set of files."""
    found = steps("training_set", tmp_path)

    assert len(found) > 8
    assert {json.dumps(step["left"][1]["complete"]) for step in found} == {"[]", '["IDENTICAL"]'}
    assert {step["again"][1]["verdict"] for step in found} == {"IDENTICAL"}
    assert all(step["again"][1]["ids"] == [step["again"][1]["id"]] for step in found)
    assert all((step["again"][1]["files"], len(step["again"][1]["tags"])) == (2, 2) for step in found)
