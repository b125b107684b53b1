"""``python -m tests.campaign.hostile.run FOLDER``: seeded hostile requests to an `InferenceApi` and to the console.

A second run resumes: batches in ``outcomes.jsonl`` are not run again. Target, list and number identify and repeat a batch.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tests.campaign import page
from tests.campaign.hostile import schema_attacks
from tests.campaign.hostile.console import Console, opened
from tests.campaign.hostile.gateway import OVERFLOW, Gateway
from tests.campaign.hostile.judge import Door
from tests.campaign.hostile.wire import Attack, Reply, send

from mlops_local import cloud as local_cloud

NAME = "hostile"
SEED = 20261130
BATCH = 250
# requests of each list at each target
LISTS = {"own": 8000, "schemathesis": 2000, "odd": 1000}
_SENDERS = 6  # concurrent, because some servers wait for the rest of a request
_OUTCOMES = "outcomes.jsonl"
_PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"


class Opened(schema_attacks.Described, Protocol):
    """A target that accepts requests."""

    name: str
    door: Door

    def renew(self) -> None:
        """Create new keys and tokens."""

    def reached(self) -> Any:
        """Return what only valid requests change: calls of the model, or stored data."""

    def difference(self, before: Any, after: Any) -> int:
        """Return the number of changes."""

    def attack(self, chance: Random) -> Attack:
        """Return a request that must be rejected."""

    def oddity(self, chance: Random) -> Attack:
        """Return a valid request in an unusual form."""


def batch(opened: Opened, kind: str, number: int) -> dict[str, Any]:
    """Send one batch and return its result."""
    opened.renew()
    before = opened.reached()
    problems: list[str] = []
    if kind == "schemathesis":
        sent, problems = schema_attacks.send_all(opened, seeded=SEED + number, most=BATCH)
    else:
        chance = Random(f"{SEED}/{opened.name}/{kind}/{number}")
        make = opened.attack if kind == "own" else opened.oddity
        attacks = [make(chance) for _ in range(BATCH)]
        with ThreadPoolExecutor(_SENDERS) as senders:
            sent = list(zip(attacks, senders.map(lambda one: send(opened.door.address, one), attacks), strict=True))
    after = opened.reached()
    row = outcome(opened.door, kind, number, sent, reached=opened.difference(before, after))
    return row | {"faults": row["faults"] + problems}


def outcome(
    door: Door, kind: str, number: int, sent: Sequence[tuple[Attack, Sequence[Reply]]], *, reached: int
) -> dict[str, Any]:
    """Return the row of a batch: kinds and statuses, actual and expected calls of the model, faults."""
    answers = [reply for _, replies in sent for reply in replies]
    statuses = Counter(str(reply.status) for reply in answers)
    statuses["closed"] = sum(not replies for _, replies in sent)
    # only valid requests in any form may reach a model: one call per response of the model
    allowed = statuses["200"] + statuses["502"] if kind == "odd" and door.name == Gateway.name else 0
    faults = [] if reached == allowed else [f"reached: {reached} times, {allowed} were sound"]
    for attack, replies in sent:
        found = door.faults(attack, replies)
        if attack.kind == OVERFLOW and [reply.status for reply in replies] == [502]:
            found = [fault for fault in found if fault != "answers 502"]
        faults += [f"{attack.kind}: {fault}; {attack.raw[:300]!r} ... {attack.raw[-200:]!r}" for fault in found]
    return {
        "door": door.name,
        "list": kind,
        "number": number,
        "requests": len(sent),
        "kinds": Counter(attack.kind for attack, _ in sent),
        "statuses": statuses,
        "reached": reached,
        "faults": faults,
    }


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder."""
    file = folder / _OUTCOMES
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


@contextmanager
def _gateway(cloud: Any, folder: Path) -> Iterator[Gateway]:
    yield Gateway(cloud, folder)


OPEN = {Gateway.name: _gateway, Console.name: opened}


