"""``python -m benchmarks.monitor.counting [rows [runs]]``: rows per CPU second, import, size of function and layer, growth.

Captures have 30 fields (10 amounts, 10 integers or small numbers, 10 strings) and a prediction. Each case runs in its own process.
"""

import gc
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.measure import load

from mlops_runtime.layers import layer_wheels
from mlops_runtime.monitor.counting import capture_lines as capture
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.counting.counts import count, count_columns, empty, merge

FIELDS = 30
ROWS = 20_000
MIB = 1 << 20


def columns(rows: int) -> dict[str, Any]:
    """Return fields as callers send them: amounts with two decimals, numbers, levels."""
    random = np.random.default_rng(3)
    found: dict[str, Any] = {}
    for index in range(FIELDS):
        if index % 3 == 0:
            found[f"f{index:02d}"] = [round(value, 2) for value in random.lognormal(2.5, 0.8, rows).tolist()]
        elif index % 3 == 1:
            whole = random.poisson(40, rows).tolist()
            small = [round(value, 4) for value in random.normal(0, 1, rows).tolist()]
            found[f"f{index:02d}"] = whole if index % 2 else small
        else:
            found[f"f{index:02d}"] = [f"level {code}" for code in np.minimum(random.zipf(1.5, rows), 500).tolist()]
    return found


def captures(rows: int, shape: str, each: int) -> list[bytes]:
    """Return capture lines as ``csv``, ``objects`` or ``arrays``, with the given rows per record."""
    fields = columns(rows)
    table = list(zip(*fields.values(), strict=True))
    predictions = [round(value, 4) for value in np.random.default_rng(4).normal(10, 2, rows).tolist()]
    lines = []
    for start in range(0, rows, each):
        part, answers = table[start : start + each], predictions[start : start + each]
        if shape == "csv":
            texts = (
                "".join(",".join(map(str, row)) + "\n" for row in part),
                "".join(f"{answer}\n" for answer in answers),
            )
        else:
            whole = [dict(zip(fields, row, strict=True)) if shape == "objects" else row for row in part]
            texts = json.dumps({"instances": whole}), json.dumps({"predictions": answers})
        encoding, kind = ("CSV", "text/csv") if shape == "csv" else ("JSON", "application/json")
        sides = {
            name: {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}
            for name, mode, text in zip(("endpointInput", "endpointOutput"), ("INPUT", "OUTPUT"), texts, strict=True)
        }
        event = {"eventId": f"{start:032x}", "inferenceTime": f"2017-08-07T10:{start // each % 60:02d}:00Z"}
        lines.append(json.dumps({"captureData": sides, "eventMetadata": event, "eventVersion": "0"}).encode())
    return lines


def baseline() -> Any:
    """Return the baseline of the fields."""
    fields = columns(ROWS)
    types: Any = {name: "category" if isinstance(values[0], str) else "number" for name, values in fields.items()}
    prediction = np.random.default_rng(4).normal(10, 2, ROWS)
    return fit_baseline(fields, types=types, training_set_id="t", created="2017-08-01T00:00:00Z", prediction=prediction)


def cpu_of(work: Any, runs: int) -> float:
    """Return the median CPU seconds of some runs after a warm-up."""
    spent = []
    for _ in range(runs + 1):
        gc.collect()
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return statistics.median(spent[1:])


def case_lines(shape: str, each: str, parser: str, rows: str, runs: str) -> dict[str, float]:
    """Rows per CPU second of one format of captures, with orjson as in the layer or with json alone."""
    if parser == "json":
        capture.orjson = None  # type: ignore[assignment]
    lines, reference = captures(int(rows), shape, int(each)), baseline()
    assert count(lines, reference).rows == int(rows)
    return {
        "rows/s": int(rows) / cpu_of(lambda: count(lines, reference), int(runs)),
        "bytes": sum(map(len, lines)) / int(rows),
    }


