"""The catalogue as a self-contained HTML file with a lineage graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jinja2

from mlops_runtime.features.catalogue import Catalogue, GroupFacts, SetFacts, duration_text

WIDTH = 230
HEIGHT = 26
GAP = 8
BETWEEN = 150
TOP = 28  # space for the column headings
_SWEEPS = 8
_WIDEST = 2.5  # maximum multiple of the least distance between boxes

MOST_SETS = 40  # maximum in the graph; beyond it, sets of the same name share a box
_LABEL = 30  # maximum characters in a box
_HEADINGS = ("feature groups", "training sets", "model packages")

_ENVIRONMENT = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A box: its key, column and upper left corner."""

    key: str
    column: int
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A line from the right side of a node to the left side of a node in a later column, as an SVG path."""

    source: str
    target: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph: its size, nodes and edges."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def layout(columns: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]]) -> Graph:
    """Compute the positions of nodes.

    Args:
        columns: Keys of the nodes by column, from left to right, each key once.
        edges: Pairs of keys, each from a column to the next one.

    Example:
        >>> graph = layout([["a", "b"], ["x", "y"]], [("a", "y"), ("b", "x")])
        >>> [node.key for node in graph.nodes if node.column == 1]
        ['y', 'x']
    """
    ordered = _ordered([list(column) for column in columns], edges)
    tallest = max((len(column) for column in ordered), default=0)
    height = TOP + tallest * (HEIGHT + GAP)
    # short columns are spread out to make lines less steep
    steps = [min(tallest / max(1, len(column)), _WIDEST) * (HEIGHT + GAP) for column in ordered]
    nodes = {
        key: Node(
            key=key,
            column=number,
            x=number * (WIDTH + BETWEEN),
            y=(TOP + height - GAP - HEIGHT) / 2 + (place - (len(column) - 1) / 2) * steps[number],
        )
        for number, column in enumerate(ordered)
        for place, key in enumerate(column)
    }
    return Graph(
        width=len(ordered) * WIDTH + max(0, len(ordered) - 1) * BETWEEN,
        height=height,
        nodes=tuple(nodes.values()),
        edges=tuple(
            Edge(source=source, target=target, path=_path(nodes[source], nodes[target])) for source, target in edges
        ),
    )


def crossings(columns: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]]) -> int:
    """Count the pairs of edges between the same columns that cross.

    Example:
        >>> crossings([["a", "b"], ["x", "y"]], [("a", "y"), ("b", "x")])
        1
    """
    place = {key: (number, i) for number, column in enumerate(columns) for i, key in enumerate(column)}
    count = 0
    for number in range(len(columns)):
        between = sorted((place[s][1], place[t][1]) for s, t in edges if place[s][0] == number)
        ends = [end for _, end in between]
        starts = [start for start, _ in between]
        for i, end in enumerate(ends):
            count += sum(1 for j in range(i) if ends[j] > end and starts[j] < starts[i])
    return count


def _ordered(columns: list[list[str]], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    best, fewest = columns, crossings(columns, edges)
    after: dict[str, list[str]] = {}
    before: dict[str, list[str]] = {}
    for source, target in edges:
        after.setdefault(source, []).append(target)
        before.setdefault(target, []).append(source)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        numbers = range(1, len(columns)) if forth else range(len(columns) - 2, -1, -1)
        columns = [list(column) for column in columns]
        for number in numbers:
            neighbours = before if forth else after
            beside = columns[number - 1 if forth else number + 1]
            columns[number] = _by_mean(columns[number], neighbours, {key: i for i, key in enumerate(beside)})
        count = crossings(columns, edges)
        if count < fewest:
            best, fewest = columns, count
    return best


def _by_mean(column: list[str], neighbours: Mapping[str, list[str]], place: Mapping[str, int]) -> list[str]:
    def mean(key: str) -> float:
        places = [place[other] for other in neighbours.get(key, ())]
        # without neighbours: the same relative position as in its own column
        return sum(places) / len(places) if places else column.index(key) / len(column) * len(place)

    return sorted(column, key=mean)


def _path(source: Node, target: Node) -> str:
    x1, y1, x2, y2 = source.x + WIDTH, source.y + HEIGHT / 2, target.x, target.y + HEIGHT / 2
    middle = (x1 + x2) / 2
    return f"M{x1:g},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Label, link and style of a node."""

    label: str
    title: str
    href: str
    is_faint: bool = False
    is_late: bool = False


def render(catalogue: Catalogue) -> str:
    """Return the HTML page.

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
    """Return the lineage graph: its boxes by key, and their layout.

    Args:
        catalogue: The facts. With more than ``MOST_SETS`` training sets, sets of the same name share a node.
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
    """Return a training set id shortened for display."""
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
