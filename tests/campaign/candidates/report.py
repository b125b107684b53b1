"""Write the results of the campaign to its section of ``docs/campaign.md``. Every number there comes from here."""

import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.campaign.candidates import rollouts
from tests.campaign.candidates.catalogue import KINDS, SEED, bad_ones, good_ones
from tests.campaign.candidates.path import LAYERS, SPEC
from tests.campaign.candidates.run import APART, results
from tests.campaign.candidates.world import FRESH_WEEKS, HOLDOUT_WEEKS
from tests.campaign.page import write as write_section

BEGIN, END = "<!-- candidates: begin -->", "<!-- candidates: end -->"
GOAL_BAD, GOAL_WORSE, GOAL_GOOD = 0.03, 0.01, 0.06
GOAL_WILSON = 0.05  # upper bound for candidates that are worse later
WEEK_MINUTES = 7 * 24 * 60  # until the unit's monitor runs
_SHOWN = 170
# reasons why one of a kind passed; written once the results were known
WHY = {
    "zeros for a group": "such series sell almost nothing, and zero is hardly less accurate than the live model's forecast",
    "promotions wrong": "a quarter too low for promoted rows, for which the live model is equally wrong; later weeks do "
    "not show which is worse",
    "promotions ignored": "without the mailer it is still not worse than the live model, also for promoted rows",
    "overflows": "no forecast approaches the limit, on the holdout or in later weeks",
    "categories shuffled": "the model hardly uses the category; its forecasts are as good, also in later weeks",
    "one category wrong": "two fifths too low in a category, for which the live model is not shown to be better, also later",
    "only old rows": "a model trained until week 14 is as good as the live one, trained until week 22",
    "labels mixed up": "if a third of the labels change, the median hardly changes; the model is not worse, also in later weeks",
    "ends after a while": "it fails after the thousand calls of a rehearsal, and one error in a thousand calls raises no alarm",
    "slow on some calls": "one call of fifty is slow, too few in a rehearsal and a rollout of a few hundred calls",
    "right on golden rows alone": "golden requests were the same in each round",
    "one column in another unit": "the other columns contain nearly the same information",
    "right on the holdout alone": "a fifth too low elsewhere is within the bounds of the golden rows",
    "shifted in time": "the weeks are similar enough",
    "two columns swapped": "both columns contain nearly the same values",
    "capped": "hardly any forecast is so high",
    "labels of a segment mixed up": "reordering the labels of one category changes its median little",
    "leaks memory": "it fails only after the rehearsal, and one error in hundreds of calls raises no alarm",
}
Line = Mapping[str, Any]


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    Example:
        >>> [round(bound, 3) for bound in wilson(0, 100)]
        [0.0, 0.037]
    """
    if of == 0:
        return 0.0, 1.0
    share, weight = hits / of, z * z / of
    middle = (share + weight / 2) / (1 + weight)
    reach = z * math.sqrt(share * (1 - share) / of + weight / 4 / of) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def section(folder: Path, *, date: str, command: str, load: str) -> str:
    """Return the section, markers included.

    Args:
        folder: Folder of the results.
        date: Date of the run.
        command: Command of the run.
        load: Other load of the machine.
    """
    bad, good, rolled, apart = (results(folder, part) for part in ("bad", "good", rollouts.PART, APART))
    stopped = {key: layer_of(line, rolled.get(key)) for key, line in bad.items()}
    fresh_good = {key: line for key, line in good.items() if line["fresh"].get("is_good")}
    refused = {key: layer_of(line, rolled.get(key)) for key, line in fresh_good.items()}
    parts: list[Iterable[str]] = [
        [BEGIN, "## Bad and good candidates", ""],
        _about(bad, good, date, command, load),
        _headline(bad, stopped, refused, rolled),
        _by_chance(good, stopped, bad),
        _before(),
        ["", "### Bad ones, by kind", ""],
        _by_kind(bad, stopped),
        ["", "### Bad ones that reached full traffic", ""],
        _through(bad, stopped, rolled, apart),
        ["", "### Good ones that were refused", ""],
        _refused(good, fresh_good, refused, rolled),
        ["", "### Rollouts", ""],
        _rollouts(bad, good, rolled),
        [END, ""],
    ]
    return "\n".join(line for part in parts for line in part)


def write(page: Path, text: str) -> None:
    """Replace the section in the page; the rest of the page belongs to other campaigns."""
    write_section(page, "candidates", text)


def layer_of(line: Line, rolled: Line | None) -> str | None:
    """Return the layer that stopped a candidate; ``None`` for one that reached full traffic, or would have."""
    if line["layer"] is not None:
        return str(line["layer"])
    if rolled is None or rolled["promoted"]:
        return None
    return "canary"


def _about(bad: Mapping[str, Line], good: Mapping[str, Line], date: str, command: str, load: str) -> Iterator[str]:
    seconds = sum(line["seconds"] for line in (*bad.values(), *good.values()))
    yield (
        f"{len(bad)} of {len(list(bad_ones()))} bad candidates of {len(KINDS)} kinds and {len(good)} of "
        f"{len(list(good_ones()))} challengers of demand forecasting, each a real `model.tar.gz`, beside the champion of week 30. "
        "The path: the evaluation job's core, the gate as the unit declares it, the real server process, the golden requests "
        f"(five rounds; at most {SPEC.max_deviation} from the live model, at the median {SPEC.max_latency_ms} ms a call and "
        f"{SPEC.max_slowdown:g} times the live model's), then the rollout on the embedded cloud. "
        "The catalogue (with other seeds and weeks than the two previous runs) was committed before any "
        "candidate was evaluated; the candidates that ran are a random sample of it, in a seeded order."
    )
    yield ""
    yield f"{command}, seed {SEED}, {date}, {seconds / 60:.0f} minutes of candidates; {load}."
    yield ""


def _headline(
    bad: Mapping[str, Line],
    stopped: Mapping[str, str | None],
    refused: Mapping[str, str | None],
    rolled: Mapping[str, Line],
) -> Iterator[str]:
    through = [key for key, layer in stopped.items() if layer is None]
    plain = sum(bool(line["plain"]) for line in bad.values())
    missing = [key for key in through if key not in rolled]
    minutes = sum(line["traffic_minutes"] for key, line in rolled.items() if key in bad)
    turned = sum(layer is not None for layer in refused.values())
    yield "| | here | goal | plain UpdateEndpoint |"
    yield "|---|---|---|---|"
    yield (
        f"| bad that reach full traffic | {_share(len(through), len(bad))} | "
        f"{_goal(len(through), len(bad), GOAL_BAD)} | {_share(plain, len(bad))} |"
    )
    worse = [key for key, line in bad.items() if not line["fresh"]["is_good"]]
    hurt, plain_worse = sum(key in through for key in worse), sum(bool(bad[key]["plain"]) for key in worse)
    yield (
        "| the same, only of those that are also worse in later weeks, or bad regardless of their forecasts "
        f"| {_share(hurt, len(worse))} | "
        f"{_goal(hurt, len(worse), GOAL_WORSE)} | {_share(plain_worse, len(worse))} |"
    )
    yield f"| bad traffic-minutes in the rollouts | {minutes:.1f} | | 0 (no rollout) |"
    yield (
        f"| bad traffic-minutes, if the monitor runs after a week | {minutes + WEEK_MINUTES * len(through):,.0f} | | "
        f"{WEEK_MINUTES * plain:,} |"
    )
    yield (
        f"| the upper bound of that interval | {wilson(hurt, len(worse))[1]:.1%} | "
        f"at most {GOAL_WILSON:.0%}: {'met' if wilson(hurt, len(worse))[1] <= GOAL_WILSON else 'missed'} | |"
    )
    yield (
        f"| good refused | {_share(turned, len(refused))} | {_goal(turned, len(refused), GOAL_GOOD)} | "
        f"{_share(0, len(refused))} |"
    )
    yield ""
    yield (
        "Intervals are Wilson's, 95 %. A plain UpdateEndpoint stops candidates that do not start or do not "
        "answer their first call. "
        f"Of the bad ones that passed all earlier checks, {len(missing)} had no rollout and count as having reached full traffic. "
        "A traffic-minute is a minute in which a candidate receives all calls."
    )
    counts = Counter(layer or "full traffic" for layer in stopped.values())
    yield ""
    yield "| stopped by | " + " | ".join((*LAYERS, "full traffic")) + " |"
    yield "|---" * (len(LAYERS) + 2) + "|"
    yield "| bad | " + " | ".join(str(counts[name]) for name in (*LAYERS, "full traffic")) + " |"


def _by_chance(good: Mapping[str, Line], stopped: Mapping[str, str | None], bad: Mapping[str, Line]) -> Iterator[str]:
    """Yield why both figures have a lower limit: candidates that are not worse, and honest models that seem worse by chance."""
    through = [bad[key]["fresh"] for key, layer in stopped.items() if layer is None]
    equal = sum(bool(fresh["is_good"]) for fresh in through)
    regardless = sum("loss" not in fresh for fresh in through)
    unlucky = sum(not line["fresh"]["is_good"] for line in good.values())
    yield ""
    yield (
        f"Both figures for bad ones have a lower limit. {equal} of the {len(through)} are not worse than the live model in the "
        "weeks after the decision: no check of their responses can distinguish them from good ones. "
        f"Of the others, {regardless} are bad regardless of their forecasts. For {len(through) - equal - regardless}, six later "
        f"weeks do not show that they are as good; by the same rule, this is also true of {unlucky} of the {len(good)} "
        "unmodified challengers."
    )


def _before() -> Iterator[str]:
    """Yield the results of the earlier catalogues, and the rules that followed."""
    yield ""
    yield (
        "The first catalogue, on 2026-11-24 with the rules of that date (seed 20261124): 18 of 264 bad ones reached full "
        "traffic "
        "(6.8%), 3 of the 226 that were also worse later (1.3%, 0.5% to 3.8%), 4 of 115 good ones were refused (3.5%). The second, "
        "of these 58 "
        "kinds with other seeds and weeks, on 2026-11-29 at a load of 10 to 18 and without rollouts (seed 20261129): 34 of 256 "
        "(13.3%), 14 of 210 (6.7%, 4.0% to 10.9%) and 3 of 96 (3.1%). It found images that are slow on one call of ten or fifty, "
        "and models that are right only on the golden rows or only on the holdout. Golden requests therefore count "
        "calls that are slow only at the candidate, and send slightly changed rows."
    )
    yield ""
    yield (
        "The rule on slow calls first tested whether there were significantly more than at the live model, and "
        "refused a good model on "
        "a busy machine (47 of 462 calls against 19). Now there must be more than twice as many. In 100 simulated rehearsals on a "
        "quiet machine, the rule finds one slow call of ten in 100 and one of twenty in 74; on a machine that is busy for 45 s, in "
        "97 and 53. It never finds one of fifty, and refuses 0 of 400 equal models."
    )


def _by_kind(bad: Mapping[str, Line], stopped: Mapping[str, str | None]) -> Iterator[str]:
    yield "| kind | defect | expected to stop at | " + " | ".join(LAYERS) + " | full traffic | plain |"
    yield "|---" * (len(LAYERS) + 5) + "|"
    cells = list(bad_ones())
    for kind in KINDS:
        keys = [cell.key for cell in cells if cell.kind is kind and cell.key in bad]
        counts = Counter(stopped[key] for key in keys)
        plain = sum(bool(bad[key]["plain"]) for key in keys)
        numbers = [str(counts[layer] or "") for layer in LAYERS]
        through = counts[None]
        low, high = wilson(through, len(keys))
        shown = f"{through} of {len(keys)} ({low:.0%} to {high:.0%})"
        yield f"| {kind.name} | {kind.says} | {kind.layer} | " + " | ".join(numbers) + f" | {shown} | {plain} |"


def _through(
    bad: Mapping[str, Line],
    stopped: Mapping[str, str | None],
    rolled: Mapping[str, Line],
    apart: Mapping[str, Line],
) -> Iterator[str]:
    keys = [key for key, layer in stopped.items() if layer is None]
    if not keys:
        yield "None."
        return
    worse = [key for key in keys if not bad[key]["fresh"].get("is_good")]
    same = sum(apart[key]["share"] == 0 for key in keys if key in apart and key not in worse)
    yield (
        f"In the weeks after the decision, which no gate saw, {len(worse)} of these {len(keys)} lose to "
        f"the champion by the gate's own "
        "rule, or are bad regardless of their forecasts. The others count as bad because they were "
        "modified, but their forecasts are as good as the live model's. "
        f"{same} of them return in every later week exactly the forecasts of the unmodified model: no check of forecasts "
        "could reject them and accept that model."
    )
    yield ""
    cells = {cell.key: cell.kind.name for cell in bad_ones()}
    for name, count in Counter(cells[key] for key in keys).items():
        yield f"- {name} ({count}): {WHY.get(name, 'not inspected')}."
    yield ""
    yield "| candidate | holdout loss | later weeks | later forecasts that differ from the unmodified model's | rollout |"
    yield "|---|---|---|---|---|"
    for key in keys:
        line, fresh = bad[key], bad[key]["fresh"]
        later = f"{fresh['loss']:.4f}" if fresh.get("loss") else "not measured"
        later += ", not worse" if fresh.get("is_good") else f", worse: {_short(fresh.get('reason', ''))}"
        share = f"{apart[key]['share']:.1%}" if key in apart else "not measured"
        yield f"| {key} | {_loss(line)} | {later} | {share} | {_outcome(rolled.get(key))} |"


def _refused(
    good: Mapping[str, Line],
    fresh_good: Mapping[str, Line],
    refused: Mapping[str, str | None],
    rolled: Mapping[str, Line],
) -> Iterator[str]:
    yield (
        f"{len(fresh_good)} of {len(good)} challengers are good: in the weeks after the decision they are not worse than the "
        "champion by the gate's own rule, over all rows and by segment."
    )
    yield ""
    turned = {key: layer for key, layer in refused.items() if layer is not None}
    if not turned:
        yield "None was refused."
        return
    weeks = Counter(line["week"] for line in fresh_good.values())
    by = Counter(turned.values())
    if by["gate"]:
        yield (
            f"The gate refuses {by['gate']} of them: the {HOLDOUT_WEEKS} weeks of the holdout do not show that they are good "
            f"enough, but the {FRESH_WEEKS} weeks after it do."
        )
        yield ""
    yield "| trained after week | good | refused |"
    yield "|---|---|---|"
    for week, count in sorted(weeks.items()):
        yield f"| {week} | {count} | {_share(sum(good[key]['week'] == week for key in turned), count)} |"
    yield ""
    yield "| candidate | by | why |"
    yield "|---|---|---|"
    for key, layer in turned.items():
        reason = rolled[key]["reason"] if layer == "canary" else good[key]["reason"]
        yield f"| {key}, week {good[key]['week']} | {layer} | {_short(reason)} |"


def _rollouts(bad: Mapping[str, Line], good: Mapping[str, Line], rolled: Mapping[str, Line]) -> Iterator[str]:
    mine = {key: line for key, line in rolled.items() if key in bad or key in good}
    if not mine:
        yield "None was run."
        return
    seconds = sorted(line["seconds"] for line in mine.values())
    yield (
        f"{len(mine)} on the deployed stack of the unit, with the clock {rollouts.CLOCK_SCALE:.0f} times as fast, "
        f"{seconds[len(seconds) // 2]:.0f} s "
        f"of real time at the median: every bad one that passed all earlier checks, as far as time allowed, and a seeded sample of "
        f"{sum(key in good for key in mine)} good ones."
    )
    yield ""
    yield "| candidate | outcome | minutes | calls to it | calls failed | traffic-minutes |"
    yield "|---|---|---|---|---|---|"
    for key, line in mine.items():
        calls = f"{line['calls']} of {line['answered'] + line['failed']}"
        yield f"| {key} | {_outcome(line)} | {line['minutes']} | {calls} | {line['failed']} | {line['traffic_minutes']} |"


def _outcome(rolled: Line | None) -> str:
    if rolled is None:
        return "none, counted as promoted"
    return "promoted" if rolled["promoted"] else f"{rolled['outcome']}: {_short(rolled['reason'])}"


def _loss(line: Line) -> str:
    return "none" if line["loss"] is None else f"{line['loss']:.4f}"


def _short(text: str) -> str:
    text = text.replace("|", "/").replace("\n", " ")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _share(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits} of {of}: {hits / max(1, of):.1%} ({low:.1%} to {high:.1%})"


def _goal(hits: int, of: int, goal: float) -> str:
    return f"at most {goal:.0%}: {'met' if hits <= goal * of else 'missed'}"


def write_now(folder: Path, page: Path, command: str) -> None:
    """Write the section with today's date and the machine's load."""
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    load = f"a load of {loads} on {os.cpu_count()} cores at its end"
    write(page, section(folder, date=f"{datetime.now(UTC):%Y-%m-%d}", command=command, load=load))


if __name__ == "__main__":
    parts = "`python -m tests.campaign.candidates.run` and `.rollouts`, the parts of `pytest -m campaign tests/campaign/candidates`"
    write_now(Path(sys.argv[1]), Path(sys.argv[2]), parts)
