"""The demo's page: one self-contained HTML file with the timeline and three plots, nothing loaded from elsewhere."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _BLUE, _ORANGE, _GREY = "#1f2933", "#2563eb", "#ea580c", "#9aa5b1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """One replayed week, or the first of a longer period: what happened and was said over all rows, losses, drift by feature."""

    week: int
    actual: float
    forecast: float
    loss: float
    naive_loss: float
    psi: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    event: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the timeline."""

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a page speaks of a unit: its title, what is counted, the loss and the naive rival of the model."""

    title: str
    amount: str
    loss: str
    naive: str


_TEMPLATE = jinja2.Template(Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8"), autoescape=True)


def write_page(
    path: Path, *, words: Words, ok: bool, verdict: str, note: str, rows: Sequence[Row], weeks: Sequence[Week]
) -> None:
    """Write the page; a run that stopped early gets the plots of the weeks it had."""
    plots = _plots(weeks, words) if weeks else []
    title = f"{words.title}: one trip around the loop"
    text = _TEMPLATE.render(title=title, ok=ok, verdict=verdict, note=note, rows=rows, plots=plots)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _plots(weeks: Sequence[Week], words: Words) -> list[tuple[str, str, str]]:
    return [
        (
            f"{words.amount.capitalize()}, real and forecast",
            f"{words.amount.capitalize()} a period over all rows, and what the live model said before it.",
            _svg(_amounts(weeks, words)),
        ),
        (
            "Loss by period",
            f"{words.loss} of the live model and of the naive {words.naive}; lower is better.",
            _svg(_losses(weeks, words)),
        ),
        (
            "Drift by feature",
            "Population stability index of each period's requests against the live model's baseline. A dark cell alone does not "
            "raise an alarm: "
            "the test allows for how much a feature moves between ordinary periods, and planned prices move every week.",
            _svg(_drift(weeks)),
        ),
        (
            "Traffic by model version",
            "Calls answered by each model version, by period.",
            _svg(_traffic(weeks)),
        ),
    ]


def _subplots(height: float) -> tuple[Figure, Any]:
    # slow to import, and only who writes a page draws
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, height))
    FigureCanvasSVG(figure)
    return figure, figure.subplots()


def _amounts(weeks: Sequence[Week], words: Words) -> Figure:
    figure, axes = _subplots(3)
    numbers = [w.week for w in weeks]
    axes.plot(numbers, [w.actual for w in weeks], color=_INK, marker="o", ms=4, label="real")
    axes.plot(numbers, [w.forecast for w in weeks], color=_BLUE, marker="o", ms=4, label="forecast")
    axes.set_ylim(bottom=0)
    return _finish(figure, axes, weeks, words.amount)


def _losses(weeks: Sequence[Week], words: Words) -> Figure:
    figure, axes = _subplots(2.6)
    numbers = [w.week for w in weeks]
    axes.plot(numbers, [w.naive_loss for w in weeks], color=_GREY, marker="o", ms=3, label=words.naive)
    axes.plot(numbers, [w.loss for w in weeks], color=_ORANGE, marker="o", ms=4, label="live model")
    return _finish(figure, axes, weeks, words.loss)


def _drift(weeks: Sequence[Week]) -> Figure:
    names = sorted({name for w in weeks for name in w.psi}, key=lambda n: -max(w.psi.get(n, 0.0) for w in weeks))
    figure, axes = _subplots(0.8 + 0.26 * max(1, len(names)))
    values = [[w.psi.get(name, float("nan")) for w in weeks] for name in names]
    if names:
        image = axes.imshow(values, aspect="auto", cmap="Oranges", vmin=0, vmax=0.25)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_xticks(range(len(weeks)), [str(w.week) for w in weeks], fontsize=8)
        figure.colorbar(image, ax=axes, label="PSI", extend="max")
    axes.set_xlabel("week of 2017")
    figure.tight_layout()
    return figure


def _traffic(weeks: Sequence[Week]) -> Figure:
    figure, axes = _subplots(2.6)
    versions = sorted({v for w in weeks for v in w.calls})
    numbers, bottom = [w.week for w in weeks], [0] * len(weeks)
    for index, version in enumerate(versions):
        heights = [w.calls.get(version, 0) for w in weeks]
        axes.bar(numbers, heights, bottom=bottom, label=version, color=(_BLUE, _ORANGE, "#0f766e", _GREY)[index % 4])
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    return _finish(figure, axes, weeks, "calls")


def _finish(figure: Figure, axes: Axes, weeks: Sequence[Week], unit: str) -> Figure:
    for week in weeks:
        if week.event:
            axes.axvline(week.week, color=_GREY, lw=1, ls=":")
            axes.annotate(
                week.event, (week.week, 1), xycoords=("data", "axes fraction"), fontsize=8, va="bottom", ha="center"
            )
    axes.set_xlabel("week of 2017")
    axes.set_ylabel(unit)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
