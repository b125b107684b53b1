"""The tiers of the suite: what runs on a cloud is marked by its fixtures, what is slow by what was measured."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.stopwatch import summary
from tests.tiers import longest_first, measured

ROOT = Path(__file__).resolve().parents[2]


def _collected(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-n", "0", "-p", "no:cacheprovider", *arguments]
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return subprocess.run(command, env=plain, capture_output=True, text=True, check=False, cwd=ROOT).stdout


def test_the_fast_tier_has_neither_clouds_nor_slow_tests() -> None:
    """One of these files has a cloud of its own, one is a campaign; and this test itself is slow."""
    files = ["tests/local/test_stamps.py", "tests/campaign/candidates/test_campaign.py", "tests/style/test_tiers.py"]

    chosen = _collected("-m", "not cloud and not slow", *files)

    assert chosen.split() == ["tests/style/test_tiers.py:", "3"]


def test_what_was_measured_still_exists() -> None:
    """Tests that were renamed are measured anew before they are a tenth: ``tests/stopwatch.py`` says how."""
    functions = {
        f"{path.name}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    gone = sorted(measured().keys() - functions)

    assert len(gone) <= len(measured()) / 10, gone


def test_a_shared_fixture_is_shared() -> None:
    """Each test that uses it has a part of its seconds; of several cases the dearest counts, and quick ones are left out."""
    rows = [
        {"fixture": "a::shared", "seconds": 4.0},
        {"test": "test_a.py::test_one", "seconds": 0.1, "fixtures": ["a::shared"]},
        {"test": "test_a.py::test_one", "seconds": 0.5, "fixtures": ["a::shared"]},
        {"test": "test_a.py::test_quick", "seconds": 0.1, "fixtures": []},
    ]

    assert summary(rows) == {"test_a.py::test_one": 2.5}


def test_the_longest_files_start_first(request: pytest.FixtureRequest) -> None:
    """Files stay whole, and their tests in order."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in request.session.items:
        files.setdefault(item.path, []).append(item)

    ordered = longest_first(request.session.items)

    paths = list(dict.fromkeys(item.path for item in ordered))
    assert [item for path in paths for item in files[path]] == ordered
    assert len(ordered) == len(request.session.items)
