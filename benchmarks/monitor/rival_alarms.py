"""``python -m benchmarks.monitor.rival_alarms [windows [sizes]]``: false alarms of drift tools, and the shifts they find.

All tools read the same Parquet files: one reference, windows without drift, windows with a known shift. Each rival
reads all files of a case in one process in its own environment. A tool returns for each feature of a window a score,
larger is further, and whether it alarms at its defaults. Scores are also compared at thresholds where at most 1 % of
the windows alarm, tuned on one half of the windows without drift and measured on the other half. Default: 100 windows
without drift, 40 with each shift; an hour. Sizes (``200,1000``) select independent rows only.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.measure import load
from benchmarks.monitor.__main__ import python_of
from benchmarks.monitor.campaign import Ledger, fit, percent, verdicts
from benchmarks.monitor.false_alarms import PLANTED, planted
from benchmarks.monitor.windows import SHIFTS, WEEKS, clusters_of, draws, independent, retail, split

SIZES = (200, 1_000, 5_000, 20_000)
REFERENCE = 20_000
SHIFTED = ("mean 0.2 sd", "variance x1.3", "category 10 points", "unseen level 1 %", "price +10 %")
RETAIL_SIZES = (5_000, 20_000)
RETAIL_REFERENCE = 100_000
# share of windows without drift that may alarm
ALARMS = 0.01
NONE = "none"
SMALLEST = 1e-300
# the standard deviation of the logarithm of a valid p-value
OF_P_VALUES = 1 / np.log(10)

Scores = npt.NDArray[np.float64]
# by the name of the shift: a window's scores, and the alarming features
Judged = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool and its call.

    Args:
        name: Name in the table.
        judge: Gets a folder and the rows of a window, returns a line per window.
        least: As in `tuned`. Default: 0, for distances.
    """

    name: str
    judge: Callable[[Path, int], list[dict[str, Any]]]
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """Windows of one kind and size.

    Args:
        rows: Kind of rows.
        size: Rows of a window.
        write: Writes reference and windows to a folder.
        named: Feature to be reported, by shift.
    """

    rows: str
    size: int
    write: Callable[[Path], None]
    named: Mapping[str, str]


def write(folder: Path, shift: str, number: int, rows: pa.Table) -> None:
    """Write one window as ``<shift>-<number>.parquet``, categories as strings."""
    for index, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(index, field.name, rows.column(field.name).cast(pa.string()))
    pq.write_table(rows, folder / "windows" / f"{shift}-{number:03d}.parquet")


