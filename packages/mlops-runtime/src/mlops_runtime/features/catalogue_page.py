"""The catalogue as one HTML file that needs nothing else: no network, no server."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2

from mlops_runtime.features.catalogue import Catalogue, GroupFacts, SetFacts
from mlops_runtime.features.catalogue_text import duration_text
from mlops_runtime.features.lineage_graph import HEIGHT, TOP, WIDTH, Graph, layout

MOST_SETS = 40  # in the drawing, before those of one name become one box
_LABEL = 30  # characters that fit into a box
_HEADINGS = ("feature groups", "training sets", "model packages")

_ENVIRONMENT = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What a node of the drawing says, where it leads, and how it looks."""

    label: str
    title: str
    href: str
    is_faint: bool = False
    is_late: bool = False


def render(catalogue: Catalogue) -> str:
    """Return the page.

    Args:
        catalogue: The facts.

    Example:
        >>> from datetime import UTC
        >>> page = render(Catalogue(name="demand", at=datetime(2017, 8, 7, tzinfo=UTC), groups=(), sets=()))
        >>> "<title>Features of demand</title>" in page
        True
    """
    template = _ENVIRONMENT.from_string(Path(__file__).with_name("catalogue.html.jinja").read_text(encoding="utf-8"))
    boxes, graph = drawing(catalogue)
    return template.render(
        catalogue=catalogue,
        models={found.id: [m for m in catalogue.models if m.training_set_id == found.id] for found in catalogue.sets},
        boxes=boxes,
        graph=graph,
        headings=[{"text": text, "x": i * (graph.width - WIDTH) / 2} for i, text in enumerate(_HEADINGS)],
        node={"width": WIDTH, "height": HEIGHT, "top": TOP},
        age=_age,
        minute=_minute,
        duration=duration_text,
        short=short,
    )


def drawing(catalogue: Catalogue) -> tuple[Mapping[str, Box], Graph]:
    """Return the lineage graph: what each node is, and where nodes and edges lie.

    Args:
        catalogue: The facts. With more than ``MOST_SETS`` training sets those of one name are one node.
    """
    merged = len(catalogue.sets) > MOST_SETS
    named: dict[str, list[SetFacts]] = {}
    for found in catalogue.sets:
        named.setdefault(f"set {found.name if merged else found.id}", []).append(found)
    node_of = {found.id: key for key, sets in named.items() for found in sets}
    groups = {group.table: group for group in catalogue.groups}
    models = [model for model in catalogue.models if model.training_set_id in node_of]
    boxes = {f"group {table}": _group_box(group) for table, group in groups.items()}
    boxes |= {key: _set_box(sets) for key, sets in named.items()}
    boxes |= {
        f"model {model.version}": Box(
            label=_cut(model.version),
            title=f"{model.version}, {model.approval}",
            href="#models",
            is_faint=model.approval != "Approved",
        )
        for model in models
    }
    edges = dict.fromkeys(
        (f"group {read.table}", node_of[found.id])
        for found in catalogue.sets
        for read in found.reads
        if read.table in groups
    )
    edges |= dict.fromkeys((node_of[model.training_set_id], f"model {model.version}") for model in models)
    columns = [[key for key in boxes if key.startswith(kind)] for kind in ("group ", "set ", "model ")]
    return boxes, layout(columns, list(edges))


def short(training_set_id: str) -> str:
    """Return as much of an id as people compare."""
    return training_set_id[:12]


def _group_box(group: GroupFacts) -> Box:
    return Box(
        label=_cut(group.table),
        title=f"{group.table}, {group.owner}: {group.rows:,} rows" + (", overdue" if group.is_late else ""),
        href=f"#group-{group.table}",
        is_faint=bool(group.note),
        is_late=group.is_late,
    )


def _set_box(sets: list[SetFacts]) -> Box:
    first = sets[0]
    if len(sets) > 1:
        label, title = f"{first.name} ({len(sets)} sets)", f"{len(sets)} training sets {first.name}"
    else:
        label, title = f"{first.name} {first.id[:8]}", f"{first.name} {first.id}: {first.rows:,} rows"
    erased = sum(found.is_erased for found in sets)
    return Box(
        label=_cut(label),
        title=title + (f", {erased} erased" if erased else ""),
        href=f"#set-{first.id}",
        is_faint=erased == len(sets),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LABEL else f"{text[: _LABEL - 1]}…"


def _age(group: GroupFacts) -> str:
    if group.age is None:
        return ""
    return (
        f"in {duration_text(group.age, most=2)}" if group.age.total_seconds() < 0 else duration_text(group.age, most=2)
    )


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
