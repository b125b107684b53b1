"""The metrics page: Prometheus' grammar, cumulative buckets, bounded series."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.serving.server_metrics import Metrics, process

# See: https://prometheus.io/docs/instrumenting/exposition_formats/
LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-zA-Z_:][\w:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[\d.]+(?:e[+-]?\d+)?)")
COMMENT = re.compile(r"# (?:HELP \w+ .+|TYPE \w+ (?:counter|gauge|histogram))")


def samples(page: str) -> dict[str, float]:
    """Return the page's samples by name and labels; asserts the format of every line."""
    assert page.endswith("\n")
    found: dict[str, float] = {}
    for line in page.splitlines():
        match = SAMPLE.fullmatch(line)
        assert match or COMMENT.fullmatch(line), line
        if match:
            name = match[1] + ("{" + match[2] + "}" if match[2] else "")
            assert name not in found
            found[name] = float(match[3])
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ping", "invocations"]), st.sampled_from([200, 400]), st.floats(0, 20), st.integers(0, 9)
        )
    )
)
def test_buckets_and_counts_add_up(answers: list[tuple[str, int, float, int]]) -> None:
    """Buckets, their sum and count by route; requests by status; predictions."""
    metrics = Metrics({"name": "m"})
    for route, status, seconds, rows in answers:
        metrics.answered(route, status, seconds, rows=rows)
    page = samples(metrics.render())
    assert page["mlops_predictions_total"] == sum(rows for *_, rows in answers)
    for route in {route for route, *_ in answers}:
        taken = [seconds for name, _, seconds, _ in answers if name == route]
        for bound in ("0.0005", "0.01", "10.0"):
            expected = sum(seconds <= float(bound) for seconds in taken)
            assert page[f'mlops_request_seconds_bucket{{route="{route}",le="{bound}"}}'] == expected
        assert page[f'mlops_request_seconds_bucket{{route="{route}",le="+Inf"}}'] == len(taken)
        assert page[f'mlops_request_seconds_count{{route="{route}"}}'] == len(taken)
        counted = [value for name, value in page.items() if name.startswith(f'mlops_requests_total{{route="{route}"')]
        assert sum(counted) == len(taken)


def test_labels_are_escaped() -> None:
    """A quote in a name breaks no line."""
    page = Metrics({"name": 'a"b\\c\nd'}).render()
    assert r'mlops_model_info{name="a\"b\\c\nd"} 1' in page
    samples(page)


def test_further_metrics_have_their_heads() -> None:
    """Gauges of the process and of the capture, with one value or one per outcome."""
    page = Metrics({}).render({"x_total": ("counter", "Xs.", {"written": 2.0, "dropped": 0.0}), **process()})
    assert '# TYPE x_total counter\nx_total{outcome="written"} 2\nx_total{outcome="dropped"} 0' in page
    assert "process_cpu_seconds_total" in page
