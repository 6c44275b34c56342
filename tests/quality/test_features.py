"""Networks whose weights are given by the user: real classes with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionConfig,
)

from bench.quality.features import ClipScore, InceptionFeatures
from tests.core import tiny

CPU = torch.device("cpu")
WINDOWS = [Image.new("RGB", (64, 64), colour) for colour in ("red", "navy")]


def test_clip_scores_windows_against_their_prompt(tmp_path: Path) -> None:
    torch.manual_seed(0)
    words = tiny.tokenizer(tmp_path / "words")
    text = tiny.text_config(words, layers=1)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=16,
    )
    assert isinstance(text, CLIPTextConfig)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16
    )
    folder = tmp_path / "clip"
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, words).save_pretrained(folder)
    score = ClipScore(folder, CPU)
    both = score.of(WINDOWS, "a lake")
    alone = [score.of([window], "a lake") for window in WINDOWS]
    assert both == pytest.approx(sum(alone) / 2, abs=1e-3)
    assert 0 <= both <= 100


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"--clip: .* is no folder"):
        ClipScore(tmp_path / "none", CPU)
    with pytest.raises(SystemExit, match=r"--inception: .* is no file"):
        InceptionFeatures(tmp_path / "none", CPU)


@pytest.mark.slow
def test_inception_reads_its_weights_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "weights.pth"
    torch.save({}, file)
    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        random = FeatureExtractorInceptionV3(
            "x", ["2048"], feature_extractor_weights_path=str(file)
        )
    torch.save(random.state_dict(), file)
    features = InceptionFeatures(file, CPU).of(WINDOWS)["inception"]
    assert features.shape == (2, 2048)
    levels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    levels[:, 0] = 255
    (expected,) = random.eval()(levels)
    assert features[0] == pytest.approx(expected[0].detach().numpy(), abs=1e-4)