def case_columns(rows: str, runs: str) -> dict[str, float]:
    """Seconds of a baseline of columns, and of counting the same number of rows against it."""
    from benchmarks.monitor.data import table  # noqa: PLC0415 - pyarrow, and other cases measure their memory

    def read(seed: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, column in zip((arrow := table(int(rows), seed)).column_names, arrow.columns, strict=True):
            if name.startswith("c"):
                coded = column.combine_chunks().dictionary_encode()
                codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
                found[name] = Coded(codes, coded.dictionary.to_pylist())
            else:
                found[name] = column.to_numpy()
        return found

    before, after = read(1), read(2)
    types: Any = {name: "category" if name.startswith("c") else "number" for name in before}

    def fit() -> Any:
        return fit_baseline(before, types=types, training_set_id="t", created="2017-08-01T00:00:00Z")

    reference = fit()
    return {"fit": cpu_of(fit, int(runs)), "count": cpu_of(lambda: count_columns(after, reference), int(runs))}


def case_growth(objects: str) -> dict[str, float]:
    """CPU seconds and peak memory of counting and merging the objects, and of one object with as many lines."""
    lines, reference = captures(2_000, "csv", 10), baseline()
    number = int(objects)
    count(lines, reference)
    started = time.process_time()
    merged = merge(empty(reference), (count(lines, reference) for _ in range(number)))
    apart = time.process_time() - started

    def stream() -> Iterator[bytes]:
        for _ in range(number):
            yield from lines

    started = time.process_time()
    whole = count(stream(), reference)
    together = time.process_time() - started
    assert merged.features == whole.features
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"objects": apart, "one": together, "peak": peak}


def case_import(module: str) -> dict[str, float]:
    """CPU and wall seconds of a cold import, without those of Python itself."""

    def once(program: str) -> tuple[float, float]:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall

    pairs = [(once("pass"), once(f"import {module}")) for _ in range(9)]
    return {
        "cpu": statistics.median(with_it[0] - without[0] for without, with_it in pairs),
        "wall": statistics.median(with_it[1] - without[1] for without, with_it in pairs),
    }


def case_size() -> dict[str, float]:
    """MiB of the function's code and of its layer, uncompressed."""
    from mlops_constructs import _assets  # noqa: PLC0415 - CDK, likewise

    def mib(folder: Path) -> float:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB

    (layer,) = layer_wheels.build_layers(names=["monitor"])
    return {"function": mib(_assets._staged("capture_counts", {})), "layer": mib(layer)}


def run(name: str, *arguments: object) -> dict[str, float]:
    """Run a case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.monitor.counting", f"case_{name}", *map(str, arguments)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main(rows: int = ROWS, runs: int = 5) -> None:
    """Print all cases."""
    print(f"{load()}, {rows} rows, median of {runs} runs\n")
    print("| capture lines | rows a record | bytes a row | rows a CPU second | without orjson |\n|---|---|---|---|---|")
    for shape in ("csv", "objects", "arrays"):
        for each in (1, 10, 100):
            layer, plain = (run("lines", shape, each, parser, rows, runs) for parser in ("orjson", "json"))
            print(f"| {shape} | {each} | {layer['bytes']:.0f} | {layer['rows/s']:,.0f} | {plain['rows/s']:,.0f} |")
    print("\n| columns of 30 | baseline CPU s | count CPU s | rows counted a CPU second |\n|---|---|---|---|")
    for number in (100_000, 1_000_000):
        found = run("columns", number, runs)
        print(f"| {number:,} | {found['fit']:.3f} | {found['count']:.3f} | {number / found['count']:,.0f} |")
    print("\n| objects of 2,000 rows | CPU s, counted and merged | CPU s as one object | peak MiB |\n|---|---|---|---|")
    for number in (1, 10, 100):
        found = run("growth", number)
        print(f"| {number} | {found['objects']:.3f} | {found['one']:.3f} | {found['peak']:.0f} |")
    print("\n| cold import, less Python's own | CPU s | wall s |\n|---|---|---|")
    for module in ("numpy", "mlops_runtime.monitor.counting.counts", "mlops_runtime.monitor.scheduled_run"):
        found = run("import", module)
        print(f"| {module} | {found['cpu']:.3f} | {found['wall']:.3f} |")
    found = run("size")
    print(
        f"\nfunction {found['function']:.1f} MiB + layer {found['layer']:.1f} MiB = {sum(found.values()):.1f} MiB unzipped"
    )


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("case_"):
        print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
    else:
        main(*map(int, sys.argv[1:]))
