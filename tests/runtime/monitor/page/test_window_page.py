"""The page of a window: its summary, escaping and completeness, and rendering by a browser without a network."""

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.runtime.monitor import reports
from tests.runtime.monitor.reports import HOSTILE, SAMPLES, Sample

from mlops_runtime.contracts.monitor import MonitorState
from mlops_runtime.contracts.monitor_report import BiasResult, DriftResult, QualityResult
from mlops_runtime.monitor.page.window_page import MOST_REPORTS, page

WIDTHS = (360, 1280)
DRAWN = ("drifting", "classifier", "wide", "hostile", "empty")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --virtual-time-budget=2000"
)


def _page(sample: Sample) -> str:
    return page(sample.report, baseline=sample.baseline, counts=sample.counts, history=sample.history)


class _Words(HTMLParser):
    """Collects the text of a page without its style, its tags, and unclosed tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "html", "rect", "line", "circle", "polyline"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"html", "rect", "line", "circle", "polyline"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_what_is_wrong_stands_first() -> None:
    """Verdict, problems and states with actions come first, then features by evidence, open."""
    text = _Words(_page(reports.drifting())).text

    order = [
        "drift in 2 of 3 windows: price",
        "Problems: row has 3 values instead of 4 (2); price: text instead of a number (1). All of them",
        "drift ✕ violated features shifted by more than allowed",
        "Do: check the features that drifted",
        "The last 7 windows, 2017-08-02 to 2017-08-08",
        "What moved",
        "price ✕ drifted mean rose 28 %, from 2.4 to 3.07 PSI 0.31",
        "check units, currency and price lists at the source",
        "price x stock ✕ drifted",
        "store ! in this window levels never seen before: 4 % of the rows",
        "3 others, by evidence",
        "forecast ✓ holds",
        "null patterns ! not tested fewer than 200 rows",
        "Pairs: 1 monitored.",
        "basket_id unique identifier",
        "93 % of the predictions that were due a label have one",
        "wape 0.41 (0.39 to 0.43) 0.4 0.5 ✓ holds",
        "row has 3 values instead of 4 2",
        "earlier hours added 6",
        "minimum effect 0.01",
    ]
    places = [text.find(each) for each in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_a_distribution_is_shown_beside_its_baseline() -> None:
    """Names bins, out of range, new levels and nulls, highlights the change, and shows the effect sizes."""
    text = _page(reports.drifting())
    words = _Words(text).text

    assert "below 0.5, out of range 0 % 0.3 %" in words
    assert "0.5 to 1 10 % 2.0 %" in words
    assert "nulls 2.0 % 2.0 %" in words
    assert "levels never seen before 0 % 4.5 %" in words
    assert re.findall(r'<tr class="cell moved"><th scope="row">(.*?)<', text)[:2] == ["0.5 to 1", "1 to 1.49"]
    for reported in ("Jensen-Shannon distance 0.155", "L-infinity distance 0.013", "Wasserstein distance 0.05"):
        assert reported in words
    assert "nulls 2.1 % (1.4 % to 3.1 %), was 2.0 %" in words.replace("\u00a0", " ")
    assert "PSI in the last 7 reports: 0.04, 0.09, 0.16, 0.25, 0.36, 0.49, 0.31; drifted in 3 of 7" in text


def test_a_pair_is_a_table() -> None:
    """Groups are named by their bounds; without pairs the page names what is not monitored."""
    words = _Words(_page(reports.drifting())).text

    assert "Share of the rows, baseline → window: price down, stock across" in words
    assert "0.5 to 1 … 1.49 to 1.99 9.8 % → 0.4 %" in words
    assert "marginals only: joint changes are not monitored" not in words
    assert "marginals only: joint changes are not monitored" in _Words(_page(reports.conditioned())).text


def test_a_conditioned_window_is_shown_against_what_it_was_compared_with() -> None:
    """Shows the baseline of promotions alone, and counts and names rows of unknown conditions."""
    words = _Words(_page(reports.conditioned())).text

    assert "baseline, at this window's conditions" in words
    assert "0.5 to 1 50 % 50 %" in words
    assert "Compared given promotion, day; 100 rows of conditions that are not in the baseline are not tested." in words
    assert "promotion|Sun 100" in words


def test_a_classifier_has_segments_bias_and_attributions() -> None:
    """Worse segments are highlighted, facets are sorted by violations, ranks show their former value."""
    words = _Words(_page(reports.classifier())).text

    assert "quality ✕ violated" in words
    assert "Affected segments store=store 3, 210 rows" in words
    assert words.index("DPPL post-training") < words.index("AD post-training") < words.index("DI post-training")
    assert "store 1 was 2 68 %" in words
    assert "NDCG" in words
    assert "engine counted by a SageMaker Processing job" in words


def test_classes_have_a_confusion_with_shares_of_each_line() -> None:
    """Correct cells are green and wrong ones red by their share of the label's rows; class names are escaped."""
    sample = SAMPLES["classes"]()
    text = _page(sample)
    assert '<td class="n right" style="--share: 96.0%">384 <span class="note">96' in text
    assert '<td class="n wrong" style="--share: 57.8%">52 <span class="note">58' in text
    assert '<td class="n " style="--share: 0.0%">0</td>' in text
    assert "recall/barbera" in text
    names = (HOSTILE, *(f"class {number}" for number in range(24)))
    table = tuple(tuple(int(a == b) for b in range(25)) for a in range(25))
    quality = replace(sample.report.quality, classes=names, confusion=table)
    many = _page(replace(sample, report=replace(sample.report, quality=quality)))
    assert "The first 20 of 25 classes; report.json has all." in many
    assert "<script>alert" not in many


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (reports.silent, "drift ? no traffic the endpoint got no requests in the window"),
        (reports.tampered, "nobody watches: the baseline is not the one that was approved"),
        (reports.empty, "drift ? not deployed no model is live yet"),
        (reports.empty, "No feature was tested in this window."),
    ],
)
def test_silence_is_said(sample: Callable[[], Sample], message: str) -> None:
    """A silent window never looks healthy."""
    text = _page(sample())

    assert message in _Words(text).text
    assert '<div class="verdict good"' not in text