def write_independent(size: int, quiet: int, folder: Path) -> None:
    """Write windows of 30 independent features: half as many with each shift as without, less a fifth.

    Args:
        size: Rows of a window.
        quiet: Number of windows without drift.
        folder: Folder to write to.
    """
    pq.write_table(_thirty(REFERENCE, 1), folder / "reference.parquet")
    for number in range(quiet):
        write(folder, NONE, number, _thirty(size, 2 + number))
    for shift in SHIFTED:
        for number in range(quiet * 2 // 5):
            write(folder, shift, number, _thirty(size, 104_729 + number, shift))


def write_retail(size: int, quiet: int, folder: Path) -> None:
    """Write windows of whole households (the last one cut to size) and a reference of other households; shifts are last.

    Args:
        size: Rows of a window.
        quiet: Number of windows without drift, if there are enough households.
        folder: Folder to write to.
    """
    year = retail()
    known, other = split(year.take((year.week >= WEEKS[0]) & (year.week <= WEEKS[1])), "household", 0)
    known = next(draws(known, "household", RETAIL_REFERENCE, 0))
    np.save(folder / "clusters.npy", clusters_of(known, "household"))
    reference = folder / "windows" / f"{NONE}-000.parquet"
    write(folder, NONE, 0, known.table)
    reference.rename(folder / "reference.parquet")
    drawn = [window.table.slice(0, size) for window in islice(draws(other, "household", size, 0), quiet)]
    for number, window in enumerate(drawn):
        write(folder, NONE, number, window)
    for number, window in enumerate(drawn[len(drawn) // 2 :][: quiet * 2 // 5]):
        for shift in PLANTED:
            write(folder, shift, number, planted(window, shift, number)[0])


def ours(folder: Path, rows: int, *, clusters: bool = True) -> list[dict[str, Any]]:
    """Evaluate every window of a folder with our engine, before persistence.

    Args:
        folder: Contains the reference and its rows' clusters, if any.
        rows: Rows of a window.
        clusters: Whether to use clusters. Default: yes.
    """
    del rows
    path = folder / "clusters.npy"
    more = {"clusters": np.load(path)} if clusters and path.exists() else {}
    baseline = fit(pq.read_table(folder / "reference.parquet"), **more)
    found = []
    for window in sorted((folder / "windows").iterdir()):
        judged = verdicts(baseline, pq.read_table(window))
        found.append(
            {
                "window": window.stem,
                "scores": {one.name: -float(np.log10(max(one.p_value, SMALLEST))) for one in judged},
                "alarms": [one.name for one in judged if one.drifted],
                "untested": float(np.mean([one.untested is not None for one in judged])),
            }
        )
    return found


def rival(name: str, folder: Path, rows: int, *, given_rows: bool = False) -> list[dict[str, Any]]:
    """Evaluate every window of a folder with a rival, in its own environment.

    Args:
        name: Prefix of its script's name.
        folder: Contains reference and windows.
        rows: Rows of a window.
        given_rows: Whether to pass the number of rows. Default: no.
    """
    command = [*python_of(name), str(folder), "windows", *([str(rows)] if given_rows else [])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"window"')]


def by_shift(lines: list[dict[str, Any]]) -> Judged:
    """Group a tool's results by the window's shift."""
    found: Judged = {}
    for line in lines:
        shift = line.pop("window").rpartition("-")[0]
        line["scores"] = {name: None if one is None else round(one, 5) for name, one in line["scores"].items()}
        found.setdefault(shift, []).append(line)
    return found


def scores(windows: list[dict[str, Any]], features: list[str]) -> Scores:
    """Return scores of shape (windows, features), minus infinity where a tool gave none."""
    found = np.array([[one["scores"].get(name) for name in features] for one in windows], dtype=np.float64)
    return np.where(np.isnan(found), -np.inf, found)


def tuned(quiet: Scores, *, least: float, alarms: float = ALARMS) -> Scores:
    """Return each feature's threshold: its mean plus a multiple of its standard deviation, the same multiple for all.

    The multiple is the lowest at which at most that share of windows has a score above any threshold.

    Args:
        quiet: Scores of windows without drift, of shape (windows, features).
        least: Smallest standard deviation, so that scores that hardly ever move do not alarm when they do.
        alarms: Share of the windows. Default: 0.01.

    Example:
        >>> tuned(np.array([[0.1, 7.0], [0.3, 7.0]]), least=0.0).round(3).tolist()
        [0.3, 7.0]
    """
    is_finite = np.isfinite(quiet).all(axis=0)
    centre, scale = np.zeros(quiet.shape[1]), np.ones(quiet.shape[1])
    centre[is_finite], scale[is_finite] = (
        quiet[:, is_finite].mean(axis=0),
        np.maximum(least, quiet[:, is_finite].std(axis=0)),
    )
    furthest = np.sort(((quiet - centre) / np.where(scale > 0, scale, np.inf)).max(axis=1))[::-1]
    # scores have five digits; the score that sets the threshold is not above it
    threshold: Scores = centre + furthest[int(alarms * len(quiet))] * scale + 1e-9
    return threshold


def shares(judged: Judged, named: Mapping[str, str], *, least: float) -> dict[str, Any]:
    """Return false alarms and found shifts, at defaults and at matched thresholds.

    Args:
        judged: Results of a tool.
        named: Feature to be reported, by shift.
        least: As in `tuned`.
    """
    quiet = judged[NONE]
    features = sorted({name for window in quiet for name in window["scores"]})
    half = len(quiet) // 2
    threshold = tuned(scores(quiet[:half], features), least=least)
    found: dict[str, Any] = {
        "windows": len(quiet),
        "any": sum(bool(one["alarms"]) for one in quiet),
        "half": sum(2 * len(one["alarms"]) >= len(features) for one in quiet),
        "features": float(np.mean([len(one["alarms"]) for one in quiet])) / len(features),
        "untested": float(np.mean([one.get("untested", 0.0) for one in quiet])),
        "evaluated": len(quiet) - half,
        "matched": int((scores(quiet[half:], features) > threshold).any(axis=1).sum()),
        "found": {},
    }
    for shift, feature in named.items():
        shifted, at = judged[shift], features.index(feature)
        found["found"][shift] = (
            np.mean([feature in one["alarms"] for one in quiet]),
            np.mean([feature in one["alarms"] for one in shifted]),
            np.mean(scores(shifted, features)[:, at] > threshold[at]),
            len(shifted),
        )
    return found


TOOLS = (
    Tool("ours", ours, least=OF_P_VALUES),
    Tool("ours, not told the households", partial(ours, clusters=False), least=OF_P_VALUES),
    Tool("Evidently 0.7.23", partial(rival, "evidently")),
    Tool("whylogs 1.6.4", partial(rival, "whylogs"), least=OF_P_VALUES),
    Tool("NannyML 0.13.1, ten chunks", partial(rival, "nannyml")),
    Tool("NannyML 0.13.1, a chunk a window", partial(rival, "nannyml", given_rows=True)),
)


def cases(quiet: int, sizes: tuple[int, ...]) -> Iterator[Case]:
    """Yield every case.

    Args:
        quiet: Windows without drift per case.
        sizes: Window sizes, of independent rows only. If empty: every size, and retail rows.
    """
    for size in sizes or SIZES:
        names = {shift: SHIFTS[shift] for shift in SHIFTED}
        yield Case("independent", size, partial(write_independent, size, quiet), names)
    names = dict(zip(PLANTED, ("unit_price", "brand", "quantity"), strict=True))
    for size in () if sizes else RETAIL_SIZES:
        yield Case("retail", size, partial(write_retail, size, quiet), names)


def judge(case: Case, ledger: Ledger) -> list[tuple[str, dict[str, Any]]]:
    """Return each tool's figures in one case; measure those missing in the ledger.

    Args:
        case: The case.
        ledger: Stored results: all scores, so that tables can be made again.
    """
    tools = [tool for tool in TOOLS if case.rows == "retail" or "households" not in tool.name]
    keys = {tool.name: f"{case.rows} | {case.size} | {tool.name}" for tool in tools}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "windows").mkdir()
        if not set(keys.values()) <= set(ledger.figures):
            case.write(folder)
        found = []
        for tool in tools:
            judged = ledger.measure(keys[tool.name], lambda tool=tool: by_shift(tool.judge(folder, case.size)))
            found.append((tool.name, shares(judged, case.named, least=tool.least)))
            print(f"{keys[tool.name]}: done, {load()}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure the missing results and print three tables."""
    quiet = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    sizes = tuple(int(size) for size in sys.argv[2].split(",")) if len(sys.argv) > 2 else ()
    ledger = Ledger(f"rival_alarms_{quiet}")
    found = {(case.rows, case.size): judge(case, ledger) for case in cases(quiet, sizes)}
    print(f"{load()}\n")
    print("| rows | n | tool | windows | any alarm | features alarmed | half of them | tuned: any alarm, other half |")
    print("|---|---|---|---|---|---|---|---|")
    for (rows, size), tools in found.items():
        for name, one in tools:
            print(
                f"| {rows} | {size:,} | {name} | {one['windows']} | {percent(one['any'], one['windows'])} "
                f"| {one['features']:.1%} | {one['half'] / one['windows']:.0%} | {percent(one['matched'], one['evaluated'])} |"
            )
    for kind, shifts in (("independent", SHIFTED), *(() if sizes else (("retail", PLANTED),))):
        print(f"\n| {kind}, n | tool | {' | '.join(shifts)} |\n|---|---|{'---|' * len(shifts)}")
        for (rows, size), tools in found.items():
            for name, one in tools if rows == kind else ():
                cells = (f"{at:.0%} ({null:.0%}) / **{matched:.0%}**" for null, at, matched, _ in one["found"].values())
                print(f"| {size:,} | {name} | {' | '.join(cells)} |")


def _thirty(rows: int, seed: int, shift: str | None = None) -> pa.Table:
    return independent(rows, seed, shift).drop_columns(["k0"])


if __name__ == "__main__":
    main()
