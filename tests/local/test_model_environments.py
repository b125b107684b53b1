"""Environments of models, made by the stock uv from wheels in a folder."""

import base64
import hashlib
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_local import model_environments
from mlops_local.model_environments import ModelEnvironmentError, isolation, made, report, variables
from mlops_runtime.image.requirements_lock import RequirementsLock

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is uv's only package source."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def wheel(folder: Path, name: str, *, tag: str = "py3-none-any", requires: str = "") -> str:
    """Write a wheel with one module, and return its lock line."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "value = 7\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name_, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def lock(*lines: str, head: str = "") -> RequirementsLock:
    """Return a lock with the given lines."""
    return RequirementsLock.parsed((head + "".join(lines)).encode())


def answer(python: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an environment, and return its output."""
    return subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=False, env={})


def test_an_environment_has_what_its_lock_names(wheels: Path, tmp_path: Path) -> None:
    """Only its packages, this Python if the lock names none, and the lock file."""
    of = lock(wheel(wheels, "one"), wheel(wheels, "two", requires="Requires-Dist: one\n"))
    place = made(of, tmp_path / "environments")
    code = "import one, two, sys; print(one.value + two.value, '%d.%d' % sys.version_info[:2])"
    assert answer(place / "bin" / "python", code).stdout.split() == ["14", HERE]
    assert answer(place / "bin" / "python", "import numpy").returncode == 1
    assert (place / "requirements.lock").read_bytes() == of.content
    assert report(tmp_path / "environments")["environments"] == [of.sha256]


def test_an_environment_is_made_once(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later uses call neither uv nor an index."""
    of = lock(wheel(wheels, "one"))
    first = made(of, tmp_path / "environments")
    monkeypatch.setenv("UV", "/nonexistent/uv")
    assert made(of, tmp_path / "environments") == first


def test_two_jobs_at_once_make_one_environment(wheels: Path, tmp_path: Path) -> None:
    """The second waits for the first."""
    of = lock(wheel(wheels, "one"))
    with ThreadPoolExecutor(4) as pool:
        places = set(pool.map(lambda _: made(of, tmp_path / "environments"), range(4)))
    assert [answer(place / "bin" / "python", "import one").returncode for place in places] == [0]


def test_what_a_killed_maker_left_is_made_again(wheels: Path, tmp_path: Path) -> None:
    """A folder is an environment only when it is complete."""
    of = lock(wheel(wheels, "one"))
    partial = tmp_path / "environments" / f"{of.sha256}.partial"
    (partial / "bin").mkdir(parents=True)
    (partial / "bin" / "python").write_text("half")
    assert report(tmp_path / "environments")["environments"] == []
    assert answer(made(of, tmp_path / "environments") / "bin" / "python", "import one").returncode == 0
    assert not partial.exists()


def test_fails_on_a_wheel_with_other_bytes(wheels: Path, tmp_path: Path) -> None:
    """No environment is left."""
    of = lock(wheel(wheels, "one"))
    wheel(wheels, "one", requires="Summary: another\n")
    with pytest.raises(ModelEnvironmentError, match=r"Hash mismatch for `one==1\.0`"):
        made(of, tmp_path / "environments")
    assert report(tmp_path / "environments")["environments"] == []


def test_fails_on_a_package_without_a_wheel_for_this_machine(wheels: Path, tmp_path: Path) -> None:
    """The error has the fix."""
    of = lock(wheel(wheels, "one", tag="py3-none-win_arm64"))
    with pytest.raises(
        ModelEnvironmentError, match=r"one.*each package needs a wheel for this machine: choose versions"
    ):
        made(of, tmp_path / "environments")


def test_fails_on_a_lock_that_lacks_what_a_package_requires(wheels: Path, tmp_path: Path) -> None:
    """Only packages in the lock are installed."""
    wheel(wheels, "one")
    of = lock(wheel(wheels, "two", requires="Requires-Dist: one\n"))
    with pytest.raises(ModelEnvironmentError, match=r"cannot be made: uv: .*one"):
        made(of, tmp_path / "environments")


def test_fails_without_the_python_of_the_lock(wheels: Path, tmp_path: Path) -> None:
    """No other Python is used, and none is downloaded implicitly."""
    of = lock(wheel(wheels, "one"), head="# uv pip compile --python-version 3.4\n")
    with pytest.raises(
        ModelEnvironmentError, match=r"the lock is of Python 3\.4, which uv does not find here; install it \(uv"
    ):
        made(of, tmp_path / "environments")
    newer = lock(wheel(wheels, "one"), head="# uv pip compile --universal --python-version 3.99\n")
    with pytest.raises(
        ModelEnvironmentError,
        match=rf"the lock is of Python 3\.99 or newer, got {HERE}; write it with: mlops image lock",
    ):
        made(newer, tmp_path / "environments")


def test_fails_without_uv(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ModelEnvironmentError, match="needs uv: pip install uv"):
        made(lock(wheel(wheels, "one")), tmp_path / "environments")


def test_a_models_process_reaches_no_network(wheels: Path, tmp_path: Path) -> None:
    """If the kernel supports it; a training script without isolation keeps its network."""
    if isolation() is None:
        pytest.skip("the kernel refuses unshare --user --net")
    of, folder = lock(wheel(wheels, "one")), tmp_path / "environments"
    kept, free = variables(of, folder), variables(of, folder, has_network=True)
    assert kept["MLOPS_REQUIREMENTS_SHA256"] == free["MLOPS_REQUIREMENTS_SHA256"] == of.sha256
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import one, socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        reached = [answer(Path(given["MLOPS_MODEL_PYTHON"]), code) for given in (kept, free)]
    assert [done.returncode for done in reached] == [1, 0], reached
    assert "Connection refused" in reached[0].stderr  # on its own loopback
    outside = answer(Path(kept["MLOPS_MODEL_PYTHON"]), "import socket; socket.create_connection(('192.0.2.1', 80), 5)")
    assert "Network is unreachable" in outside.stderr


def test_a_models_process_reaches_itself(wheels: Path, tmp_path: Path) -> None:
    """As in a container without a network: its own loopback works, on which nothing else listens."""
    if isolation() is None:
        pytest.skip("the kernel refuses unshare --user --net")
    python = variables(lock(wheel(wheels, "one")), tmp_path / "environments")["MLOPS_MODEL_PYTHON"]
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname(), 5)"
    done = answer(Path(python), code)
    assert done.returncode == 0, done.stderr


def test_without_namespaces_a_models_process_runs_all_the_same(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status says so."""
    monkeypatch.setattr(model_environments, "isolation", lambda: None)
    of = lock(wheel(wheels, "one"))
    python = variables(of, tmp_path / "environments")["MLOPS_MODEL_PYTHON"]
    assert answer(Path(python), "import one").returncode == 0
    assert report(tmp_path)["network"] == "this machine's, as the kernel refuses unshare --user --net"
