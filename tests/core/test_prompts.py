from __future__ import annotations

from pathlib import Path

import pytest

from panoweave.core.conditions import Region
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.prompts import TruncatedPrompt, find_truncated_prompts
from panoweave.core.params import PanoramaParams
from tests.core import tiny


@pytest.fixture
def pipeline(tmp_path: Path) -> SyncDiffusionPipeline:
    return tiny.pipeline(tmp_path)  # a token is a letter; 16, two of them special


def unread(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> list[TruncatedPrompt]:
    return find_truncated_prompts(pipeline.tokenizer, params.resolve(pipeline.traits))


def test_what_the_text_encoder_does_not_read_is_reported(pipeline: SyncDiffusionPipeline) -> None:
    params = PanoramaParams(
        prompt="abcdefghijklmnopqr",
        negative_prompt="abcdefghijklmn",
        regions=[Region(prompt="aaaaaaaaaaaaaabc", x=0, width=64)],
    )
    assert unread(pipeline, params) == [
        TruncatedPrompt("prompt", tokens=18, limit=14, text="opqr"),
        TruncatedPrompt("regions.0.prompt", tokens=16, limit=14, text="bc"),
    ]


def test_the_rest_does_not_change_the_picture(pipeline: SyncDiffusionPipeline) -> None:
    """What is reported as not read really is not: two prompts that differ in it are the same."""
    one, other, shorter = (
        pipeline.encode_prompt(prompt, "").conditional.tokens
        for prompt in ("abcdefghijklmnopqr", "abcdefghijklmnxyz", "abcdefghijklmx")
    )
    assert one.equal(other)
    assert not one.equal(shorter)
