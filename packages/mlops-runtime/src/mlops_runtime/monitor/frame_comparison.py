"""Compare two data frames for drift with the cells, rules and report page of the monitors.

from mlops_runtime.monitor.frame_comparison import compare
found = compare(last_month, today, cluster="household_id", timestamp="at")
found.html("drift.html")
"""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from mlops_runtime.contracts import canonical_json, content_hash
from mlops_runtime.contracts.monitor import Baseline, Condition, Counts, MonitorState
from mlops_runtime.contracts.monitor_report import DriftResult, FeatureDrift, MonitorReport
from mlops_runtime.monitor.counting.baseline import BaselineError, cluster_codes, fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import Column
from mlops_runtime.monitor.counting.conditions import ConditionError
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.frame_columns import (
    FrameColumn,
    FrameError,
    Type,
    column,
    live_values,
    read,
    times,
)
from mlops_runtime.monitor.monitors.drift.decision import decide, known
from mlops_runtime.monitor.monitors.drift.scrutiny import is_enough, scrutinise
from mlops_runtime.monitor.page.window_page import page
from mlops_runtime.monitor.report_message import verdict
from mlops_runtime.monitor.spec import MonitorSpec

_NAME = "live rows"


class DriftFoundError(Exception):
    """The live rows drifted; the message is the verdict."""


def compare(
    reference: Any,
    live: Any,
    *,
    cluster: str | None = None,
    timestamp: str | None = None,
    prediction: str | None = None,
    conditions: Sequence[Condition] = (),
    categories: Sequence[str] = (),
    ignore: Sequence[str] = (),
    spec: MonitorSpec | None = None,
) -> "FrameComparison":
    """Compare live rows with those of a reference.

    Args:
        reference: A pandas, polars or Arrow frame, or the path of a Parquet file.
        live: As ``reference``.
        cluster: Column that identifies clusters of correlated rows (a household, a day). Default: rows are independent.
        timestamp: Column with each row's time. Default: rows have no times, and conditions of time cannot be used.
        prediction: Column with a model's predictions, numbers. Default: no predictions.
        conditions: Circumstances known ahead of a row that change the distribution of its columns. Default: none.
        categories: Columns of numbers whose values are levels: codes. Default: numbers are numbers.
        ignore: Columns to leave out. Default: none.
        spec: Minimum effects and significance level. Default: those of `MonitorSpec`.

    Raises:
        FrameError: With every named column that is missing and every entry of ``conditions`` that is not a `Condition`; also if a
            frame cannot be read or its column names are not unique strings.

    Example:
        >>> import numpy as np, pyarrow as pa
        >>> random = np.random.default_rng(1)
        >>> before = pa.table({"price": random.lognormal(1, 0.2, 5000), "store": ["north", "south"] * 2500})
        >>> after = pa.table({"price": random.lognormal(1, 0.2, 5000) * 1.3, "store": ["north", "south"] * 2500})
        >>> compare(before, after).drifted
        ('price',)
        >>> compare(before, before).verdict
        'no drift in 5,000 rows'
    """
    made = Reference(
        reference,
        cluster=cluster,
        timestamp=timestamp,
        prediction=prediction,
        conditions=conditions,
        categories=categories,
        ignore=ignore,
    )
    return made.compare(live, spec=spec)


