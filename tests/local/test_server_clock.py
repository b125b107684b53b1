"""The reference server on the embedded clock."""

import json
import time
from pathlib import Path

import pytest

from mlops_local.server_clock import ServerTime
from mlops_runtime.serving import http_app


def test_the_file_says_what_time_it_is(tmp_path: Path) -> None:
    """From the last change of the clock, at its speed; a change is visible at the next read."""
    file = tmp_path / "clock.json"
    file.write_text(json.dumps([time.time() - 10, 1_500_000_000.0, 60.0]))
    clock = ServerTime(file)

    first = clock.time()
    assert first == pytest.approx(1_500_000_600, abs=300)

    file.write_text(json.dumps([time.time(), 1_600_000_000.0, 1.0]))
    assert clock.time() == pytest.approx(1_600_000_000, abs=60)


def test_all_else_is_the_real_module(tmp_path: Path) -> None:
    """Durations use real time."""
    assert ServerTime(tmp_path / "none").perf_counter is time.perf_counter


def test_the_server_takes_its_time_from_the_module_that_is_exchanged() -> None:
    """If the server read the time elsewhere, a replay's captures would be in the wrong hour, and this test would fail."""
    assert http_app.time is time
