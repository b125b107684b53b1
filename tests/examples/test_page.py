"""The page of a trip uses its unit's terms, and shows its results."""

import html
import re
import shutil
import subprocess

import pytest
from examples.retail.page import Link, Row, Week, Words, files_folder, write_page

WORDS = Words(title="Customer behaviour", amount="buyers", loss="log loss", naive="own rate")
WEEKS = [
    Week(week=31, actual=700.0, forecast=690.0, loss=0.44, naive_loss=0.46, psi={"age": 0.02}, calls={"version 1": 88}),
    Week(
        week=33, actual=710.0, forecast=720.0, loss=0.45, naive_loss=0.46, psi={"age": 0.1}, calls={"version 2": 88},
        event="promoted",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("weeks", "plots"), [(WEEKS, 4), ([], 0)])
def test_a_page(tmp_path, weeks, plots):
    """Has timeline and plots; a trip that stopped before its first period has no plots."""
    path = tmp_path / "new" / "page.html"
    row = Row(name="start", ok=False, seconds=1.0, detail="port <taken>")
    write_page(path, words=WORDS, ok=False, verdict="Stopped at: start.", note="n", rows=[row], weeks=weeks)
    page = path.read_text()
    assert page.count("<svg") == plots
    assert "Customer behaviour: one trip around the loop" in page
    assert "port &lt;taken&gt;" in page
    assert ("log loss of the live model and of the naive own rate" in page) is bool(weeks)


def test_the_highest_point_is_drawn_whole(tmp_path):
    """Totals that hardly change lie at the top of an axis from zero: the axis leaves room for the marker."""
    path = tmp_path / "page.html"
    write_page(path, words=WORDS, ok=True, verdict="", note="", rows=[], weeks=WEEKS)
    plot = path.read_text().partition("<svg")[2].partition("</svg>")[0]

    edge = float(re.search(r'<clipPath.*?y="([\d.]+)"', plot, re.DOTALL).group(1))
    radius = 2.5  # points, with the marker's line
    assert min(float(y) for y in re.findall(r'<use [^>]*y="([\d.]+)"', plot)) - radius >= edge


def test_steps_link_to_the_files_that_were_written(tmp_path):
    """Links are relative to the page; missing files have no link."""
    path = tmp_path / "page.html"
    files_folder(path).mkdir()
    (files_folder(path) / "record-2.json").touch()
    links = (
        Link(text="record 2: promoted", file="record-2.json"),
        Link(text="report of week 31", file="report-31.html"),
    )
    row = Row(name="promote", ok=True, seconds=1.0, detail="", links=links)
    write_page(path, words=WORDS, ok=True, verdict="", note="", rows=[row], weeks=[])

    assert re.findall('<a href="(.*?)">(.*?)</a>', path.read_text()) == [
        ("page.files/record-2.json", "record 2: promoted")
    ]


def test_the_page_follows_the_reader_s_colours(tmp_path):
    """Plots only use the style's color variables, which have both modes; shades of drift are one color with opacity."""
    path = tmp_path / "page.html"
    write_page(path, words=WORDS, ok=True, verdict="", note="", rows=[], weeks=WEEKS)
    page = path.read_text()
    style, body = page.split("</style>", 1)

    assert "@media (prefers-color-scheme: dark)" in style
    used = set(re.findall(r"var\(--(\w+)\)", page)) - {"tone", "tonebg"}
    light, dark = (set(re.findall(r"--(\w+): #", part)) for part in style.split("@media (prefers-color-scheme: dark)"))
    assert used <= light == dark & light
    assert set(re.findall(r"(?:fill|stroke): (#\w+)", body)) <= {"#eb590d"}  # the end of the color scale


def test_the_page_fits_a_phone(tmp_path):
    """No horizontal scrolling at 360 pixels, with the longest words of details."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    path = tmp_path / "page.html"
    row = Row(name="start", ok=False, seconds=1.0, detail="arn:aws:states:us-east-1:000000000000:execution:" + "x" * 90)
    write_page(path, words=WORDS, ok=False, verdict="Stopped.", note="", rows=[row], weeks=WEEKS)
    framed = tmp_path / "frame.html"  # a window of Chromium has at least 500 pixels, a frame does not
    framed.write_text(
        f'<iframe width=360 height=800 style="border:0" srcdoc="{html.escape(path.read_text())}"></iframe><script>'
        "onload = () => { const page = frames[0]; document.title ="
        " `${page.innerWidth} ${page.document.documentElement.scrollWidth}` }</script>"
    )
    flags = f"--headless --no-sandbox --disable-gpu --user-data-dir={tmp_path / 'profile'} --dump-dom"
    shown = subprocess.run(
        [chromium, *flags.split(), framed.as_uri()], capture_output=True, text=True, check=True
    ).stdout

    inner, scrolled = map(int, re.search("<title>(\\d+) (\\d+)</title>", shown).groups())
    assert scrolled <= inner == 360
