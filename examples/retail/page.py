"""The demo's page: one self-contained HTML file with the timeline and four plots.

Steps link to reports and audit records in the page's folder of files. Colours are CSS variables, so the plots follow the reader's
light or dark mode.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _BLUE, _ORANGE, _TEAL, _GREY = "#1f2933", "#2563eb", "#ea580c", "#0f766e", "#9aa5b1"
# CSS variable of each colour; matplotlib's black is ink too
_VARIABLES = {_INK: "ink", "#000000": "ink", _BLUE: "blue", _ORANGE: "orange", _TEAL: "teal", _GREY: "mark"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # keep text as text: smaller, searchable and scalable
    "font.family": "sans-serif",
    "font.size": 9.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Week:
    """One replayed week, or the first week of a longer period: real and predicted totals, losses, drift by feature."""

    week: int
    actual: float
    forecast: float
    loss: float
    naive_loss: float
    psi: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    event: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A file of the page's folder, such as the report of a week."""

    text: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the timeline, with its files."""

    name: str
    ok: bool
    seconds: float
    detail: str
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Terms of a unit's page: its title, the predicted amount, the loss and the naive rival of the model."""

    title: str
    amount: str
    loss: str
    naive: str


TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)


def files_folder(page: Path) -> Path:
    """Return the folder of a page's linked files."""
    return page.with_suffix(".files")


def write_page(
    path: Path, *, words: Words, ok: bool, verdict: str, note: str, rows: Sequence[Row], weeks: Sequence[Week]
) -> None:
    """Write the page.

    The page of a run that stopped early has the plots of its weeks. Links to missing files are omitted.
    """
    plots = _plots(weeks, words) if weeks else []
    title = f"{words.title}: one trip around the loop"
    linked = [(row, existing(row.links, files_folder(path))) for row in rows]
    text = TEMPLATES.get_template("page.html.jinja").render(
        title=title, ok=ok, verdict=verdict, note=note, rows=linked, plots=plots
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def existing(links: Sequence[Link], folder: Path) -> list[Link]:
    """Return the links whose files were written, relative to the page."""
    return [replace(link, file=f"{folder.name}/{link.file}") for link in links if (folder / link.file).exists()]


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
            "Population stability index of each period's requests against the live model's baseline. A strong colour alone does "
            "not raise an alarm: the test allows for how much a feature moves between ordinary periods, and planned prices move "
            "every week.",
            _svg(_drift(weeks)),
        ),
        (
            "Traffic by model version",
            "Calls answered by each model version, by period.",
            _svg(_traffic(weeks)),
        ),
    ]


def _subplots(height: float) -> tuple[Figure, Any]:
    # slow to import, and only needed for writing a page
    from matplotlib import rcParams  # noqa: PLC0415
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    rcParams.update(_STYLE)
    figure = Figure(figsize=(6.2, height))
    FigureCanvasSVG(figure)
    return figure, figure.subplots()


def _amounts(weeks: Sequence[Week], words: Words) -> Figure:
    figure, axes = _subplots(2.8)
    numbers = [w.week for w in weeks]
    axes.plot(numbers, [w.actual for w in weeks], color=_INK, marker="o", ms=4, label="real")
    axes.plot(numbers, [w.forecast for w in weeks], color=_BLUE, marker="o", ms=4, label="forecast")
    axes.update_datalim([(numbers[0], 0)])  # so that the margin above is one of the whole axis
    axes.autoscale_view()
    axes.set_ylim(bottom=0)
    return _finish(figure, axes, weeks, words.amount)


def _losses(weeks: Sequence[Week], words: Words) -> Figure:
    figure, axes = _subplots(2.6)
    numbers = [w.week for w in weeks]
    axes.plot(numbers, [w.naive_loss for w in weeks], color=_GREY, marker="o", ms=3, label=words.naive)
    axes.plot(numbers, [w.loss for w in weeks], color=_ORANGE, marker="o", ms=4, label="live model")
    return _finish(figure, axes, weeks, words.loss)


def _drift(weeks: Sequence[Week]) -> Figure:
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415

    names = sorted({name for w in weeks for name in w.psi}, key=lambda n: -max(w.psi.get(n, 0.0) for w in weeks))
    figure, axes = _subplots(0.8 + 0.24 * max(1, len(names)))
    values = [[w.psi.get(name, float("nan")) for w in weeks] for name in names]
    if names:
        # from transparent to full colour, on either background
        shades = LinearSegmentedColormap.from_list("shades", [(0.92, 0.35, 0.05, 0.0), (0.92, 0.35, 0.05, 1.0)])
        image = axes.imshow(values, aspect="auto", cmap=shades, vmin=0, vmax=0.25)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        axes.set_xticks(range(len(weeks)), [str(w.week) for w in weeks], fontsize=9)
        figure.colorbar(image, ax=axes, label="PSI", extend="max")
    axes.set_xlabel("week of 2017", loc="left")
    figure.tight_layout()
    return figure


def _traffic(weeks: Sequence[Week]) -> Figure:
    figure, axes = _subplots(2.6)
    versions = sorted({v for w in weeks for v in w.calls})
    numbers, bottom = [w.week for w in weeks], [0] * len(weeks)
    for index, version in enumerate(versions):
        heights = [w.calls.get(version, 0) for w in weeks]
        axes.bar(numbers, heights, bottom=bottom, label=version, color=(_BLUE, _ORANGE, _TEAL, _GREY)[index % 4])
        bottom = [b + h for b, h in zip(bottom, heights, strict=True)]
    return _finish(figure, axes, weeks, "calls")


def _finish(figure: Figure, axes: Axes, weeks: Sequence[Week], unit: str) -> Figure:
    for week in weeks:
        if week.event:
            axes.axvline(week.week, color=_GREY, lw=1, ls=":")
            axes.annotate(
                week.event, (week.week, 1), xycoords=("data", "axes fraction"), fontsize=9, va="bottom", ha="center"
            )
    axes.set_xlabel("week of 2017", loc="left")
    axes.set_ylabel(unit)
    axes.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(1, -0.12), ncols=4)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    for color, name in _VARIABLES.items():
        text = text.replace(color, f"var(--{name})")
    return text[text.index("<svg") :]
