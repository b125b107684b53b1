"""A missing library is named."""

import sys
from pathlib import Path

import pytest

from mlops_cli.aws_account import UserError
from mlops_cli.monitor_place import watched


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error has the install command."""
    monkeypatch.setitem(sys.modules, "mlops_runtime.monitor.watched_endpoint", None)

    with (
        pytest.raises(UserError, match=r"run: pip install 'mlops-runtime\[monitor\]'"),
        watched(None, None, tmp_path),
    ):
        pass
