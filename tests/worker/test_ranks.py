"""The ranks of a worker must have loaded the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from panoweave.core.diffusion.errors import DiffusionError
from panoweave.core.infra.settings import Settings
from panoweave.core.loras import LoraSource
from panoweave.worker.ranks import RankPlan, first_rank, run_other_rank
from tests.core.rank_groups import BOUNDED
from tests.processes import forking

LAYER = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v"
pytestmark = [pytest.mark.slow, BOUNDED]


def settings_with(checkpoint: Path, folder: Path, strength: float) -> Settings:
    file = folder / f"{strength:g}.safetensors"
    up, down = torch.full((32, 1), strength), torch.ones(1, 32)
    save_file({f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}, file)
    offered = {"ink": LoraSource(source=str(file))}
    return Settings(model=str(checkpoint), device="cpu", loras=offered)


def run_other(checkpoint: Path, folder: Path, plan: RankPlan, strength: float) -> None:
    torch.set_num_threads(1)
    sys.exit(run_other_rank(settings_with(checkpoint, folder, strength), plan, 1))


def test_a_lora_of_one_name_is_one_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Else the ranks would make different parts of one panorama."""
    meeting = tmp_path / "ranks"
    meeting.mkdir()
    plan = RankPlan(2, meeting)
    other = forking().Process(target=run_other, args=(tiny_checkpoint, tmp_path, plan, 2.0))
    other.start()
    try:
        with pytest.raises(DiffusionError, match=r"different LoRAs; .* PANOWEAVE_LORAS"):
            first_rank(settings_with(tiny_checkpoint, tmp_path, 1.0), plan)
        other.join(60)
        assert other.exitcode == 1
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        other.kill()
        other.join()
