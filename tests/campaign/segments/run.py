"""One wrong category of the demand example at a time: what passes the gate and the bounds of golden requests.

``python -m tests.campaign.segments.run <folder> [<other folder>]`` measures candidates without a result, one JSON line
each. With the results of another checkout, it writes both to the page: before and after.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.retail.demand_forecasting.declaration import EVALUATION, GATE, GOLDEN
from tests.campaign.candidates import trained
from tests.campaign.candidates.catalogue import Good, base, good_ones
from tests.campaign.candidates.graphs import edited
from tests.campaign.candidates.world import CHAMPION_WEEK, WEEKS, Splits, categories, decided_at, fresh, splits
from tests.campaign.page import marks, write

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import Evaluation, GateResult
from mlops_runtime.jobs.evaluate import Inputs, evaluate
from mlops_runtime.retraining.loss_intervals import CHAMPION
from mlops_runtime.retraining.registration_gate import evaluate_gate
from mlops_runtime.rollout.golden_answers import judge, read_answer
from mlops_runtime.rollout.golden_set import read_set
from mlops_runtime.serving.http_app import answer
from mlops_runtime.serving.onnx_model import load_archive

NAME = "segments"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "campaign.md"
FACTORS = (0.0, 0.5, 2.0)
SEED = 1
_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A good model with the forecasts of one category multiplied.

    Args:
        week: Week of the training.
        category: The category.
        factor: The factor; 0 forecasts nothing.
    """

    week: int
    category: str
    factor: float

    @property
    def key(self) -> str:
        """Key of the results."""
        return f"{self.week}/{self.category}/{self.factor:g}"

    def make(self) -> bytes:
        """Return the archive."""
        good = base(self.week, SEED)
        code = good.signature["inputs"][0]["categories"].index(self.category)
        return edited(
            good,
            after=lambda b, x, y: b.changed(
                y, b.op("Equal", b.column(x, "category"), b.const([float(code)])), "Mul", self.factor
            ),
        ).pack()


def wrong_ones() -> Iterator[Wrong]:
    """Yield every category of every holdout, by factor."""
    for factor in FACTORS:
        for week in WEEKS:
            yield from (
                Wrong(week=week, category=name, factor=factor) for name in sorted(categories(splits(week).holdout))
            )


def judged(archive: bytes, champion: bytes, taken: Splits, week: int | None) -> tuple[Evaluation, GateResult]:
    """Return the evaluation of a candidate and the verdict of the unit's gate.

    Args:
        archive: The candidate's archive.
        champion: The champion's archive.
        taken: The training set.
        week: Week of the decision. Default: on weeks that no gate saw.
    """
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / "candidate.tar.gz", Path(name) / "champion.tar.gz"]
        for path, content in zip(paths, (archive, champion), strict=True):
            path.write_bytes(content)
        inputs = Inputs(
            train=taken.train,
            holdout=taken.holdout,
            manifest=taken.manifest,
            candidate=paths[0],
            champion=paths[1],
            champion_sha256=hashlib.sha256(champion).hexdigest(),
        )
        evaluation, _ = evaluate(EVALUATION, inputs, "s3://artifacts/baseline.json")
    sha256 = hashlib.sha256(canonical_json(evaluation)).hexdigest()
    now = None if week is None else decided_at(week)
    return evaluation, evaluate_gate(evaluation, GATE, uri="s3://artifacts/evaluation.json", sha256=sha256, now=now)


def out_of_bounds(archive: bytes) -> list[str]:
    """Return the unit's golden requests whose bounds a candidate violates; the rehearsal calls a server."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.tar.gz"
        path.write_bytes(archive)
        model = load_archive(path)
    failed = []
    for request in read_set(GOLDEN.read_bytes()):
        body, kind = answer(model, request.content_type, None, request.body.encode())
        if judge(request, read_answer(body, kind)):
            failed.append(request.name)
    return failed


def is_good(archive: bytes, champion: bytes, week: int) -> bool:
    """Return whether a candidate is not worse than the champion on the weeks after the decision, by intervals alone."""
    _, later = judged(archive, champion, fresh(week), None)
    checks = [check for check in later.checks if check.rival == CHAMPION and check.segment is None]
    return bool(checks) and all(check.passed for check in checks)


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results so far, by key."""
    path = folder / f"{NAME}.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return {line["key"]: line for line in map(json.loads, lines)}