class Reference:
    """A reference to compare many frames with: types, cells and design effects are computed once.

    Args:
        frame: As ``reference`` of `compare`.
        cluster: As in `compare`.
        timestamp: As in `compare`.
        prediction: As in `compare`.
        conditions: As in `compare`.
        categories: As in `compare`.
        ignore: As in `compare`.

    Raises:
        FrameError: See `compare`.

    Example:
        >>> import pyarrow as pa
        >>> reference = Reference(pa.table({"price": [float(i % 50) for i in range(500)]}))
        >>> reference.compare(pa.table({"price": [float(i % 50) for i in range(500)]})).state.value
        'OK'
    """

    def __init__(
        self,
        frame: Any,
        *,
        cluster: str | None = None,
        timestamp: str | None = None,
        prediction: str | None = None,
        conditions: Sequence[Condition] = (),
        categories: Sequence[str] = (),
        ignore: Sequence[str] = (),
    ) -> None:
        rows = read(frame)
        self._categories, self._timestamp, self._prediction = frozenset(categories), timestamp, prediction
        self._aside = {cluster, timestamp, prediction, *ignore} - {None}
        named = {"cluster": cluster, "timestamp": timestamp, "prediction": prediction}
        wanted = [(of, name) for of, name in named.items() if name is not None]
        wanted += [(of, name) for of, names in (("categories", categories), ("ignore", ignore)) for name in names]
        problems = [
            f"{of} {name!r} is not a column of the reference" for of, name in wanted if name not in rows.columns
        ]
        if len(rows) == 0:
            problems.append("the reference has no rows")
        problems += [
            f"each of conditions must be a Condition, got {one!r}: Condition(name={one!r})"
            for one in conditions
            if not isinstance(one, Condition)
        ]
        if problems:
            raise FrameError(
                f"{'; '.join(problems)}; the reference has {', '.join(map(repr, rows.columns)) or 'no columns'}"
            )
        self.left_out: dict[str, str] = {}
        self._types: dict[str, Type] = {}
        values: dict[str, Column] = {}
        for name in rows.columns:
            if name in self._aside:
                continue
            found = column(rows[name], as_category=name in self._categories)
            if isinstance(found, FrameColumn):
                self._types[name], values[name] = found.type, found.values
            else:
                self.left_out[name] = found
        if not values:
            raise FrameError(f"no column of the reference can be compared: {_reasons(self.left_out)}")
        try:
            self.baseline: Baseline = fit_baseline(
                values,
                types=self._types,
                training_set_id="reference",
                created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                clusters=None if cluster is None else cluster_codes(rows[cluster].to_list()),
                times=None if timestamp is None else times(rows[timestamp]),
                conditions=conditions,
                prediction=None if prediction is None else live_values(rows[prediction], "number"),
            )
        except (BaselineError, ConditionError) as error:
            raise FrameError(str(error)) from error

    def compare(self, live: Any, *, spec: MonitorSpec | None = None) -> "FrameComparison":
        """Compare a frame with the reference.

        Args:
            live: As in `compare`.
            spec: As in `compare`.

        Raises:
            FrameError: If the frame cannot be read, has no rows, or lacks the times or predictions that the reference has.
        """
        rows = read(live)
        needed = [name for name in (self._timestamp, self._prediction) if name is not None and name not in rows.columns]
        problems = [f"the live rows have no column {name!r}" for name in needed]
        if len(rows) == 0:
            problems.append("there are no live rows")
        if problems:
            raise FrameError("; ".join(problems))
        values = {name: self._values(rows, name) for name in self._types}
        at = None if self._timestamp is None else times(rows[self._timestamp])
        predictions = None if self._prediction is None else live_values(rows[self._prediction], "number")
        counts = count_columns(values, self.baseline, predictions=predictions, times=at)
        only = [name for name in rows.columns if name not in {*self._types, *self.left_out, *self._aside}]
        left_out = {**self.left_out, **dict.fromkeys(only, "the reference has no such column")}
        # a single window: no earlier one can confirm its drift
        alone = replace(spec or MonitorSpec(), alarm_windows=1, of_windows=1)
        return FrameComparison(
            report=_report(self.baseline, counts, alone, at, left_out),
            baseline=self.baseline,
            counts=counts,
            backend=rows.implementation,
        )

    def _values(self, rows: nw.DataFrame[Any], name: str) -> Column:
        # a missing column counts as nulls: the model would receive nulls
        if name not in rows.columns:
            return [None] * len(rows)
        return live_values(rows[name], self._types[name], as_category=self._types[name] == "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameComparison:
    """The result of a comparison.

    Args:
        report: The report, as monitors write it.
        baseline: Baseline of the reference.
        counts: The live rows' counts.
        backend: Library of the live frame, in which `frame` returns its result.
    """

    report: MonitorReport
    baseline: Baseline
    counts: Counts
    backend: Any

    @property
    def verdict(self) -> str:
        """The result as one sentence, with the columns that were left out."""
        sentence = self.report.verdict.removeprefix(f"{_NAME}: ")
        return f"{sentence}; left out: {', '.join(self.left_out)}" if self.left_out else sentence

    @property
    def state(self) -> MonitorState:
        """``OK``, ``VIOLATION`` or ``INSUFFICIENT_DATA``."""
        return self.report.drift.state

    @property
    def features(self) -> tuple[FeatureDrift, ...]:
        """Verdict and evidence of each column."""
        return self.report.drift.features

    @property
    def drifted(self) -> tuple[str, ...]:
        """Columns that drifted."""
        return tuple(feature.name for feature in self.features if feature.drifted)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Columns that were not compared, with the reason."""
        return self.report.drift.left_out or {}

    def frame(self) -> Any:
        """Return a frame of the live frame's library with one row a column: verdict, p-value, rule, distance, why untested."""
        fields = ("name", "drifted", "p_value", "rule", "description", "psi", "ordinary_psi", "untested", "in_part")
        columns = {name: [getattr(feature, name) for feature in self.features] for name in fields}
        return nw.from_dict(columns, backend=self.backend).to_native()

    def to_dict(self) -> dict[str, object]:
        """Return the report as the dictionary of its JSON."""
        found: dict[str, object] = json.loads(self.json())
        return found

    def json(self) -> str:
        """Return the report as JSON: a document of `MonitorReport`."""
        return canonical_json(self.report).decode()

    def html(self, path: str | Path | None = None) -> str:
        """Return the report page as HTML, self-contained and without scripts.

        Args:
            path: File to write the page to as well. Default: no file.
        """
        text = page(self.report, baseline=self.baseline, counts=self.counts, history=())
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def raise_for_drift(self) -> None:
        """Raise an error if a column drifted.

        Raises:
            DriftFoundError: With the verdict.
        """
        if self.state is MonitorState.VIOLATION:
            raise DriftFoundError(self.verdict)

    def __repr__(self) -> str:
        return self.verdict

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(each.name)}</td><td>{'drifted' if each.drifted else 'holds'}</td>"
            f"<td>{html.escape(each.description or each.untested or '')}</td><td>{each.p_value:.2g}</td></tr>"
            for each in self.features
        )
        head = "<tr><th>column</th><th>verdict</th><th>what happened</th><th>p-value</th></tr>"
        return f"<p>{html.escape(self.verdict)}</p><table>{head}{rows}</table>"


