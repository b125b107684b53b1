"""``python -m tests.campaign.tables.run FOLDER [NAME...]``: from six public tables to serving models, by the printed commands.

Each table comes from its package, then the eight commands of ``docs/tutorial_file.md`` run as printed, in an
empty folder, with six frameworks. Tables in ``tables.jsonl`` are not run again. CPU seconds are those of the commands and of the
embedded cloud with all its jobs: this process adopts and waits for their orphans.
"""

import ctypes
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.campaign.page import marks, write
from tests.campaign.tables import public_tables
from tests.campaign.tables.public_tables import TABLES, PublicTable

PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
NAME, RESULTS = "tables", "tables.jsonl"
MOST_COMMANDS, MOST_MINUTES = 8, 10
_ADOPT = 36  # PR_SET_CHILD_SUBREAPER; https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
_LAST = 2000


def commands(name: str, table: PublicTable) -> list[str]:
    """Return the tutorial's commands; the endpoint is named by folder and label."""
    options = [*table.options, *(() if table.framework == "hist" else ("--framework", table.framework))]
    label = table.options[1].replace("_", "-")
    data = shlex.quote(f"../{table.file}")
    return [
        f"mlops new {name} --data {shlex.quote(table.file)} {shlex.join(options)}",
        f"cd {name} && uv sync",
        "uv run pytest",
        "uv run mlops local up",
        "uv run mlops deploy",
        f'uv run mlops train --data {data} --reason "the first model"',
        'uv run mlops models approve latest --wait --reason "beats the naive guesses"',
        f"uv run mlops invoke {name}-{label} {name}_{label.replace('-', '_')}/request.json",
    ]


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Run the commands of one table in an empty folder; stop at the first failure."""
    table = TABLES[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    script = Path(public_tables.__file__)
    packages = [word for each in ("pandas", "pyarrow", table.package) for word in ("--with", each)]
    make = ["uv", "run", "--quiet", "--no-project", *packages, "python", str(script), name, str(folder / table.file)]
    subprocess.run(make, check=True, cwd=folder)
    hidden = ("MLOPS_", "VIRTUAL_ENV", "PYTEST_", "CDK_", "AWS_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    began, used, loads, seconds, problem = time.monotonic(), _cpu(), [os.getloadavg()[0]], [], None
    typed = commands(name, table)
    place = folder
    for line in typed:
        started = time.monotonic()
        shell = ["sh", "-c", line]  # as typed
        done = subprocess.run(shell, cwd=place, env=environment, capture_output=True, text=True, check=False)
        seconds.append(round(time.monotonic() - started, 1))
        loads.append(os.getloadavg()[0])
        sys.stderr.write(f"{name}: {seconds[-1]:6.1f} s, exit {done.returncode}: {line}\n")
        if done.returncode:
            problem = f"{line}: exit {done.returncode}: {(done.stdout + done.stderr)[-_LAST:]}"
            break
        if line.startswith("cd "):
            place = folder / name
    wall = time.monotonic() - began
    if (folder / name / ".mlops").exists():
        down = ["uv", "run", "mlops", "local", "down", "--yes"]
        subprocess.run(down, cwd=folder / name, env=environment, capture_output=True, check=False)
    _wait()
    return {
        "name": name,
        "framework": table.framework,
        "commands": len(typed),
        "seconds": seconds,
        "minutes": round(wall / 60, 1),
        "cpu": round(_cpu() - used),
        "load": round(sum(loads) / len(loads), 1),
        "problem": problem,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait() -> None:
    """Wait for orphaned processes of the commands; they end when the cloud is down."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.2)
        except ChildProcessError:
            return


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the section of ``docs/campaign.md``."""
    begin, end = marks(NAME)
    good = [row for row in rows if row["problem"] is None]
    lines = [
        begin,
        "## From a file to a model that serves",
        "",
        f"{len(good)} of {len(rows)} public tables became a model that serves, is monitored and can be rolled back, by at",
        f"most {MOST_COMMANDS} printed commands and no line of code. Wall time depends on what else runs on the two cores",
        "(load); CPU seconds are those of every command, of the embedded cloud and of its jobs. Packages were cached.",
        "",
        "`python -m tests.campaign.tables.run FOLDER` measures them; an interrupted run resumes.",
        "",
        "| table | difficulty | framework | commands | lines | minutes | CPU s | load | problem |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        table = TABLES[row["name"]]
        lines.append(
            f"| {table.package}: {row['name']} | {table.description} | `{row['framework']}` | {row['commands']} | 0 | "
            f"{row['minutes']} | {row['cpu']} | {row['load']} | {(row['problem'] or 'none').splitlines()[0]} |"
        )
    return "\n".join([*lines, "", end, ""])


def main(folder: Path, names: Sequence[str] = tuple(TABLES), *, page: Path | None = None) -> int:
    """Run the tables without a result, and write the page; return the number of tables with problems."""
    ctypes.CDLL(None).prctl(_ADOPT, 1, 0, 0, 0)
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / RESULTS
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    for name in names:
        if name not in {row["name"] for row in rows}:
            rows.append(measure(name, folder / f"{name}.table"))
            with results.open("a") as file:
                file.write(f"{json.dumps(rows[-1])}\n")
    write(PAGE if page is None else page, NAME, section(sorted(rows, key=lambda row: list(TABLES).index(row["name"]))))
    return sum(row["problem"] is not None for row in rows if row["name"] in names)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or tuple(TABLES)))
