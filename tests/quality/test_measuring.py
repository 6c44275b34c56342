"""Runs that were stopped go on where they were, and end like unbroken ones."""

from __future__ import annotations

import json
import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.quality.__main__ import as_markdown, describe, rows_of
from bench.quality.classifier import recall, train
from bench.quality.features import Features
from bench.quality.html import write_html
from bench.quality.labels import ATTRIBUTES, VALUES, Labels
from bench.quality.light import upper_halves_apart
from bench.quality.measuring import RECONSTRUCTIONS, SINGLES, WINDOWS, Results, measure
from bench.quality.plots import REAL, draw_trade_off
from bench.quality.renders import HeldOut
from bench.quality.rows import BASELINE, OPTIONS, ROWS, Changes, ask
from bench.quality.runs import Measures, Meter, Runs
from bench.quality.seams import end_step
from bench.quality.summary import summarise
from bench.quality.sweep import build_rows
from bench.quality.tables import differences, fid_note, figures
from panoweave.core.checkpoint import SyncDefaults
from panoweave.core.params import PanoramaParams
from tests.quality.conftest import SIDE

TINY: dict[str, Changes] = {
    BASELINE: {"preset": "paper", "steps": 2, "stride": SIDE, "sync": {"weight": 0}},
    "ring": {"preset": "paper", "steps": 1, "stride": SIDE, "loop": True, "sync": {"weight": 0}},
}
PROMPTS = ("a desert at night", "the sea & <sky>")


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS))
    return str(file)


def measure_all(runs: Runs, prompts: str, renders: HeldOut) -> Results:
    return measure(runs, TINY, prompts, 1, replace(renders, count=8))


def test_the_presets_asked_for_stand_beside_multidiffusion() -> None:
    asked = Namespace(presets=["balanced", "fast"], options=False)
    assert rows_of(asked) == {name: ROWS[name] for name in (BASELINE, "balanced", "fast")}


