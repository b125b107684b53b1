"""Test tiers: fixtures mark tests of a cloud, measured seconds mark slow tests."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests import stopwatch, tiers
from tests.tiers import longest_first, measured, measured_files

ROOT = Path(__file__).resolve().parents[2]


def _collected(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-n", "0", "-p", "no:cacheprovider", *arguments]
    plain = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return subprocess.run(command, env=plain, capture_output=True, text=True, check=False, cwd=ROOT).stdout


@functools.cache
def _functions() -> set[str]:
    return {
        f"{path.name}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }


def test_the_fast_tier_has_neither_clouds_nor_slow_tests() -> None:
    """Covers a file with its own cloud, a campaign, and this slow test."""
    files = ["tests/local/test_stamps.py", "tests/campaign/candidates/test_campaign.py", "tests/style/test_tiers.py"]

    chosen = _collected("-m", "not cloud and not slow", *files)

    assert chosen.split() == ["tests/style/test_tiers.py:", "6"]


def test_ci_runs_the_long_files_that_the_default_suite_leaves_out() -> None:
    """A file that the command line names runs whole."""
    run = (ROOT / ".ci" / "run").read_text()
    small = "tests/console/test_built_wheel.py"

    assert re.findall(r"^uv run (pytest.*?) \|\| .* again;", run, re.MULTILINE) == ["pytest", "pytest -m long"]
    assert _collected(small).split() == _collected("-m", "long", small).split() == [f"{small}:", "1"]


def test_files_are_long_by_all_their_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo and the templates are never long, and a file that was not measured is not."""
    seconds = {"examples/test_rollouts.py": 6.5, "runtime/test_codec.py": 2.5}
    never = ["contract/test_contract.py", "examples/test_demo.py"]
    monkeypatch.setattr(tiers, "measured_files", lambda: seconds | dict.fromkeys(never, 60.0))
    tiers.is_long.cache_clear()

    files = [tiers.MEASURED.parent / name for name in (*seconds, *never, "runtime/test_new.py")]
    try:
        assert [file.name for file in files if tiers.is_long(file)] == ["test_rollouts.py"]
    finally:
        tiers.is_long.cache_clear()


def test_a_tier_imports_no_file_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long files load browsers, Spark and stock clients; another expression may select tests of any file."""
    monkeypatch.setattr(tiers, "measured_files", lambda: {"examples/test_rollouts.py": 60.0})
    names = ("examples", "examples/conftest.py", "examples/test_rollouts.py", "runtime/test_codec.py")
    tiers.is_long.cache_clear()

    def left_out(expression: str) -> list[str]:
        config: Any = SimpleNamespace(option=SimpleNamespace(markexpr=expression))
        return [name for name in names if tiers.pytest_ignore_collect(tiers.MEASURED.parent / name, config)]

    try:
        assert left_out("not campaign and not long") == ["examples/test_rollouts.py"]
        assert left_out("long") == ["runtime/test_codec.py"]
        assert left_out("not cloud and not slow") == []
    finally:
        tiers.is_long.cache_clear()


def test_what_was_measured_still_exists() -> None:
    """Measured tests exist: fewer than a tenth may be renamed before ``tests/stopwatch.py`` measures again."""
    gone = sorted(measured().keys() - _functions())

    assert len(gone) <= len(measured()) / 10, gone
    assert all((ROOT / "tests" / name).is_file() for name in measured_files())


def test_many_tests_are_quick() -> None:
    """The fast tier covers enough tests: otherwise make tests faster or raise the limit."""
    assert len(measured()) <= len(_functions()) * 0.6


def test_a_shared_fixture_is_shared() -> None:
    """Each test gets its share of a shared fixture's seconds; its most expensive case counts, and all cases for its file."""
    rows = [
        {"fixture": "a::shared", "seconds": 4.0},
        {"file": "local/test_a.py", "test": "test_a.py::test_one", "seconds": 0.1, "fixtures": ["a::shared"]},
        {"file": "local/test_a.py", "test": "test_a.py::test_one", "seconds": 0.5, "fixtures": ["a::shared"]},
        {"file": "local/test_a.py", "test": "test_a.py::test_quick", "seconds": 0.06, "fixtures": []},
        {"file": "cli/test_a.py", "test": "test_a.py::test_other", "seconds": 0.05, "fixtures": []},
    ]

    assert stopwatch.summary(rows) == {"files": {"local/test_a.py": 4.7}, "tests": {"test_a.py::test_one": 2.5}}


@pytest.mark.skipif(not Path("/proc").exists(), reason="Linux alone says what a process that still runs took")
def test_a_process_that_still_runs_counts() -> None:
    """Counts running processes such as jsii's Node, which ends with the suite."""
    work = "import sys, time\nwhile time.process_time() < 0.08: pass\nprint(flush=True); sys.stdin.read()"
    before = stopwatch.processor_seconds()
    with subprocess.Popen([sys.executable, "-S", "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        took = stopwatch.processor_seconds() - before

        process.communicate()
    assert took > 0.05


def test_the_longest_files_start_first(request: pytest.FixtureRequest) -> None:
    """Longest files start first; files stay whole and their tests in order."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in request.session.items:
        files.setdefault(item.path, []).append(item)

    ordered = longest_first(request.session.items)

    paths = list(dict.fromkeys(item.path for item in ordered))
    assert [item for path in paths for item in files[path]] == ordered
    assert len(ordered) == len(request.session.items)
