"""Print how often each rule stops identical and bad fleets, and how soon the verdict stops bad ones.

``python -m benchmarks.canary 200`` draws 200 traces per cell (seed 16) and takes about ten minutes.
"""

import sys
from collections.abc import Iterator

import numpy as np
from benchmarks.canary.rules import RULE, Comparison, is_stopped, rules
from benchmarks.canary.traces import FAMILIES, traces
from benchmarks.measure import load

SEED = 16
VOLUMES = (10, 60, 600, 6_000, 100_000, 1_000_000)
SHARES = (0.05, 0.1, 0.5)
BASES = (0.0, 0.0005, 0.001, 0.01, 0.05)
EFFECTS = ((0.001, 0.01), (0.01, 0.02), (0.01, 0.06))
# goal for a fleet with ten times the errors
BAD_ANSWERS, BAD_MINUTES = 500, 4
# by then an unstopped trace has served that many bad responses, or never will
_LONGEST = 400_000


def _row(name: str, cells: Iterator[str]) -> None:
    print("|", name, "|", " | ".join(cells), "|", flush=True)


def _head(first: str) -> None:
    _row(first, (f"{volume:,}" for volume in VOLUMES))
    _row("---", ("---" for _ in VOLUMES))


def identical(size: int) -> None:
    """Print a table per family: every rule at a 10 % share, and the verdict at every share."""
    for number, family in enumerate(FAMILIES):
        print(
            f"\n{family}: stopped in %, mean over bases 0, .05, .1, 1, 5 % (worst base); share 10 % where none is named\n"
        )
        _head("calls a minute")
        table: dict[str, list[str]] = {}
        for volume in VOLUMES:
            rng = np.random.default_rng((SEED, number, volume))
            found = [rules(traces(rng, family, volume=volume, share=0.1, old=b, new=b, size=size)) for b in BASES]
            for name in found[0]:
                table.setdefault(name, []).append(_cell([100 * each[name].mean() for each in found]))
            for share in SHARES:
                if share != 0.1:
                    drawn = (traces(rng, family, volume=volume, share=share, old=b, new=b, size=size) for b in BASES)
                    cell = _cell([100 * is_stopped(each).mean() for each in drawn])
                    table.setdefault(f"verdict, share {share:.0%}", []).append(cell)
        for name, cells in table.items():
            _row(name, iter(cells))


def _cell(rates: list[float]) -> str:
    return f"{np.mean(rates):.1f} ({max(rates):.0f})"


def bad(size: int) -> None:
    """Print how many bad fleets each rule stops within twenty minutes."""
    for old, new in EFFECTS:
        print(f"\n{old:.1%} of the old fleet's answers fail and {new:.0%} of the new one's: stopped in 20 minutes, %\n")
        _head("calls a minute")
        rng = np.random.default_rng((SEED, int(1e4 * new)))
        found = [rules(traces(rng, "plain", volume=v, share=0.1, old=old, new=new, size=size)) for v in VOLUMES]
        for name in found[0]:
            _row(name, (f"{100 * each[name].mean():.0f}" for each in found))


def ten_times(size: int) -> None:
    """Print the share of fleets with ten times the errors that is stopped within 500 bad responses or four minutes."""
    print(
        f"\nten times the errors: stopped within {BAD_ANSWERS} bad answers or {BAD_MINUTES} minutes, %; median of bad answers\n"
    )
    _head("share, base")
    for share in SHARES:
        for base in BASES[1:]:
            cells = (_ten_times(size, share=share, base=base, volume=volume) for volume in VOLUMES)
            _row(f"{share:.0%}, {base:.2%}", cells)


def _ten_times(size: int, *, share: float, base: float, volume: int) -> str:
    rng = np.random.default_rng((SEED, volume, int(1e4 * base), int(100 * share)))
    comparison, new = Comparison(size, np.zeros(size)), min(1.0, 10 * base)
    answers, stopped_by = np.zeros(size), np.full(size, np.nan)
    for minute in range(1, _LONGEST):
        n, m = rng.poisson(volume * share, size), rng.poisson(volume * (1 - share), size)
        x, y = rng.binomial(n, new), rng.binomial(m, base)
        before = answers
        answers = answers + x
        is_now = np.isnan(stopped_by) & (comparison.add(x, n, y, m) >= 1 / RULE.false_alarm)
        is_soon = is_now & ((answers <= BAD_ANSWERS) | (minute <= BAD_MINUTES))
        stopped_by[is_soon] = answers[is_soon]
        if (~np.isnan(stopped_by) | ((before > BAD_ANSWERS) & (minute > BAD_MINUTES))).all():
            break
    rate = 100 * np.mean(~np.isnan(stopped_by))
    return f"{rate:.0f}; {np.nanmedian(stopped_by):.0f}" if rate else "0"


def dead(size: int) -> None:
    """Print the minute in which a fleet is stopped that fails every call."""
    print("\nall answers of the new fleet fail, of the old one's .05 %: minute of the stop, median (latest)\n")
    _head("share")
    for share in SHARES:
        cells = []
        for volume in VOLUMES:
            rng = np.random.default_rng((SEED, volume, int(100 * share)))
            found = traces(rng, "plain", volume=volume, share=share, old=0.0005, new=1.0, size=size, minutes=60)
            comparison = Comparison(size, np.zeros(size))
            hit = np.stack(
                [comparison.add(found.x[:, t], found.n[:, t], found.y[:, t], found.m[:, t]) >= 100 for t in range(60)],
                1,
            )
            first = np.where(hit.any(1), hit.argmax(1) + 1, 61)
            cells.append(f"{np.median(first):.0f} ({first.max()})")
        _row(f"{share:.0%}", iter(cells))


def main() -> None:
    """Print all tables."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{size} traces a cell, seed {SEED}; {load()}")
    identical(size)
    bad(size)
    ten_times(size)
    dead(size)


if __name__ == "__main__":
    main()
