"""The source of this library in a project, derived from its own installation."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlops_cli import project_packages
from mlops_cli.aws_account import UserError
from mlops_cli.project_packages import OURS, PackageSources, lock, package_sources

ROOT = Path(__file__).resolve().parents[2]


def installed(monkeypatch: pytest.MonkeyPatch, direct_url: dict[str, Any] | None) -> None:
    """Set the source of the installation."""
    text = None if direct_url is None else json.dumps(direct_url)
    monkeypatch.setattr(project_packages, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))


def test_an_index_needs_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds one requirement; a custom index is named."""
    installed(monkeypatch, None)
    assert package_sources() == PackageSources()
    assert package_sources().table() == ""
    assert package_sources().requirements().startswith('    "mlops-constructs>=')
    assert package_sources("https://example.com/simple").table() == (
        '[[tool.uv.index]]\nname = "packages"\nurl = "https://example.com/simple"'
    )


def test_a_git_installation_names_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names each package's subfolder too."""
    installed(monkeypatch, {"url": "https://example.com/mlops.git", "vcs_info": {"vcs": "git", "commit_id": "1a2b"}})
    lines = package_sources().table().splitlines()
    assert lines[1:3] == [
        'mlops-cli = { git = "https://example.com/mlops.git", rev = "1a2b", subdirectory = "packages/mlops-cli" }',
        'mlops-constructs = { git = "https://example.com/mlops.git", rev = "1a2b" }',
    ]


def test_a_checkout_is_built_into_wheels_that_name_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One wheel per package; the build gets no test files."""
    installed(monkeypatch, {"url": (ROOT / "packages/mlops-cli").as_uri(), "dir_info": {"editable": True}})
    seen: list[Path] = []

    def run(command: list[str], **options: Any) -> Any:
        if "build" in command:
            source = options["cwd"]
            seen.extend(source.iterdir())
            out = Path(command[-1])
            out.mkdir()
            version = next(
                line.split('"')[1] for line in (source / "pyproject.toml").read_text().splitlines() if "version" in line
            )
            for name in OURS:
                (out / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").write_bytes(b"wheel")
            return SimpleNamespace(returncode=0, stderr="")
        return SimpleNamespace(returncode=0, stdout="1a2b3c4d\n")

    monkeypatch.setattr(project_packages.subprocess, "run", run)
    sources = package_sources()
    assert sorted(sources.files()) == [
        f"vendor/{name.replace('-', '_')}-0.1.0+g1a2b3c4d-py3-none-any.whl" for name in OURS
    ]
    assert 'mlops-cli = { path = "vendor/mlops_cli-0.1.0+g1a2b3c4d-py3-none-any.whl" }' in sources.table()
    assert not any(path.name == "tests" for path in seen)


def test_wheels_beside_an_installed_one_are_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Needs all four; missing ones are named."""
    for name in OURS[:3]:
        (tmp_path / f"{name.replace('-', '_')}-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    wheel = tmp_path / "mlops_cli-0.1.0-py3-none-any.whl"
    installed(monkeypatch, {"url": wheel.as_uri(), "archive_info": {}})
    with pytest.raises(UserError, match="but its folder has no wheel of mlops-runtime"):
        package_sources()
    (tmp_path / "mlops_runtime-0.1.0-py3-none-any.whl").write_bytes(b"wheel")
    assert len(package_sources().wheels) == 4


def test_a_checkout_that_went_away_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error has the fix."""
    installed(monkeypatch, {"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    with pytest.raises(UserError, match="is no longer in a checkout of mlops-constructs; install it again"):
        package_sources()


def test_a_lock_that_cannot_be_made_has_uvs_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing uv is reported too."""
    answered = subprocess.CompletedProcess([], 1, "", "  No solution found\n")
    monkeypatch.setattr(project_packages.subprocess, "run", lambda *_, **__: answered)
    with pytest.raises(UserError, match="uv cannot lock the project: No solution found; name an index"):
        lock(tmp_path, "uv.lock")
    with pytest.raises(UserError, match=r"uv cannot lock 'requirements.in': No solution found; .*; name an index"):
        lock(tmp_path, "requirements.lock")
