"""Metrics of the server in Prometheus' text format; label values are closed sets, so that callers cannot create new series.

See: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
import resource
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STATM = Path("/proc/self/statm")

# name -> (type, help, value by label or a plain value)
Gauges = Mapping[str, tuple[str, str, Mapping[str, float] | float]]


class Metrics:
    """Counts responses by route and status, their duration by route, and predictions. It is not thread-safe.

    Example:
        >>> metrics = Metrics({"sha256": "ab", "version": "3"})
        >>> metrics.answered("invocations", 200, 0.002, rows=1)
        >>> 'mlops_requests_total{route="invocations",status="200"} 1' in metrics.render().splitlines()
        True
    """

    def __init__(self, model: Mapping[str, str]) -> None:
        self._model = dict(model)
        self._answers: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(_BOUNDS) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._rows = 0

    def answered(self, route: str, status: int, seconds: float, *, rows: int = 0) -> None:
        """Count one response."""
        self._answers[route, status] += 1
        self._buckets[route][bisect_left(_BOUNDS, seconds)] += 1
        self._seconds[route] += seconds
        self._rows += rows

    def render(self, gauges: Gauges | None = None) -> str:
        """Return the metrics page.

        Args:
            gauges: Additional current metrics: name to type, help and value (or values by label ``outcome``).
        """
        return "\n".join([*self._lines(), *_further({} if gauges is None else gauges), ""])

    def _lines(self) -> Iterator[str]:
        yield from _head("mlops_model_info", "gauge", "The served model.")
        yield f"mlops_model_info{_labels(self._model)} 1"
        yield from _head("mlops_requests_total", "counter", "Responses by route and HTTP status.")
        for (route, status), count in sorted(self._answers.items()):
            yield f"mlops_requests_total{_labels({'route': route, 'status': str(status)})} {count}"
        yield from _head("mlops_request_seconds", "histogram", "From the request's head to its response, by route.")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), buckets, strict=True):
                total += count
                yield f"mlops_request_seconds_bucket{_labels({'route': route, 'le': bound})} {total}"
            yield f"mlops_request_seconds_sum{_labels({'route': route})} {self._seconds[route]:.9f}"
            yield f"mlops_request_seconds_count{_labels({'route': route})} {total}"
        yield from _head("mlops_predictions_total", "counter", "Predicted rows.")
        yield f"mlops_predictions_total {self._rows}"


def process() -> Gauges:
    """Return the resource usage of the process, with the metric names of Prometheus' own clients."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    gauges = {"process_cpu_seconds_total": ("counter", "CPU time, user and system.", used.ru_utime + used.ru_stime)}
    if _STATM.exists():
        resident = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        gauges["process_resident_memory_bytes"] = ("gauge", "Resident memory.", float(resident))
    return gauges


def _further(gauges: Gauges) -> Iterator[str]:
    for name, (kind, text, value) in gauges.items():
        yield from _head(name, kind, text)
        if isinstance(value, Mapping):
            for outcome, number in value.items():
                yield f"{name}{_labels({'outcome': outcome})} {number:.15g}"
        else:
            yield f"{name} {value:.15g}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    escaped = {n: v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for n, v in labels.items()}
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
