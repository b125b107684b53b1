"""The catalogue's page: content, escaping, completeness, and rendering by a browser without a network.

The lineage graph's layout: no overlaps, edges that end at their boxes, and few crossings.
"""

import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.catalogue import (
    Catalogue,
    ColumnFacts,
    GroupFacts,
    IngestFacts,
    ReadFacts,
    SchemaFacts,
    SetFacts,
    SnapshotFacts,
)
from mlops_runtime.features.catalogue_page import GAP, HEIGHT, MOST_SETS, TOP, WIDTH, crossings, drawing, layout, render
from mlops_runtime.registry.package_registry import TrainedPackage

NOW = datetime(2017, 8, 7, 6, tzinfo=UTC)
SCREENS = {"desktop": "1280,2000", "phone": "500,2000"}


def _group(number: int, **changes: object) -> GroupFacts:
    facts = GroupFacts(
        table=f"group_{number}_v1",
        group=f"group_{number}",
        version=1,
        owner="demand",
        description=f"What group {number} is about, by store",
        ttl="10 days",
        partition="month(event_time)",
        columns=(
            ColumnFacts(name="store_id", type="string", is_required=True, is_key=True, description="store", field_id=1),
            ColumnFacts(
                name="event_time",
                type="timestamp",
                is_required=True,
                is_key=False,
                description="end of the week",
                field_id=2,
            ),
            ColumnFacts(
                name="planned_discount",
                type="double",
                is_required=False,
                is_key=False,
                description="share of the shelf price given off on the price list of the week",
                field_id=5,
                constraints="0 to 1",
            ),
        ),
        schemas=(
            SchemaFacts(id=0, changes="first of 2 columns"),
            SchemaFacts(id=1, changes="planned_discount double added", is_deployed=False),
        ),
        snapshots=(SnapshotFacts(id=4_000_000 + number, at=NOW, operation="append", added=12, total=3456, tags=()),),
        rows=3456,
        newest_event=NOW - timedelta(days=number),
        age=timedelta(days=number, hours=2),
        freshness=timedelta(days=4),
        ingest=IngestFacts(at=NOW, snapshot_id=4_000_000 + number, rows=12, content="h1:0123456789abcdef"),
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def _set(number: int, *tables: str, **changes: object) -> SetFacts:
    facts = SetFacts(
        id=f"{number:02x}" * 32,
        name=f"weekly-forecast-{number % 7}",
        rows=10_000 + number,
        semantics="known_at",
        cutoff="2017-08-01T00:00:00Z",
        reads=tuple(
            ReadFacts(table=t, snapshot_id=4_000_000 + i, columns=("planned_discount",)) for i, t in enumerate(tables)
        ),
        is_erased=False,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store() -> Catalogue:
    """Return ten groups, thirty training sets that read some of them, and eight model packages."""
    groups = tuple(_group(number) for number in range(10))
    sets = tuple(
        _set(n, *dict.fromkeys(groups[(n * k) % 10].table for k in (1, 3, 7)), is_erased=n == 5) for n in range(1, 31)
    )
    models = [
        TrainedPackage(
            version=f"demand-forecast/{n}", approval="Approved" if n % 3 else "Rejected", training_set_id=sets[n * 3].id
        )
        for n in range(1, 9)
    ]
    models.append(TrainedPackage(version="demand-forecast/9", approval="Approved", training_set_id="f" * 64))
    return Catalogue(name="demand", at=NOW, groups=groups, sets=sets, models=tuple(models), others=("scratch",))


class _Words(HTMLParser):
    """Collects the text of a page without scripts and styles, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._skip = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skip += tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        if not self._skip and data.strip():
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_it_says_what_people_look_for(store: Catalogue) -> None:
    """Shows groups with columns, history, freshness, quality and users, training sets, and models."""
    text = _Words(render(store)).text

    assert "10 feature groups, 30 training sets, 9 model packages, as of 2017-08-07 06:00 UTC" in text
    assert "What group 3 is about, by store" in text
    assert "5 planned_discount double, may be null 0 to 1 share of the shelf price" in text
    assert "1 planned_discount double added not deployed yet" in text
    assert "age 3 days 2 hours of 4 days" in text
    assert "newest ingest 2017-08-07 06:00, 12 rows h1:0123456789ab" in text
    assert "rows 3,456 snapshots 1, tagged 0" in text
    assert "other tables of the database: scratch" in text.lower()
    assert "weekly-forecast-5 erased 050505050505" in text
    assert "demand-forecast/9 Approved ffffffffffff no manifest here" in text


def test_what_is_late_stands_out(store: Catalogue) -> None:
    """Highlights data older than its declared limit, and nothing without a limit."""
    page = render(replace(store, groups=(*store.groups[3:5], _group(9, freshness=None)), sets=(), models=()))

    assert page.count('<span class="good">3 days 2 hours</span>') == 2  # in the table and in the group's section
    assert page.count('<span class="bad">4 days 2 hours</span>') == 2
    assert "9 days 2 hours</span>" not in page
    assert "9 days 2 hours" in page
    assert re.findall(r'data-key="(.*?)" class="(.*?)"', page) == [
        (f"group {store.groups[3].table}", "group"),
        (f"group {store.groups[4].table}", "group late"),
        ("group group_9_v1", "group"),
    ]
    assert "; red: overdue.</p>" in page
    assert "; red: overdue" not in render(replace(store, groups=store.groups[3:4], sets=(), models=()))


def test_every_link_leads_somewhere_on_the_page(store: Catalogue) -> None:
    """No link leaves the page."""
    tags = _Words(render(store)).tags
    ids = [a["id"] for _, a in tags if a.get("id")]
    links = [a["href"] for _, a in tags if a.get("href")]

    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in links if link} <= set(ids)
    assert all(link and link.startswith("#") for link in links)
    assert len(links) > 60


def test_nothing_is_loaded_from_elsewhere(store: Catalogue) -> None:
    """The page has no URL, import, source or frame."""
    page = render(store)
    loading = {"src", "srcset", "action", "data", "poster", "background"}

    assert re.findall(r"(?:https?:)?//\w|url\(|@import|fetch\(|XMLHttpRequest|import\(", page) == []
    assert [a for tag, a in _Words(page).tags if loading & set(a) or tag in {"link", "iframe", "img", "object"}] == []


def test_what_people_wrote_is_no_markup(store: Catalogue) -> None:
    """Names, descriptions and problems cannot inject tags or leave attributes."""
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>&'
    group = _group(1, description=evil, owner=evil, note=evil, ttl=evil, partition=evil)
    group = replace(
        group,
        columns=tuple(replace(c, description=evil, constraints=evil, name=evil) for c in group.columns),
        schemas=(SchemaFacts(id=0, changes=evil),),
        ingest=replace(group.ingest, content=evil),  # type: ignore[type-var]
    )
    found = _set(1, group.table, name=evil, cutoff=evil)
    found = replace(found, reads=(replace(found.reads[0], columns=(evil,)),))
    models = (TrainedPackage(version=evil, approval=evil, training_set_id=found.id),)
    plain, bad = (
        _Words(render(c))
        for c in (
            Catalogue(name="demand", at=NOW, groups=(_group(1),), sets=(_set(1, "group_1_v1"),), models=models),
            Catalogue(name=evil, at=NOW, groups=(group,), sets=(found,), models=models, problems=(evil,)),
        )
    )

    assert [tag for tag, _ in bad.tags].count("script") == [tag for tag, _ in plain.tags].count("script") == 1
    assert "img" not in {tag for tag, _ in bad.tags}
    assert not [name for _, attributes in bad.tags for name in attributes if name.startswith("on")]
    assert bad.text.count("alert(1)") > 15


def test_an_empty_store_has_a_page() -> None:
    """The page reports that the store is empty."""
    text = _Words(render(Catalogue(name="demand", at=NOW, groups=(), sets=()))).text

    assert "No training set was built yet." in text
    assert "0 feature groups" in text


def test_the_drawing_has_every_user_of_every_group(store: Catalogue) -> None:
    """Boxes are groups, sets and models with a known manifest; edges are reads and training."""
    boxes, graph = drawing(store)

    assert {node.key for node in graph.nodes} == set(boxes)
    assert len(boxes) == 10 + 30 + 8
    read = {(f"group {read.table}", f"set {found.id}") for found in store.sets for read in found.reads}
    trained = {(f"set {m.training_set_id}", f"model {m.version}") for m in store.models[:-1]}
    assert {(edge.source, edge.target) for edge in graph.edges} == read | trained
    assert boxes[f"set {store.sets[4].id}"].is_faint
    assert boxes["model demand-forecast/3"].is_faint
    assert not boxes["model demand-forecast/4"].is_faint


def test_many_sets_of_one_name_are_one_box(store: Catalogue) -> None:
    """A pipeline's weekly sets share a box."""
    sets = tuple(
        replace(_set(n % 250, "group_1_v1"), id=f"{n:064x}", name=f"name-{n % 3}") for n in range(MOST_SETS + 1)
    )

    boxes, graph = drawing(replace(store, sets=sets, models=()))

    assert sorted(box.label for key, box in boxes.items() if key.startswith("set ")) == [
        "name-0 (14 sets)",
        "name-1 (14 sets)",
        "name-2 (13 sets)",
    ]
    assert len(graph.edges) == 3


@pytest.mark.parametrize("screen", SCREENS)
def test_it_opens_in_a_browser_without_a_network(store: Catalogue, tmp_path: Path, screen: str) -> None:
    """Chromium renders it, runs its script, and nothing is wider than the screen."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    probe = (
        "<script>const first = document.querySelector('#lineage a'); first.dispatchEvent(new Event('mouseenter'));"
        "document.body.dataset.on = graph.querySelectorAll('g.on').length;"
        "document.body.dataset.over = document.documentElement.scrollWidth - document.documentElement.clientWidth</script>"
    )
    file = tmp_path / "catalogue.html"
    file.write_text(render(store).replace("</html>", probe + "</html>"), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --virtual-time-budget=2000"

    shown = subprocess.run(
        [
            chromium,
            *flags.split(),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--window-size={SCREENS[screen]}",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    assert 'data-over="0"' in shown
    on = re.search(r'data-on="(\d+)"', shown)
    assert on is not None
    assert 2 < int(on[1]) < 48


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """Generate three columns with edges from each to the next."""
    columns = [[f"{name}{i}" for i in range(draw(st.integers(0, 9)))] for name in "abc"]
    possible = [pair for left, right in itertools.pairwise(columns) for pair in itertools.product(left, right)]
    edges = draw(st.lists(st.sampled_from(possible), unique=True, max_size=30)) if possible else []
    return columns, edges


@given(graphs())
def test_everything_is_drawn_within_the_picture(drawn: tuple[list[list[str]], list[tuple[str, str]]]) -> None:
    """Each node is in its column without overlap, edges connect boxes, and crossings never increase."""
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
    """Ten groups in reverse order end without crossings."""
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
    """Edges that share a box do not cross there."""
    assert crossings([["a", "b"], ["x", "y", "z"]], edges) == expected
