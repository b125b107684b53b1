"""Results of the client: immutable values that notebooks show as tables and that convert to pandas."""

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts.monitor_report import MonitorReport, monitor_states
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.retraining.run_comparison import RunComparison
from mlops_runtime.retraining.run_history import Run, RunDetails

_SHOWN = 20  # rows of a table in a notebook


class Shown(ABC):
    """Base class of results with rows."""

    __slots__ = ()

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Return the rows as dicts, value by column."""

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 - an optional dependency

        return pd.DataFrame.from_records(self.records())

    def __repr__(self) -> str:
        rows = self.records()
        lines = ["  ".join(f"{name}: {_text(value)}" for name, value in row.items()) for row in rows[:_SHOWN]]
        more = [f"{len(rows) - _SHOWN} more"] if len(rows) > _SHOWN else []
        return "\n".join([type(self).__name__, *lines, *more])

    def _repr_html_(self) -> str:
        rows = self.records()
        heads = list(rows[0]) if rows else []
        lines = [_line("th", heads), *(_line("td", [row.get(head) for head in heads]) for row in rows[:_SHOWN])]
        more = f"<p>{len(rows) - _SHOWN} more</p>" if len(rows) > _SHOWN else ""
        return f"<table>{''.join(lines)}</table>{more}"


def _line(cell: str, values: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{cell}>{html.escape(_text(value))}</{cell}>' for value in values)}</tr>"


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True, repr=False)
class Summary(Shown):
    """Facts by name.

    Example:
        >>> Summary({"rows": 3}).facts["rows"]
        3
    """

    facts: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    def records(self) -> list[dict[str, Any]]:
        """Return one row per fact."""
        return [{"what": name, "value": value} for name, value in self.facts.items()]


@dataclass(frozen=True, slots=True, repr=False)
class RunTable(Shown):
    """Runs and refused requests of a model, newest first."""

    runs: tuple[Run, ...]

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, place: int) -> Run:
        return self.runs[place]

    def records(self) -> list[dict[str, Any]]:
        """Return one row per run, with its losses in the columns ``loss`` and ``loss of <rival>``."""
        rivals = sorted({name for run in self.runs for name in run.metrics} - {"candidate"})
        return [
            {
                "run": run.id,
                "began": run.at,
                "trigger": None if run.trigger is None else run.trigger.value,
                "requested by": run.who,
                "outcome": run.outcome if run.decision is None else f"{run.outcome} {run.decision.value}",
                "free at": run.free_at,
                "seconds": run.seconds,
                "version": run.version,
                "metric": run.metric,
                "loss": run.metrics.get("candidate"),
                **{f"loss of {name}": run.metrics.get(name) for name in rivals},
                "reason": run.reason,
            }
            for run in self.runs
        ]


@dataclass(frozen=True, slots=True, repr=False)
class RunSummary(Shown):
    """A run with its jobs, hyperparameters, training metrics, evaluation and gate result."""

    details: RunDetails

    def records(self) -> list[dict[str, Any]]:
        """Return one row per fact."""
        run, found = self.details.run, self.details
        facts: dict[str, Any] = {"run": run.id, "outcome": run.outcome, "version": run.version, "reason": run.reason}
        facts |= {f"{run.metric} of {name}": loss for name, loss in sorted(run.metrics.items())}
        facts |= {f"hyperparameter {name}": value for name, value in found.hyperparameters.items()}
        if found.training is not None:
            facts |= {f"training {name}": value for name, value in found.training.metrics.items()}
        return [{"what": name, "value": value} for name, value in facts.items()]

    def curves(self) -> list[dict[str, Any]]:
        """Return one row per step of the script's training curves: the step, and a column for each curve."""
        training = self.details.training
        if training is None or training.step is None:
            return []
        return [
            {str(training.step): step, **{name: values[place] for name, values in training.curves.items()}}
            for place, step in enumerate(training.steps)
        ]


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Shown):
    """Comparison of two runs on one holdout."""

    comparison: RunComparison

    @property
    def verdict(self) -> str:
        """The run that is significantly better, or that neither is."""
        return self.comparison.verdict

    def records(self) -> list[dict[str, Any]]:
        """Return one row for the whole holdout and one for each segment."""
        of = self.comparison
        whole = {
            "rows of": "all",
            "rows": of.rows,
            of.first: of.first_loss,
            of.second: of.second_loss,
            "difference": of.difference,
            "low": of.low,
            "high": of.high,
        }
        parts = [
            {"rows of": part.segment, "rows": part.rows, of.first: part.first, of.second: part.second}
            for part in of.segments
        ]
        return [whole, *parts]


@dataclass(frozen=True, slots=True, repr=False)
class Predictions(Shown):
    """One prediction per row, in the order of the rows, with their ids if they were sent with ids."""

    values: tuple[Any, ...]
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values)

    def __getitem__(self, place: int) -> Any:
        return self.values[place]

    def records(self) -> list[dict[str, Any]]:
        """Return one row per prediction."""
        if not self.ids:
            return [{"prediction": value} for value in self.values]
        return [{"id": name, "prediction": value} for name, value in zip(self.ids, self.values, strict=True)]


@dataclass(frozen=True, slots=True, repr=False)
class Live(Shown):
    """The live version."""

    pointer: LivePointer

    @property
    def version(self) -> int:
        """Number of its package in the registry."""
        return int(self.pointer.model_package_arn.rpartition("/")[2])

    def records(self) -> list[dict[str, Any]]:
        """Return one row per fact."""
        of = self.pointer
        facts = {
            "endpoint": of.endpoint,
            "version": self.version,
            "since": of.since,
            "training set": of.training_set_id,
            "model": of.model_sha256,
        }
        return [{"what": name, "value": value} for name, value in facts.items()]


@dataclass(frozen=True, slots=True, repr=False)
class Report(Shown):
    """The newest report of an endpoint's monitors."""

    report: MonitorReport

    @property
    def verdict(self) -> str:
        """Summary of the report in one sentence."""
        return self.report.verdict

    def records(self) -> list[dict[str, Any]]:
        """Return one row per monitor."""
        window = f"{self.report.window_from} to {self.report.window_until}"
        return [
            {"monitor": name, "state": state.value, "window": window, "rows": self.report.rows}
            for name, state in monitor_states(self.report).items()
        ]