@pytest.mark.slow
def test_a_stopped_run_ends_like_an_unbroken_one(
    runs_in: Callable[[str], Runs],
    prompts: str,
    renders: HeldOut,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = runs_in("stopped")
    made: list[PanoramaParams] = []
    panorama = Runs.panorama

    def interrupted(self: Runs, params: PanoramaParams) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(params)
        return panorama(self, params)

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "panorama", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measure_all(stopped, prompts, renders)
    kept = {file: file.stat().st_mtime_ns for file in stopped.folder.iterdir()}
    resumed = measure_all(stopped, prompts, renders)
    assert all(file.stat().st_mtime_ns == at for file, at in kept.items())
    unbroken = measure_all(runs_in("unbroken"), prompts, renders)
    for name, row in unbroken.summaries.items():
        other = resumed.summaries[name]
        assert row.intra_lpips.value == other.intra_lpips.value
        assert row.distances["vgg"].kid.between.value == other.distances["vgg"].kid.between.value
        assert np.array_equal(row.intra_style.resampled, other.intra_style.resampled)
    check_report(unbroken, stopped.folder.parent)


def check_report(results: Results, folder: Path) -> None:
    assert list(results.summaries) == [REAL, RECONSTRUCTIONS, *TINY]
    real, made = results.summaries[REAL], results.summaries[BASELINE]
    assert made.distances["vgg"].kid.between.value > 3 * real.distances["vgg"].kid.between.value
    assert made.night is not None  # of the first prompt alone
    assert results.summaries["ring"].seam is not None
    assert made.seam is None
    asked = Namespace(model="tiny", prompts="a file", seeds=1, reference="renders")
    about = " ".join(describe(asked, results))
    assert "2 panoramas a row" in about
    assert re.search(r"reads: biome \d+ \[.*\] %, time \d+ \[[^]]*\] %\.", about)
    assert re.search(r"biomes that it reads there, \d+ \[.*\] % are there", about)
    text = as_markdown(["About."], results)
    assert "| MultiDiffusion |" in text
    assert "No FID" in fid_note(results.summaries)
    head, rows = figures(results.summaries)
    assert "Mean-CLIP-S" not in head
    assert "weather as asked, %" not in head
    assert all(len(row) == len(head) for row in rows)
    assert [row[0] for row in differences(results.summaries)[1]] == ["ring"]
    file = folder / "report.html"
    write_html(file, ["<About>"], results)
    page = file.read_text()
    assert "&lt;About&gt;" in page
    assert "the sea &amp; &lt;sky&gt;" in page
    assert page.count("data:image/jpeg;base64,") == len(TINY) * len(PROMPTS)
    assert "<svg" in page
    outside = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert outside == []
    draw_trade_off(folder / "plot.png", results.summaries)
    with Image.open(folder / "plot.png") as plot:
        assert plot.width > 500


@pytest.mark.slow
def test_windows_made_alone_are_a_reference_too(
    runs_in: Callable[[str], Runs], prompts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.quality.measuring.ask_single_windows",
        lambda side, prompt, seed, count: ask(TINY[BASELINE], prompt, seed, side, count),
    )
    rows = {BASELINE: TINY[BASELINE]}
    results = measure(runs_in("singles"), rows, prompts, 1, None)
    assert list(results.summaries) == [SINGLES, BASELINE]
    assert results.examined is None
    assert results.reference == 2


def test_another_model_or_request_is_another_panorama(runs_in: Callable[[str], Runs]) -> None:
    runs = runs_in("own")
    first = ask(TINY[BASELINE], "a lake", 1, SIDE, 2)
    one = runs.panorama(first)
    assert runs.panorama(first) == one
    assert runs.panorama(first.model_copy(update={"seed": 2})) != one
    kept = json.loads(one.measures.read_text())
    assert kept["took_s"] > 0
    assert one.read().features["vgg"].shape == (2, 512)
    assert one.open().size == (2 * SIDE, SIDE)


def test_what_is_measured_can_change_without_the_picture(
    runs_in: Callable[[str], Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_in("own")
    asked = ask(TINY[BASELINE], "a lake", 1, SIDE, 2)
    one = runs.panorama(asked)
    made_at = one.picture.stat().st_mtime_ns
    monkeypatch.setattr("bench.quality.runs._REVISION", 1_000)
    again = runs.panorama(asked)
    assert again.measures != one.measures
    assert again.picture.stat().st_mtime_ns == made_at
    assert again.read().took_s == one.read().took_s


def test_a_panorama_whose_measuring_was_stopped_is_not_made_again(
    runs_in: Callable[[str], Runs], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_in("own")
    asked = ask(TINY[BASELINE], "a lake", 1, SIDE, 2)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Meter, "measure", stopped)
        with pytest.raises(KeyboardInterrupt):
            runs.panorama(asked)
    monkeypatch.setattr(Runs, "_make", stopped)
    assert runs.panorama(asked).read().took_s > 0


def test_a_picture_and_its_reconstruction_are_kept_apart(runs_in: Callable[[str], Runs]) -> None:
    runs = runs_in("own")
    levels = np.random.default_rng(0).integers(0, 256, (SIDE, 2 * SIDE, 3), np.uint8)
    image = Image.fromarray(levels)
    given, again = runs.picture(image), runs.reconstruction(image)
    assert given.open().tobytes() == image.tobytes() != again.open().tobytes()
    assert given.took_s() == again.took_s() == 0


def test_windows_whose_skies_differ_are_apart() -> None:
    """Two of three are alike, so two pairs of three differ, by 30 in each colour."""
    windows = [Image.new("RGB", (8, 8), (level,) * 3) for level in (40, 40, 70)]
    assert upper_halves_apart(windows) == pytest.approx(20)
    windows[2].paste((200, 200, 200), (0, 4, 8, 8))  # its lower half
    assert upper_halves_apart(windows) == pytest.approx(20)
    assert upper_halves_apart(windows[:1]) == 0


def test_another_default_of_the_checkpoint_is_another_panorama(
    runs_in: Callable[[str], Runs],
) -> None:
    runs = runs_in("own")
    asked = ask(
        {**TINY[BASELINE], "preset": "balanced", "sync": {"steps": 1}}, "a lake", 1, SIDE, 2
    )
    one = runs.panorama(asked)
    own = {"balanced": SyncDefaults(weight=3)}
    runs.pipeline.traits = runs.pipeline.traits.model_copy(update={"sync": own})
    assert runs.panorama(asked) != one


def test_as_many_biomes_are_read_as_are_there() -> None:
    """The biomes are rare, and the windows hardly show them. At even odds 41 % would be read, of
    which 69 % were there."""
    random = np.random.default_rng(0)
    biomes = VALUES["biome"]
    there = random.random((100, 8, len(biomes))) < 0.1
    looks = (random.normal(size=(100, 8, 40)) * 0.5).astype(np.float32)
    looks[..., : len(biomes)] += there
    examined = train(
        list(looks),
        [
            [
                {
                    "biome": frozenset(np.array(biomes)[window].tolist()),
                    "time": frozenset({"day"}),
                    "weather": frozenset({"clear"}),
                }
                for window in panorama
            ]
            for panorama in there
        ],
    )
    read, right = examined.accuracy["biome"], examined.precision
    assert read is not None
    assert right is not None
    assert read.value > 0.5
    assert right.value == pytest.approx(read.value, abs=0.08)


@pytest.mark.slow
def test_the_classifier_reads_panoramas_that_it_did_not_see(meter: Meter, renders: HeldOut) -> None:
    drawn = renders.make(iter)
    looks = [_look(meter, render.image) for render in drawn]
    labels = [render.labels for render in drawn]
    examined = train(looks, labels)
    for attribute in ATTRIBUTES[:2]:
        accuracy = examined.accuracy[attribute]
        assert accuracy is not None
        assert accuracy.value > 0.9
    assert examined.accuracy["weather"] is None
    assert examined.precision is not None
    assert examined.precision.value > 0.9
    wrong: list[Labels] = [
        {**window[0], "time": frozenset({"day"}), "biome": window[0]["biome"] | {"lake"}}
        for window in labels
    ]
    found = recall(examined.classifier, looks, wrong)
    by_day = sum("day" in window[0]["time"] for window in labels) / len(labels)
    assert found["time"] is not None
    assert found["time"].value == pytest.approx(by_day, abs=0.05)
    assert found["biome"] is not None
    assert found["biome"].value == pytest.approx(0.5, abs=0.05)  # no window shows a lake


def _look(meter: Meter, image: Image.Image) -> Features:
    side = SIDE
    crops = [image.crop((x, 0, x + side, side)) for x in range(0, image.width, side)]
    return meter.vgg.of(crops)["look"]


@pytest.mark.slow
def test_renders_against_themselves_have_no_distance(meter: Meter, renders: HeldOut) -> None:
    measured = [
        meter.measure(render.image, SIDE, 0, prompt=None, loop=False)
        for render in replace(renders, count=6).make(iter)
    ]
    distances = summarise(measured, measured).distances["vgg"]
    other = [moved(one, np.float32(1)) for one in measured]
    assert distances.kid.all_pairs.value < 0.01
    assert summarise(other, measured).distances["vgg"].kid.all_pairs.value > 0.5


def moved(measured: Measures, shift: np.float32) -> Measures:
    features = {name: each + shift for name, each in measured.features.items()}
    return replace(measured, features=features)


def test_a_seam_of_a_ring_is_seen() -> None:
    columns = np.linspace(0, 2 * np.pi, 512, endpoint=False)
    closed = np.tile(128 + 100 * np.sin(columns), (64, 1)).astype(np.uint8)
    open_ends = np.tile(np.linspace(0, 255, 512), (64, 1)).astype(np.uint8)
    assert end_step(Image.fromarray(closed)) < 3
    assert end_step(Image.fromarray(open_ends)) > 30


def test_every_row_is_a_legal_request() -> None:
    sweep = build_rows("balanced", [28], [0.05], [0.3, 0.9])
    assert list(sweep) == [
        BASELINE, "balanced", "w 28, moves to 0.05, 30%", "w 28, moves to 0.05, 90%",
    ]  # fmt: skip
    for changes in [*ROWS.values(), *OPTIONS.values(), *sweep.values()]:
        assert ask(changes, "a lake", 1, 128, WINDOWS).width == 768
    asked = ask(sweep["w 28, moves to 0.05, 30%"], "a lake", 1, 128, WINDOWS)
    assert asked.sync.steps == 15
