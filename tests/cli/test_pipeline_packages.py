"""Packages that jobs of a generated pipeline install: only those of uv.lock, and from one cache."""

import base64
import hashlib
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from tests.cli.pipeline_run import (
    OFFLINE,
    commit,
    edit,
    make_repository,
    needs_gitlab,
    printed,
    rendered,
    results,
    run_jobs,
)

pytestmark = needs_gitlab
PROJECT = """
[project]
name = "demand-forecast"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["tiny-price==1.0.0"]

[tool.uv]
package = false
"""
SCAN = """import tiny_price

print(f"prices of {tiny_price.VERSION}")
"""


class _Quiet(SimpleHTTPRequestHandler):
    """A package index served from files."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing."""


class Index:
    """A local package index that can be closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        links = [self._wheel(version) for version in ("1.0.0", "1.1.0")]
        (folder / "simple/tiny-price/index.html").write_text("\n".join(links))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """Return uv's settings for it; no Python and no other source is used."""
        return {"UV_DEFAULT_INDEX": self.url, "UV_PYTHON_DOWNLOADS": "never", "UV_OFFLINE": "0"}

    def close(self) -> None:
        """Close it."""
        self._server.shutdown()
        self._server.server_close()

    def _wheel(self, version: str) -> str:
        info = f"tiny_price-{version}.dist-info"
        files = {
            "tiny_price.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-price\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        path = self.folder / f"simple/tiny-price/tiny_price-{version}-py3-none-any.whl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            record = ""
            for name, text in files.items():
                archive.writestr(name, text)
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
                record += f"{name},sha256={digest},{len(text)}\n"
            archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
        return f'<a href="{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index with two versions of one package."""
    (tmp_path / "index").mkdir()
    found = Index(tmp_path / "index")
    yield found
    found.close()


@pytest.fixture
def project(tmp_path: Path, index: Index) -> Path:
    """A generated repository whose one package is locked, and whose scan imports it."""
    files = rendered(tmp_path / "rendered")
    kept = {name: files[name] for name in (".gitlab-ci.yml", ".gitignore", "ci/uv.txt")}
    tests = b"def test_nothing():\n    assert True\n"
    written = {"pyproject.toml": PROJECT.encode(), "compliance.py": SCAN.encode(), "tests/test_nothing.py": tests}
    folder = make_repository(tmp_path / "project", {**kept, **written})
    subprocess.run(
        ["uv", "lock", "--quiet"],
        cwd=folder,
        env={**OFFLINE, **index.environment(), "UV_CACHE_DIR": str(tmp_path / "locking")},
        check=True,
    )
    commit(folder)
    return folder


def test_a_stale_lock_is_red(project: Path, index: Index) -> None:
    """Prints the fix; without the pipeline's variable uv would resolve again and install unreviewed versions."""
    edit(project / "pyproject.toml", "tiny-price==1.0.0", "tiny-price==1.1.0")
    commit(project)

    isolated = ["--shell-isolation"]
    free = run_jobs(project, "compliance", options=isolated, variables=["UV_LOCKED=0"], **index.environment())
    locked = run_jobs(project, "compliance", options=isolated, **index.environment())

    assert (free.returncode, "prices of 1.1.0" in printed(free.stdout)) == (0, True), free.stdout
    assert results(locked.stdout) == {"compliance": "FAIL"}
    assert "The lockfile at `uv.lock` needs to be updated" in printed(locked.stdout)


def test_a_job_installs_from_the_cache_of_an_earlier_one(project: Path, index: Index) -> None:
    """Without an index: `test` has filled the cache for this uv.lock, including built wheels."""
    isolated = ["--shell-isolation"]
    first = run_jobs(project, "test", options=isolated, **index.environment())
    index.close()
    second = run_jobs(project, "compliance", options=isolated, **{**index.environment(), "UV_OFFLINE": "1"})
    (cache,) = (project / ".gitlab-ci-local/cache").glob("*/.uv-cache")
    shutil.rmtree(cache)
    third = run_jobs(project, "compliance", options=isolated, **{**index.environment(), "UV_OFFLINE": "1"})

    assert first.returncode == 0, first.stdout
    assert (second.returncode, "prices of 1.0.0" in printed(second.stdout)) == (0, True), second.stdout
    assert results(third.stdout) == {"compliance": "FAIL"}


def test_a_job_with_an_account_reads_no_cache(project: Path) -> None:
    """Other jobs have written it, and uv checks no hashes in its cache."""
    shown = run_jobs(project, options=["--preview"]).stdout
    jobs = yaml.safe_load(shown[shown.index("---") :])

    for name in ("plan:development", "deploy:development", "rollback:development"):
        assert jobs[name]["cache"] == []
    assert {jobs["test"]["cache"][0]["policy"], jobs["compliance"]["cache"][0]["policy"]} == {"pull-push", "pull"}
