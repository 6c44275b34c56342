"""How much GPU memory this process holds, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class GpuMemory(Collector):
    """Reads torch's own counters, which waits for no kernel."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "panoweave_gpu_memory_used_bytes",
            "Held by tensors now.",
            torch.cuda.memory_allocated(self._device),
        )
        yield GaugeMetricFamily(
            "panoweave_gpu_memory_peak_bytes",
            "The most that tensors held since the worker started.",
            torch.cuda.max_memory_allocated(self._device),
        )
