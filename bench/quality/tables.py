"""The figures as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bench.quality.distances import FID_WINDOWS_PER_DIMENSION
from bench.quality.intervals import Figure
from bench.quality.labels import ATTRIBUTES
from bench.quality.rows import BASELINE
from bench.quality.summary import Summary

Summaries = Mapping[str, Summary]
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # its head and its rows

NONE: Final = "-"


def figures(summaries: Summaries) -> Table:
    """Every figure with its interval; columns that no row has are left out."""
    networks = list(next(iter(summaries.values())).distances)
    columns: dict[str, list[str]] = {"row": list(summaries)}
    rows = list(summaries.values())
    columns["Intra-LPIPS"] = [show(row.intra_lpips, 3) for row in rows]
    columns["Intra-Style-L x 1e6"] = [show(row.intra_style, 3) for row in rows]
    columns["upper halves apart"] = [show(row.upper_halves, 1) for row in rows]
    for name in networks:
        of = [row.distances[name] for row in rows]
        columns[f"KID x 1e3 ({name})"] = [show(each.kid.between, 1, 1e3) for each in of]
        columns[f"KID x 1e3, all pairs ({name})"] = [show(e.kid.all_pairs, 1, 1e3) for e in of]
        columns[f"FID ({name})"] = [NONE if e.fid is None else f"{e.fid:.3f}" for e in of]
        columns[f"GIQA x 1e3 ({name})"] = [show(each.giqa, 2, 1e3) for each in of]
    for attribute in ATTRIBUTES:
        found = [row.recall.get(attribute) for row in rows]
        columns[f"{attribute} as asked, %"] = [show(each, 0, 100) for each in found]
    columns["Mean-CLIP-S"] = [show(row.clip, 2) for row in rows]
    columns["borders"] = [show(row.border, 2) for row in rows]
    columns["seam"] = [show(row.seam, 2) for row in rows]
    columns["luminance of nights"] = [show(row.night, 0) for row in rows]
    columns["seconds"] = [f"{row.seconds:.0f}" if row.seconds else NONE for row in rows]
    return _without_empty(columns)


def differences(summaries: Summaries) -> Table:
    """What each row's figures are above MultiDiffusion's, for the same prompts and seeds."""
    base = summaries[BASELINE]
    columns: dict[str, list[str]] = {"row": []}
    for name, row in summaries.items():
        if row is base or not row.seconds:  # made by no model
            continue
        columns["row"].append(name)
        of = {
            "Intra-LPIPS": show(row.intra_lpips.minus(base.intra_lpips), 3),
            "upper halves apart": show(row.upper_halves.minus(base.upper_halves), 1),
        }
        for network, own in row.distances.items():
            other = base.distances[network]
            of[f"KID x 1e3 ({network})"] = show(own.kid.between.minus(other.kid.between), 1, 1e3)
            of[f"GIQA x 1e3 ({network})"] = show(own.giqa.minus(other.giqa), 2, 1e3)
        for attribute in ATTRIBUTES:
            own_share, base_share = row.recall.get(attribute), base.recall.get(attribute)
            both = own_share.minus(base_share) if own_share and base_share else None
            of[f"{attribute} as asked, %"] = show(both, 0, 100)
        for column, text in of.items():
            columns.setdefault(column, []).append(text)
    return _without_empty(columns)


def show(figure: Figure | None, digits: int, scale: float = 1) -> str:
    """The value, and its interval of 95 % in brackets."""
    if figure is None:
        return NONE
    value, low, high = (
        f"{scale * each:.{digits}f}" for each in (figure.value, figure.low, figure.high)
    )
    return f"{value} [{low}, {high}]"


def fid_note(summaries: Summaries) -> str:
    """Why a row has no FID; empty if every row has one."""
    row = next(iter(summaries.values()))
    if all(each.fid is not None for each in row.distances.values()):
        return ""
    return (
        f"No FID where there are fewer windows than {FID_WINDOWS_PER_DIMENSION} times the "
        "dimensions of the features (512 for vgg, 2048 for inception): a covariance from fewer "
        "says more of their number than of the pictures."
    )


def _without_empty(columns: Mapping[str, list[str]]) -> Table:
    kept = {name: cells for name, cells in columns.items() if set(cells) != {NONE}}
    return list(kept), list(zip(*kept.values(), strict=True))
