"""A timeline of runs, as the JSON of Chrome's trace events, which Perfetto opens.

(Trace Event Format, Google, 2016.)  Times are microseconds, of a chip without a clock cycles.
"""

from collections.abc import Iterator
from typing import Any

from perf.report import Report

#: Tracks by what they show.
_TRACKS = {"loading": 1, "array": 2}


def timeline(report: Report) -> dict[str, Any]:
    """Files as they are loaded, and runs, each with what it counted."""
    events = [
        {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": report.chip.label}},
        *(
            {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}}
            for name, number in _TRACKS.items()
        ),
        *_events(report),
    ]
    unit = "ns" if report.chip.clock_mhz else "ms"
    return {"traceEvents": events, "displayTimeUnit": unit}


def _events(report: Report) -> Iterator[dict[str, Any]]:
    scale = 1 / (report.chip.clock_mhz or 1)

    def event(track: str, name: str, begin: int, end: int, counts: dict[str, Any]) -> dict:
        return {
            "ph": "X",
            "pid": 1,
            "tid": _TRACKS[track],
            "name": name,
            "ts": begin * scale,
            "dur": (end - begin) * scale,
            "args": counts,
        }

    for span in report.spans:
        name, result = report.jobs.labels[span.job.step], span.result
        if span.words:
            counts: dict[str, Any] = {"words": span.words}
            yield event("loading", name, span.load_begin, span.loaded, counts)
        counts = {
            "program": " ".join(map(str, span.job.key)),
            "rounds": span.job.rounds,
            **{k: getattr(result, k) for k in ("executed", "held_input", "held_output")},
            "words_in": result.words_in,
            "words_out": result.words_out,
        }
        yield event("array", name, span.begin, span.end, counts)
