"""How much of the GPU's memory this process holds, looked up when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class GpuMemory(Collector):
    """torch's own bookkeeping: asking it waits for no kernel."""

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