def _report(
    baseline: Baseline, counts: Counts, spec: MonitorSpec, at: Any, left_out: Mapping[str, str]
) -> MonitorReport:
    usable, problems = known(spec, baseline)
    enough_rows = counts.rows >= spec.minimum_rows
    features = decide(baseline, counts, usable) if enough_rows else ()
    scrutiny = scrutinise(baseline, features) if enough_rows else None
    state = MonitorState.INSUFFICIENT_DATA
    features = tuple(replace(feature, persistent=feature.drifted) for feature in features)
    if any(feature.drifted for feature in features):
        state = MonitorState.VIOLATION
    elif scrutiny is not None and is_enough(scrutiny, spec):
        state = MonitorState.OK
    first, last = _span(at)
    result = DriftResult(
        state=state,
        features=features,
        scrutiny=scrutiny,
        left_out={**(baseline.left_out or {}), **left_out} or None,
        problems=problems or None,
    )
    report = MonitorReport(
        endpoint=_NAME,
        variant=f"{counts.rows:,} of them against {baseline.rows:,} of the reference",
        window_from=first,
        window_until=last,
        rows=counts.rows,
        baseline_sha256=content_hash(baseline),
        model_package_arn=None,
        drift=result,
        quality=None,
        state=state,
        spec=usable,
    )
    return replace(report, verdict=verdict(report))


def _span(at: Any) -> tuple[str, str]:
    """Return the first and the last time of the rows; now for rows without times."""
    some = at is not None and not np.isnat(at).all()
    found = (
        (np.nanmin(at), np.nanmax(at)) if some else (np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s"),) * 2
    )
    first, last = (f"{each.astype('datetime64[s]')}Z" for each in found)
    return first, last


def _reasons(left_out: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "all of them are ignored"
