"""The lineage graph's layout: nothing overlaps, lines end at their boxes, and few of them cross."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.lineage_graph import GAP, HEIGHT, TOP, WIDTH, crossings, layout


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Three columns with edges from each to the next one."""
    columns = [[f"{name}{i}" for i in range(draw(st.integers(0, 9)))] for name in "abc"]
    possible = [pair for left, right in itertools.pairwise(columns) for pair in itertools.product(left, right)]
    edges = draw(st.lists(st.sampled_from(possible), unique=True, max_size=30)) if possible else []
    return columns, edges


@given(graphs())
def test_everything_is_drawn_within_the_picture(drawn: tuple[list[list[str]], list[tuple[str, str]]]) -> None:
    """Each node once, in its column, apart from the others; each edge between its boxes; never more crossings than before."""
    columns, edges = drawn
    graph = layout(columns, edges)
    nodes = {node.key: node for node in graph.nodes}

    assert sorted(nodes) == sorted(itertools.chain.from_iterable(columns))
    assert len(graph.nodes) == len(nodes)
    for number, column in enumerate(columns):
        assert {node.key for node in graph.nodes if node.column == number} == set(column)
        ys = sorted(nodes[key].y for key in column)
        assert all(after - before >= HEIGHT + GAP - 1e-6 for before, after in itertools.pairwise(ys))
        assert all(TOP - 1e-6 <= y <= graph.height - HEIGHT for y in ys)
    assert all(0 <= node.x <= graph.width - WIDTH for node in graph.nodes)
    for edge in graph.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        assert edge.path.startswith(f"M{source.x + WIDTH:g},{source.y + HEIGHT / 2:g} ")
        assert edge.path.endswith(f" {target.x:g},{target.y + HEIGHT / 2:g}")
    assert [(edge.source, edge.target) for edge in graph.edges] == edges
    placed = [
        [node.key for node in sorted(graph.nodes, key=lambda n: n.y) if node.column == number] for number in range(3)
    ]
    assert crossings(placed, edges) <= crossings(columns, edges)
    assert layout(columns, edges) == graph


def test_what_belongs_together_lies_together() -> None:
    """Ten groups in reverse: no two lines cross any more."""
    columns = [[f"g{i}" for i in range(10)], [f"s{i}" for i in reversed(range(30))]]
    edges = [(f"g{i // 3}", f"s{i}") for i in range(30)]

    graph = layout(columns, edges)

    assert crossings(columns, edges) > 100
    placed = [[node.key for node in graph.nodes if node.column == number] for number in range(2)]
    assert crossings(placed, edges) == 0


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([("a", "x"), ("b", "y")], 0),
        ([("a", "y"), ("b", "x")], 1),
        ([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")], 1),
        ([("a", "x"), ("b", "x")], 0),
        ([("a", "z"), ("b", "y"), ("b", "x")], 2),
    ],
)
def test_crossings_are_counted(edges: list[tuple[str, str]], expected: int) -> None:
    """Lines that meet at a box do not cross there."""
    assert crossings([["a", "b"], ["x", "y", "z"]], edges) == expected
