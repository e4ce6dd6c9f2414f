"""The figures of all cameras, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from edge_vss.runtimes.timing import rss_mb
from edge_vss.runtimes.web.figures import StreamReport, temperatures

_QUANTILES = {"0.5": "p50", "0.95": "p95", "0.99": "p99"}


def exposition(reports: Sequence[StreamReport]) -> bytes:
    """The text that ``/metrics`` gives (Prometheus's text format, version 0.0.4)."""
    from prometheus_client import CollectorRegistry, generate_latest

    class Collector:
        def collect(self) -> Iterable[Any]:
            return _families(reports)

    registry = CollectorRegistry()
    registry.register(Collector())
    return bytes(generate_latest(registry))


def _families(reports: Sequence[StreamReport]) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counters = {
        "labelled": ("edge_vss_frames_labelled", "Frames with labels"),
        "skipped": ("edge_vss_frames_skipped", "Frames without labels, because newer ones waited"),
        "keyframes": ("edge_vss_key_frames", "Key frames"),
        "losses": ("edge_vss_packet_losses", "Times that packets were missing"),
        "damaged": ("edge_vss_damaged_packets", "Packets that could not be decoded"),
        "restarts": ("edge_vss_restarts", "Times that the stream was begun anew"),
    }
    for field, (name, text) in counters.items():
        counter = CounterMetricFamily(name, text, labels=["stream"])
        for report in reports:
            counter.add_metric([report.name], getattr(report, field))
        yield counter
    gauges = {
        "ok": ("edge_vss_up", "1 where labels came lately"),
        "silent_seconds": ("edge_vss_silent_seconds", "Seconds since the last labels"),
        "fps": ("edge_vss_fps", "Frames with labels per second"),
        "key_share": ("edge_vss_key_share", "Share of key frames, 0 to 1"),
        "doubt": ("edge_vss_doubt", "How far the labels are in doubt"),
    }
    for field, (name, text) in gauges.items():
        gauge = GaugeMetricFamily(name, text, labels=["stream"])
        for report in reports:
            if (value := getattr(report, field)) is not None:
                gauge.add_metric([report.name], float(value))
        yield gauge
    latency = GaugeMetricFamily(
        "edge_vss_latency_seconds", "From packet to labels", labels=["stream", "quantile"]
    )
    stages = GaugeMetricFamily(
        "edge_vss_stage_seconds", "Time per stage", labels=["stream", "stage", "quantile"]
    )
    for report in reports:
        for quantile, field in _QUANTILES.items():
            latency.add_metric([report.name, quantile], getattr(report.latency_ms, field) / 1e3)
            for stage, spent in report.stages_ms.items():
                stages.add_metric([report.name, stage, quantile], getattr(spent, field) / 1e3)
    yield latency
    yield stages
    yield GaugeMetricFamily("edge_vss_memory_bytes", "Memory that the process holds", value=rss_mb() * 1e6)
    warm = GaugeMetricFamily("edge_vss_temperature_celsius", "As the kernel tells", labels=["place"])
    for place, degrees in temperatures().items():
        warm.add_metric([place], degrees)
    yield warm
