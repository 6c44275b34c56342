"""What is set while a panorama is made on a GPU; that it helps is for `test_gpu_bits`."""

from __future__ import annotations

import os

import pytest
import torch

from panoweave.core.diffusion.deterministic import deterministic


def switches() -> tuple[bool, bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )


def test_settings_are_as_before_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = switches()
    during = []

    def fail_within() -> None:
        with deterministic(torch.device("cuda")):
            during.append(switches())
            raise KeyError

    with pytest.raises(KeyError):
        fail_within()
    assert during == [(True, False, False, False)]
    assert switches() == before


def test_a_cpu_needs_nothing() -> None:
    before = switches()
    with deterministic(torch.device("cpu")):
        assert switches() == before


def test_cublas_has_a_workspace_of_a_fixed_size() -> None:
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"]
