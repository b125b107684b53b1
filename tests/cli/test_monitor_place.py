"""How times are read, and that a missing library is named."""

import sys
from pathlib import Path

import pytest

from mlops_cli.errors import UserError
from mlops_cli.monitor_place import hour, watched


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2017-08-08T06", "2017-08-08T06:00:00+00:00"),
        ("2017-08-08", "2017-08-08T00:00:00+00:00"),
        ("2017-08-08T06:59:01Z", "2017-08-08T06:00:00+00:00"),
        ("2017-08-08T08:10+02:00", "2017-08-08T06:00:00+00:00"),
    ],
)
def test_a_time_is_read_to_its_hour(text: str, at: str) -> None:
    """UTC where it says nothing else."""
    assert hour("--from", text).isoformat() == at


def test_what_is_no_time_is_refused() -> None:
    """By the option that it was given for."""
    with pytest.raises(UserError, match="--to must be a time such as 2017-08-08T06 or 2017-08-08, got 'tomorrow'"):
        hour("--to", "tomorrow")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what installs it."""
    monkeypatch.setitem(sys.modules, "mlops_runtime.monitor.archive", None)

    with (
        pytest.raises(UserError, match=r"run: pip install 'mlops-constructs\[monitor\]'"),
        watched(None, None, tmp_path),
    ):
        pass
