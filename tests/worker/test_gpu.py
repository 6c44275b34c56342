"""Where a GPU's memory really runs out, and where it breaks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry

from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.params import PanoramaParams
from panoweave.worker.telemetry.gpu_memory import GpuMemory
from tests.core.cuda import NEEDS_CUDA, load

pytestmark = NEEDS_CUDA

PARAMS = PanoramaParams(prompt="a lake", seed=1, width=3_072, preset="paper", steps=2)
MANY = 32  # windows at once


@pytest.fixture
def unlimited() -> Iterator[None]:
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def limit(held_bytes: float) -> None:
    torch.cuda.empty_cache()
    every = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(held_bytes / every)


def peak_of(windows: int) -> int:
    generator = OomRetry(load(), windows)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    generator.generate(PARAMS)
    return torch.cuda.max_memory_reserved()


@pytest.mark.usefixtures("unlimited")
def test_fewer_windows_go_through_at_once(caplog: pytest.LogCaptureFixture) -> None:
    least, most = peak_of(4), peak_of(MANY)
    assert most > 1.5 * least
    whole = OomRetry(load(), MANY).generate(PARAMS)
    generator = OomRetry(load(), MANY)
    limit((least + most) / 2)
    spared = generator.generate(PARAMS)
    assert "out of memory: windows at once" in caplog.text
    apart = np.abs(np.asarray(spared.image, float) - np.asarray(whole.image, float))
    assert apart.mean() < 1  # of 255: sums of fewer windows are rounded otherwise

    caplog.clear()
    generator.generate(PARAMS)
    assert not caplog.text  # what was enough is what the next one begins with


@pytest.mark.usefixtures("unlimited")
def test_what_does_not_fit_at_all_is_an_error_and_the_next_one_is_made() -> None:
    generator = OomRetry(load(), MANY)
    limit(torch.cuda.memory_reserved() + 2**20)
    with pytest.raises(torch.OutOfMemoryError):
        generator.generate(PARAMS)
    torch.cuda.set_per_process_memory_fraction(1.0)
    generator.generate(PARAMS)


def test_gauges_show_what_tensors_hold() -> None:
    held = load()
    registry = CollectorRegistry()
    registry.register(GpuMemory(held.device))
    used = registry.get_sample_value("panoweave_gpu_memory_used_bytes")
    peak = registry.get_sample_value("panoweave_gpu_memory_peak_bytes")
    assert used == torch.cuda.memory_allocated()
    assert peak is not None
    assert peak >= used > 20 * 2**20  # the networks alone


_BREAK = """
import torch
from panoweave.worker.job import device_answers
device = torch.device("cuda")
print(device_answers(device))
try:
    torch.zeros(1, device=device)[torch.tensor([7], device=device)].item()
except RuntimeError:
    print(device_answers(device))
"""


def test_a_broken_gpu_answers_no_more() -> None:
    """In a process of its own, which it breaks."""
    done = subprocess.run([sys.executable, "-c", _BREAK], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"]
