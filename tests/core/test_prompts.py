from __future__ import annotations

from pathlib import Path

import pytest

from panoweave.core.conditions import Region
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.prompts import (
    TruncatedPrompt,
    UnknownWords,
    find_truncated_prompts,
    find_unknown_words,
)
from panoweave.core.params import PanoramaParams
from tests.core import tiny


@pytest.fixture
def pipeline(tmp_path: Path) -> SyncDiffusionPipeline:
    return tiny.pipeline(tmp_path)  # a token is a letter; 16, two of them special


def truncated(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> list[TruncatedPrompt]:
    return find_truncated_prompts(
        pipeline.family.prompt_reader(pipeline), params.resolve(pipeline.traits)
    )


def test_what_the_text_encoder_does_not_read_is_reported(pipeline: SyncDiffusionPipeline) -> None:
    params = PanoramaParams(
        prompt="abcdefghijklmnopqr",
        negative_prompt="abcdefghijklmn",
        regions=[Region(prompt="aaaaaaaaaaaaaabc", x=0, width=64)],
    )
    assert truncated(pipeline, params) == [
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


def test_words_that_the_checkpoint_was_not_trained_on_are_reported_by_field(
    pipeline: SyncDiffusionPipeline,
) -> None:
    params = PanoramaParams(
        prompt="A lake with dragons, and two dragons",
        negative_prompt="clouds",
        regions=[Region(prompt="a castle", x=0, width=64)],
    ).resolve(pipeline.traits)
    known = {"lake", "with", "and", "two", "clouds"}
    assert find_unknown_words(known, params) == [
        UnknownWords("prompt", ["dragons"]),
        UnknownWords("regions.0.prompt", ["castle"]),
    ]
    assert find_unknown_words(None, params) == []