def section(rows: Sequence[dict[str, Any]], on: datetime, load: Sequence[float]) -> str:
    """Return the section of the page."""
    begin, end = page.marks(NAME)
    hostile = [row for row in rows if row["list"] != "odd"]
    odd = [row for row in rows if row["list"] == "odd"]
    names = [name for name in OPEN if any(row["door"] == name for row in rows)]
    parts = [[row for row in hostile if row["door"] == name] for name in names]
    odds = [[row for row in odd if row["door"] == name] for name in names]
    lines = [
        begin,
        "## Hostile requests",
        "",
        "Requests from our own list and from schemathesis are sent to an `InferenceApi` (callers with IAM and with tokens, a model",
        "that serves) and to the API of `mlops console` (a unit with a monitor, a package that waits for an approval), as bytes",
        "over a socket.",
        "Each has a reason to be refused, such as a body that breaks the schema, a foreign token, or a page that is out of date,",
        "and a form that may hide this reason. The model's own server counts the requests that reached it; changes at the "
        "console are counted in all stored data of the unit."
        " Requests from schemathesis have a value that the schema refuses; all checks of schemathesis run.",
        "",
        "`python -m tests.campaign.hostile.run FOLDER` sends them by their seeds; an interrupted run resumes.",
        "",
        f"Measured {on:%Y-%m-%d}, seed {SEED}, at a load of {load[0]:.0f} on 2 cores:",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        _line("hostile requests", [_sum(part) for part in parts]),
        _line("of them made by schemathesis", [_sum([r for r in part if r["list"] == "schemathesis"]) for part in parts]),
        _line("reached the model, or changed anything", [sum(row["reached"] for row in part) for part in parts]),
        _line("answered 5xx", [_statuses(part, "5") for part in parts]),
        _line("answered 2xx or 3xx", [_statuses(part, "2", "3") for part in parts]),
        _line("answered 4xx", [_statuses(part, "4") for part in parts]),
        _line("not HTTP, or incomplete: closed, or answered without a head", [_statuses(part, "c", "0") for part in parts]),
        _line("valid requests in an unusual form", [_sum(part) for part in odds]),
        _line("of them answered 2xx or 3xx", [_statuses(part, "2", "3") for part in odds]),
        _line("of them answered 502, the model failed", [_statuses(part, "5") for part in odds]),
        _line("answers with an account, ARN, bucket, token or trace, or another fault",
              [sum(len(row["faults"]) for row in (*part, *more)) for part, more in zip(parts, odds, strict=True)]),
        "",
        "The 502 are valid rows whose prediction is infinite: a defect of the model, for which callers get a "
        "problem `model_error`;"
        " a schema in git may narrow a column to values that its model supports (`minimum`, `maximum`).",
        "The console's 2xx responses are reads with its token by a path with two slashes, which its server "
        "treats as one.",
        *(f"\nA fault: {fault[:400]}" for row in rows for fault in row["faults"][:3]),
        end,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _line(name: str, values: list[int]) -> str:
    return f"| {name} | {' | '.join(map(str, values))} |"


def _sum(rows: Sequence[dict[str, Any]]) -> int:
    return sum(row["requests"] for row in rows)


def _statuses(rows: Sequence[dict[str, Any]], *first: str) -> int:
    return sum(count for row in rows for status, count in row["statuses"].items() if status[0] in first)


def main(folder: Path, *, doors: Sequence[str] = tuple(OPEN), most: int | None = None, on_page: Path = _PAGE) -> int:
    """Run the batches without a result, and write the page; return 1 if there is a fault."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {(row["door"], row["list"], row["number"]) for row in outcomes(folder)}
    for name in doors:
        wanted = [
            (kind, number)
            for kind, requests in LISTS.items()
            for number in range(min(requests // BATCH, most or requests))
            if (name, kind, number) not in done
        ]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="mlops-hostile-") as scratch:
            cloud = local_cloud.up(Path(scratch) / "cloud", clock_scale=120.0)
            try:
                with OPEN[name](cloud, Path(scratch)) as door:
                    cloud.clock_scale(1.0)
                    for kind, number in wanted:
                        row = batch(door, kind, number)
                        with (folder / _OUTCOMES).open("a") as file:
                            file.write(json.dumps(row) + "\n")
            finally:
                cloud.down(forget=True)
    rows = outcomes(folder)
    page.write(on_page, NAME, section(rows, datetime.now(UTC), os.getloadavg()))
    return 1 if any(row["faults"] for row in rows) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    sys.exit(main(parser.parse_args().folder))