def run(folder: Path) -> None:
    """Evaluate every candidate without a result."""
    folder.mkdir(parents=True, exist_ok=True)
    live = folder / "champion.tar.gz"
    if not live.is_file():
        live.write_bytes(trained.by_script(splits(CHAMPION_WEEK).train).pack())
    champion, done = live.read_bytes(), results(folder)
    cells: list[Wrong | Good] = [*wrong_ones(), *good_ones()]
    for cell in cells:
        if cell.key in done:
            continue
        if isinstance(cell, Wrong):
            archive, extra = cell.make(), _weight(cell)
        else:
            archive = cell.make().archive
            extra = {"is_good": is_good(archive, champion, cell.week)}
        _, gate = judged(archive, champion, splits(cell.week), cell.week)
        line = {
            "key": cell.key,
            "week": cell.week,
            "gate": gate.verdict.value,
            "reason": gate.reason[:400],
            "golden": out_of_bounds(archive),
            **extra,
        }
        with (folder / f"{NAME}.jsonl").open("a") as stream:
            stream.write(json.dumps(line, sort_keys=True) + "\n")


def _weight(cell: Wrong) -> dict[str, Any]:
    """Return the size of a category: its share of the holdout's units."""
    table = splits(cell.week).holdout
    units = table["units"].to_pylist()
    own = sum(unit for unit, name in zip(units, table["category"].to_pylist(), strict=True) if name == cell.category)
    return {"factor": cell.factor, "category": cell.category, "share": own / sum(units)}


def section(columns: Sequence[tuple[str, dict[str, dict[str, Any]]]]) -> str:
    """Return the section of the page.

    Args:
        columns: Name of each set of results, and the results.
    """
    begin, end = marks(NAME)
    heads = [name for name, _ in columns]
    lines = [
        "| | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for factor in FACTORS:
        for what, is_passed in (
            ("gate", _passes_gate),
            ("bounds of golden requests alone", _passes_bounds),
            ("gate and bounds", _passes),
        ):
            cells = [
                _passed([one for one in found.values() if one.get("factor") == factor], is_passed)
                for _, found in columns
            ]
            lines.append(f"| one category times {factor:g}, passes the {what} | " + " | ".join(cells) + " |")
    for what, is_passed in (("gate", _passes_gate), ("gate or a bound of golden requests", _passes)):
        cells = []
        for _, found in columns:
            good = [one for one in found.values() if one.get("is_good")]
            refused = sum(not is_passed(one) for one in good)
            cells.append(f"{refused} of {len(good)}: {refused / max(1, len(good)):.1%}")
        lines.append(f"| good challengers refused by the {what} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    return f"""{begin}
## One category wrong at a time

The forecasts of a good model of the demand example are multiplied by 0, 0.5 or 2 in one category of a holdout, for each
category and three holdouts. Challengers of the catalogue of candidates are measured too; a challenger counts as good
if it is not worse than the champion in the weeks after the decision, over all rows. The share is the fraction of the holdout's
units in the categories that passed, averaged over the three holdouts. Before 2026-11-29 only segments of ten stores were compared;
the ratios of sums and the factor of the bounds were chosen with knowledge of 71 challengers of the first catalogue, with a margin
to the most different of them.

`python -m tests.campaign.segments.run FOLDER [FOLDER OF ANOTHER CHECKOUT]` measures them; an interrupted run resumes.

{table}

{_passing(columns[-1])}
{end}
"""


def _passing(column: tuple[str, dict[str, dict[str, Any]]]) -> str:
    """Return the halved or doubled categories that pass, largest first."""
    name, found = column
    passed = [line for line in found.values() if "factor" in line and _passes(line)]
    if not passed:
        return f"No category passes ({name})."
    largest = sorted(passed, key=lambda line: -line["share"])[:_SHOWN]
    listed = "; ".join(f"{line['key']}, {line['share']:.1%} of units" for line in largest)
    return f"Categories that pass ({name}), largest first, as week, category and factor: {listed}."


def _passes_gate(line: dict[str, Any]) -> bool:
    return bool(line["gate"] == "PASSED")


def _passes_bounds(line: dict[str, Any]) -> bool:
    return not line["golden"]


def _passes(line: dict[str, Any]) -> bool:
    return _passes_gate(line) and not line["golden"]


def _passed(lines: Sequence[dict[str, Any]], is_passed: Any) -> str:
    passed = [line for line in lines if is_passed(line)]
    share = sum(line["share"] for line in passed) / max(1, len({line["week"] for line in lines}))
    return f"{len(passed)} of {len(lines)}, {share:.1%} of units"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    run(target)
    measured = [("after", results(target))]
    if len(sys.argv) > 2:
        measured.insert(0, ("before", results(Path(sys.argv[2]))))
    write(PAGE, NAME, section(measured))