def test_a_flood_of_unreadable_lines_is_neither_green_nor_hidden() -> None:
    """The most frequent problems and their counts are next to the verdict, whatever their names."""
    few = {f"column 'a{n}' is not the model's": 1 for n in range(9)}
    sample = reports.quiet()
    flooded = replace(sample, report=replace(sample.report, problems={**few, "line is not JSON": 11_400}))

    page_of = _page(flooded)
    assert "Problems: line is not JSON (11,400); column 'a0' is not the model's (1); " in _Words(page_of).text
    assert "; 7 more kinds." in _Words(page_of).text
    assert '<div class="verdict warn"' in page_of
    assert '<div class="verdict good"' in _page(replace(sample, report=replace(sample.report, problems=few)))


def test_a_changed_baseline_is_told_in_full_once() -> None:
    """Other sections only state that the baseline was changed."""
    flaw = f"the baseline s3://artifacts/baseline.json was changed: it has SHA-256 {'a' * 64}, approved was {'b' * 64}"
    found = reports.report_of(
        8, (), baseline_flaw=flaw, problems={flaw: 1}, drift=DriftResult(), quality=QualityResult(), bias=BiasResult()
    )

    text = page(found, baseline=None, counts=None, history=())
    assert text.count("a" * 64) == 1
    assert "nothing is decided, the baseline was changed\n" in text
    assert text.count("<div>the baseline was changed</div>") == 3


def test_suspects_are_no_alarm_and_not_hidden() -> None:
    """Drift of a single window is amber, although the state is OK."""
    feature = replace(reports.MOVED[1])
    report = reports.report_of(8, (feature, *reports.QUIET[2:]))

    words = _Words(page(report, baseline=None, counts=None, history=())).text

    assert "drift ! suspect 1 of 5 features moved in this window, not yet in enough of them" in words
    assert "it alarms if the next windows agree" in words


def test_windows_that_agree_and_those_of_too_few_rows_are_named() -> None:
    """Both lists give the windows' ends; a stable feature has neither."""
    feature = replace(reports.MOVED[1], agreed_with=("2017-08-04T00:00:00Z",), few_clusters=18)
    report = reports.report_of(8, (feature, *reports.QUIET[2:]))
    report = replace(report, drift=replace(report.drift, too_few_rows=("2017-08-05T00:00:00Z",)))

    words = _Words(page(report, baseline=None, counts=None, history=())).text

    assert (
        "also drifted in the windows until 2017-08-04 00:00 too few rows in the windows until 2017-08-05 00:00" in words
    )
    assert words.count("too few rows") == 1
    assert "18 clusters in the baseline: one window is not evidence" in words


def test_a_rollout_keeps_drift_from_being_told() -> None:
    """The page names the rollout that suppressed drift."""
    sample = reports.drifting()
    words = _Words(_page(replace(sample, report=replace(sample.report, suppressed="a rollout ran")))).text

    assert "Drift was not published: a rollout ran." in words
    assert "price ! during a rollout" in words


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"baseline": None}, "the baseline of this window cannot be used here"),
        ({"counts": None}, "the counts of this window cannot be used here"),
        ({"baseline": replace(reports.BASELINE, features=reports.BASELINE.features[:2])}, "No distributions: "),
        (
            {"counts": replace(reports.drifting().counts, baseline_sha256="other")},  # type: ignore[type-var]
            "counts and report have different baselines",
        ),
    ],
)
def test_without_what_it_needs_there_are_no_distributions(changes: dict[str, object], why: str) -> None:
    """The page gives the reason."""
    words = _Words(_page(replace(reports.drifting(), **changes))).text  # type: ignore[arg-type]

    assert why in words
    assert "0.5 to 1" not in words
    assert "mean rose 28 %" in words


