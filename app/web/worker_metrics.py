"""The figures of several web processes on one port, as one answer, whichever of them is asked.

Each answers on a Unix socket in a folder of theirs; who is asked asks all of them, and tells whose
each figure is by the label `worker`. One that does not answer in time is left out.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

ANSWER_SECONDS = 2.0


class WorkerMetrics(Collector):
    """Figures that were gathered already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


async def of_all_workers(folder: Path) -> bytes:
    """What all processes whose sockets are in the folder tell."""
    sockets = sorted(folder.glob("*.sock"))
    texts = await asyncio.gather(*map(asked, sockets))
    registry = CollectorRegistry(support_collectors_without_names=True)
    registry.register(
        WorkerMetrics(joined((path.stem, text) for path, text in zip(sockets, texts, strict=True)))
    )
    return generate_latest(registry)


async def asked(path: Path) -> str:
    """What the process at this socket tells; nothing where it does not in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""
    return answer.partition(b"\r\n\r\n")[2].decode()


def joined(texts: Iterable[tuple[str, str]]) -> list[Metric]:
    """Of each figure all its numbers, with whose they are."""
    found: dict[str, Metric] = {}
    for worker, text in texts:
        for metric in text_string_to_metric_families(text):
            kept = found.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type)
            )
            for each in metric.samples:
                kept.add_sample(each.name, {**each.labels, "worker": worker}, each.value)
    return list(found.values())
