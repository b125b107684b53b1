"""Where the nodes and edges of a drawing in columns lie: few crossings, no overlaps. Standard library only.

The order within a column is that of the mean place of each node's neighbours, swept to and fro (the barycentre heuristic).

See: K. Sugiyama, S. Tagawa, M. Toda: Methods for Visual Understanding of Hierarchical System Structures, IEEE Transactions on
Systems, Man, and Cybernetics 11 (1981), https://doi.org/10.1109/TSMC.1981.4308636
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH = 230
HEIGHT = 26
GAP = 8
BETWEEN = 150
TOP = 28  # room for the headings of columns
_SWEEPS = 8
_WIDEST = 2.5  # times the least distance between boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A box: its key, the column that it stands in, and its upper left corner."""

    key: str
    column: int
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A line from a node's right side to the left side of one in a later column, as an SVG path."""

    source: str
    target: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A drawing: its size, nodes and edges."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def layout(columns: Sequence[Sequence[str]], edges: Sequence[tuple[str, str]]) -> Graph:
    """Place nodes in their columns.

    Args:
        columns: Keys of the nodes by column, from left to right, each key once.
        edges: Pairs of keys, from a column to the next one.

    Example:
        >>> graph = layout([["a", "b"], ["x", "y"]], [("a", "y"), ("b", "x")])
        >>> [node.key for node in graph.nodes if node.column == 1]
        ['y', 'x']
    """
    ordered = _ordered([list(column) for column in columns], edges)
    tallest = max((len(column) for column in ordered), default=0)
    height = TOP + tallest * (HEIGHT + GAP)
    # short columns are spread, so that lines are less steep
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

    Args:
        columns: Keys of the nodes by column, in order.
        edges: Pairs of keys.

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
        # without neighbours: where it stands, as far down its own column
        return sum(places) / len(places) if places else column.index(key) / len(column) * len(place)

    return sorted(column, key=mean)


def _path(source: Node, target: Node) -> str:
    x1, y1, x2, y2 = source.x + WIDTH, source.y + HEIGHT / 2, target.x, target.y + HEIGHT / 2
    middle = (x1 + x2) / 2
    return f"M{x1:g},{y1:g} C{middle:g},{y1:g} {middle:g},{y2:g} {x2:g},{y2:g}"
