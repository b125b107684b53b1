"""``mlops demo --own``: the steps of a team with its own file, by the commands of ``mlops``.

The project is the output of ``mlops new`` for the file, without changes: its model is from scikit-learn, not ONNX.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from examples.flights.table import KEY, LABEL, TIME, flights

UNIT, MODEL = "travel", "delay"
ENDPOINT = f"{UNIT}-{MODEL}"
# data of the first training, the following days of calls, and all data of the second training
FIRST, LIVE, CALLS_END = "2013-06-01", "2013-09-02", "2013-09-05"
REFUSED = 3  # exit code of a command with a negative verdict


class MissedStepError(Exception):
    """A command failed, so the remaining steps cannot run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A completed command: ``command`` as typed, ``detail`` its result."""

    command: str
    ok: bool
    seconds: float
    detail: str


@dataclass(slots=True, kw_only=True)
class JourneyResult:
    """Result of the journey."""

    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every command succeeded."""
        return bool(self.steps) and all(step.ok for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``mlops demo --own --json`` prints it."""
        steps = [
            {"command": step.command, "ok": step.ok, "seconds": round(step.seconds, 2), "detail": step.detail}
            for step in self.steps
        ]
        return {"ok": self.ok, "seconds": round(self.seconds, 2), "steps": steps}


class Journey:
    """Runs commands in a project's folder, one after the other.

    Args:
        folder: Folder for the table and the project.
        echo: Called with one line at the end of each step.
        begin: Called with a step's command at its start.
    """

    def __init__(self, folder: Path, *, echo: Callable[[str], None], begin: Callable[[str], None]) -> None:
        self.folder, self.project, self.result = folder, folder / UNIT, JourneyResult()
        self._echo, self._begin = echo, begin

    def run(
        self, *arguments: str, shown: Callable[[dict[str, Any]], str], code: int = 0, cwd: Path | None = None
    ) -> dict[str, Any]:
        """Run a command with ``--json``.

        Args:
            arguments: Arguments of the command.
            shown: Returns the summary of its document.
            code: Expected exit code.
            cwd: Working folder. Default: the project.

        Raises:
            MissedStepError: If the exit code differs.
        """
        command = _typed(arguments)
        self._begin(command)
        started = time.monotonic()
        done = subprocess.run(
            _process(arguments),
            cwd=self.project if cwd is None else cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            document: dict[str, Any] = json.loads(done.stdout)
            ok = done.returncode == code
            detail = shown(document) if ok else str(document.get("error", document))
        except (ValueError, LookupError, TypeError) as error:
            document, ok = {}, False
            detail = f"{type(error).__name__} {error} in the output: {(done.stderr or done.stdout).strip()[-500:]}"
        seconds = time.monotonic() - started
        self.result.steps.append(Step(command=command, ok=ok, seconds=seconds, detail=detail))
        self._echo(f"{'ok  ' if ok else 'MISS'} {seconds:6.1f} s  $ {command}\n{'':15}{detail}")
        if not ok:
            raise MissedStepError(command)
        return document

    @contextmanager
    def beside(self, *arguments: str) -> Iterator[None]:
        """Run a command in the background, as in a second terminal, and end it after the block."""
        self._echo(f"{'':15}at the same time, in a second terminal: $ {_typed(arguments)}")
        with subprocess.Popen(
            _process(arguments), cwd=self.project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as other:
            try:
                yield
            finally:
                other.terminate()

    def write_tables(self) -> None:
        """Write a summer of flights, three days of calls, both combined, both with shuffled labels, and the autumn."""
        table = flights()
        days = pc.strftime(table[TIME], "%Y-%m-%d")
        until = {"summer": LIVE, "later": CALLS_END}
        files = {
            name: table.filter(pc.and_(pc.greater_equal(days, FIRST), pc.less(days, end)))
            for name, end in until.items()
        }
        files["calls"] = table.filter(pc.and_(pc.greater_equal(days, LIVE), pc.less(days, CALLS_END)))
        files["autumn"] = table.filter(pc.greater_equal(days, CALLS_END))
        files["mixed"] = _mixed(files["later"])
        for name, rows in files.items():
            pq.write_table(rows, self.folder / f"{name}.parquet")


def _typed(arguments: Sequence[str]) -> str:
    return " ".join(["mlops", *(f'"{each}"' if " " in each else each for each in arguments)])


def _process(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "mlops_cli", *arguments, "--json"]


def run(*, echo: Callable[[str], None], begin: Callable[[str], None], keep: Path | None = None) -> JourneyResult:
    """Run the whole journey once.

    Args:
        echo: Called with one line at the end of each step.
        begin: Called with a step's command at its start.
        keep: New folder for tables and project, whose embedded cloud is left running. Default: everything is removed.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mlops-own-") as temporary:
        if keep is not None:
            keep.mkdir(parents=True)
        journey = Journey(Path(temporary) if keep is None else keep, echo=echo, begin=begin)
        try:
            _go(journey)
        except MissedStepError:
            pass
        finally:
            if keep is None and journey.project.is_dir():
                subprocess.run(
                    _process(("local", "down", "--forget", "--yes")),
                    cwd=journey.project,
                    check=False,
                    capture_output=True,
                )
    journey.result.seconds = time.monotonic() - started
    return journey.result


def _mixed(rows: Any) -> Any:
    """Return rows whose first four fifths have labels of other rows, as after a join by the wrong column."""
    order = np.arange(rows.num_rows)
    np.random.default_rng(7).shuffle(order[: rows.num_rows * 4 // 5])
    return rows.set_column(rows.schema.get_field_index(LABEL), LABEL, rows[LABEL].take(pa.array(order)))


def _go(journey: Journey) -> None:
    journey.write_tables()
    columns = ("--label", LABEL, "--time", TIME, "--key", KEY)
    journey.run(
        *("new", UNIT, "--data", "summer.parquet", *columns, "--unit", UNIT, "--model", MODEL),
        cwd=journey.folder,
        shown=lambda output: "; ".join(output["found"]),
    )
    journey.run("local", "up", "--scale", "60", shown=lambda output: f"an embedded cloud at {output['endpoint_url']}")
    journey.run("deploy", shown=lambda output: f"{_size(output)} resources; the endpoint waits for its first model")
    journey.run("train", "--data", "../summer.parquet", "--reason", "the first model", shown=_registered)
    approve = ("models", "approve", "latest", "--wait", "--reason")
    journey.run(*approve, "beats the naive guesses", shown=_served)
    journey.run("invoke", ENDPOINT, f"{UNIT}_{MODEL}/request.json", shown=_predictions)
    journey.run(
        *("traffic", "replay", ENDPOINT, "../calls.parquet", "--time", TIME, "--labels", LABEL, "--shift"),
        shown=lambda output: (
            f"{output['answers']['200']} rows in {output['calls']} calls, {output['labels_added']} labels"
        ),
    )
    journey.run("monitor", "report", ENDPOINT, shown=lambda output: str(output["verdict"]))
    journey.run("train", "--data", "../later.parquet", "--reason", "three more days", shown=_registered)
    # a canary needs calls: five per second, each with the flights of an hour
    with journey.beside(
        "traffic", "replay", ENDPOINT, "../autumn.parquet", "--time", TIME, "--now", "--speed", "18000"
    ):
        journey.run(*approve, "as good, and newer", shown=_served)
    journey.run(
        "rollback", ENDPOINT, "--reason", "test of the rollback", shown=lambda output: _by_version(output["text"])
    )
    journey.run("train", "--data", "../mixed.parquet", "--reason", "labels of others", code=REFUSED, shown=_refused)


def _size(output: dict[str, Any]) -> int:
    return sum(len(stack["changes"]) for stack in output["stacks"])


def _registered(output: dict[str, Any]) -> str:
    return f"version {str(output['package']).rpartition('/')[2]} is registered: {output['reason']}"


def _refused(output: dict[str, Any]) -> str:
    return f"{output['outcome']}: {output['reason']}"


def _served(output: dict[str, Any]) -> str:
    return "; ".join(_by_version(each["text"]) for each in output["rollouts"].values())


def _predictions(output: dict[str, Any]) -> str:
    return ", ".join(f"{each:.1f} minutes" for each in output["answer"]["predictions"])


def _by_version(text: str) -> str:
    words = text.split(" ")
    return " ".join(f"version {word.rpartition('/')[2]}" if ":model-package/" in word else word for word in words)