def test_what_people_wrote_is_no_markup() -> None:
    """Names, levels, reasons, problems and metrics cannot inject tags or leave attributes."""
    found = _Words(_page(reports.hostile()))

    assert {"script", "img"} & {tag for tag, _ in found.tags} == set()
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert found.text.count(HOSTILE) > 15


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_whole_by_itself(name: str) -> None:
    """Every tag is closed, links lead to the page, nothing is loaded, no script runs, and drawings have text."""
    text = _page(SAMPLES[name]())
    found = _Words(text)
    ids = [a["id"] for _, a in found.tags if a.get("id")]

    assert found.open == []
    assert len(ids) == len(set(ids))
    assert {a["href"] for _, a in found.tags if a.get("href")} <= {f"#{each}" for each in ids}
    assert {"script", "link", "iframe", "img", "object"} & {tag for tag, _ in found.tags} == set()
    assert re.findall(r"url\(|@import|(?<![\w:])(?:https?:)?//\w", text) == []
    assert all(a.get("aria-hidden") or a.get("aria-label") for tag, a in found.tags if tag == "svg")


def test_history_is_of_earlier_windows() -> None:
    """Later reports, duplicates and the report itself are dropped; order does not matter; the length is bounded."""
    sample = reports.drifting()
    many = [*reversed(sample.history), *sample.history, sample.report, reports.report_of(9, reports.QUIET)]

    assert _page(replace(sample, history=many)) == _page(sample)
    long = [
        replace(sample.report, window_until=f"2017-{month:02}-{day:02}T06:00:00Z")
        for month in (6, 7)
        for day in range(1, 29)
    ]
    assert f"The last {MOST_REPORTS} windows" in _page(replace(sample, history=long))


def _contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours. See: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        full = colour if len(colour) == 6 else "".join(2 * each for each in colour)
        parts = [int(full[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_read_in_light_and_in_dark() -> None:
    """The contrast is at least 4.5 to 1, as WCAG level AA requires."""
    themes = re.findall(r":root \{(.*?)\}", _page(reports.quiet()), re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): #(\w+)", theme))
        pairs = [("ink", "paper"), ("ink", "soft"), ("grey", "paper"), ("grey", "soft"), ("link", "paper")]
        pairs += [("ink", f"{tone}bg") for tone in ("good", "warn", "bad", "unknown")]
        pairs += [(tone, f"{tone}bg") for tone in ("good", "warn", "bad", "unknown")]
        for text, ground in pairs:
            assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return width, overflow and headings of each page at each width, from one Chromium process without a network."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    frames = "".join(
        f'<iframe width="{width}" height="900" srcdoc="{html.escape(_page(SAMPLES[name]()))}"></iframe>'
        for name in DRAWN
        for width in WIDTHS
    )
    probe = (
        "<script>addEventListener('load', () => { document.body.dataset.over = [...document.querySelectorAll('iframe')].map("
        "f => { const d = f.contentDocument.documentElement; for (const e of d.querySelectorAll('details')) e.open = true;"
        "return [d.clientWidth, d.scrollWidth - d.clientWidth, d.querySelectorAll('h1').length].join(':') }).join(' ') })</script>"
    )
    folder = tmp_path_factory.mktemp("browser")
    file = folder / "frames.html"
    file.write_text(f"<!doctype html><body>{frames}{probe}</body>", encoding="utf-8")

    shown = subprocess.run(
        [
            chromium,
            *FLAGS.split(),
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    (over,) = re.findall(r'data-over="(.*?)"', shown)
    reported = over.split(" ")
    assert len(reported) == len(DRAWN) * len(WIDTHS)
    return {name: reported[i * len(WIDTHS) : (i + 1) * len(WIDTHS)] for i, name in enumerate(DRAWN)}


@pytest.mark.parametrize("name", DRAWN)
def test_it_opens_in_a_browser_without_a_network(name: str, drawn: dict[str, list[str]]) -> None:
    """No page is wider than the screen of a phone or a desktop."""
    assert drawn[name] == [f"{width}:0:1" for width in WIDTHS]


def test_labels_of_which_none_can_be_judged_are_shown_as_sums() -> None:
    """Without metrics there are no intervals; fields that a report lacks, such as latency and engine, are omitted."""
    report = reports.report_of(
        8,
        reports.QUIET[:1],
        quality=QualityResult(state=MonitorState.OK, values={"wape": 0.4}, holdout={"wape": 0.38}),
        latency=None,
        engine=None,
    )
    words = _Words(page(report, baseline=None, counts=None, history=())).text

    assert "wape 0.4 0.38" in words
    assert "Latency of the model" not in words
    assert "engine" not in words
