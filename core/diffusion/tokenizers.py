"""Check that a tokenizer is whole, and made for its text encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.model_files.find import read_json

_CONFIG: Final = "tokenizer_config.json"
_SPECIAL_TOKENS_MAP: Final = "special_tokens_map.json"
_OLD_EOS_ID: Final = 2  # of older CLIPs, which look for the largest id
# Of files that do not say whose tokenizer it is.
_GENERIC_CLASSES: Final = ("PreTrainedTokenizerFast", "TokenizersBackend")


def check_tokenizer_config(folder: Path, classes: Sequence[str], special: Sequence[str]) -> None:
    """Raise CheckpointError if the files are of another kind of tokenizer, or do not name one of
    the special tokens, which transformers would fill in."""
    config = read_json(folder / _CONFIG)
    named = config.get("tokenizer_class")
    if named is not None and named not in (*classes, *_GENERIC_CLASSES):
        raise CheckpointError(
            f"{_CONFIG} says that it is a {named}; legal: {' or '.join(classes)}; use the one that "
            "belongs to this checkpoint"
        )
    if (folder / _SPECIAL_TOKENS_MAP).is_file():
        config = read_json(folder / _SPECIAL_TOKENS_MAP) | config
    absent = [token for token in special if config.get(token) is None]
    if absent:
        raise CheckpointError(f"{_CONFIG} names no {', no '.join(absent)}; download it again")


def check_clip_tokenizer(tokenizer: Any, encoder_config: Any, folder: Path) -> None:
    """Raise CheckpointError for a CLIP tokenizer that lost files, or is of another encoder."""
    has_one = (folder / "tokenizer.json").is_file()
    if not has_one:
        absent = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
        if absent:
            raise CheckpointError(
                f"it has no tokenizer.json, and no {', no '.join(absent)}; download it again"
            )
    if len(tokenizer) != encoder_config.vocab_size:
        raise CheckpointError(
            f"its vocabulary has {len(tokenizer)} entries, its text encoder's "
            f"{encoder_config.vocab_size}; use the two that belong together"
        )
    # The text's own embedding is read at this token: with another id, at the text's beginning.
    if encoder_config.eos_token_id not in (_OLD_EOS_ID, tokenizer.eos_token_id):
        raise CheckpointError(
            f"its text encoder's config.json says eos_token_id {encoder_config.eos_token_id}; "
            f"legal: {tokenizer.eos_token_id}, as in the tokenizer"
        )
    longest = encoder_config.max_position_embeddings
    if not 2 < tokenizer.model_max_length <= longest:
        raise CheckpointError(
            "tokenizer_config.json says no model_max_length that its text encoder can read; "
            f"legal: 3 to {longest}"
        )
    _check_merges(tokenizer)


def check_t5_tokenizer(tokenizer: Any, encoder_config: Any, folder: Path) -> None:
    """Raise CheckpointError for a T5 tokenizer that lost its file, or is of another encoder."""
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError("it has no tokenizer.json; download it again")
    _check_fits(tokenizer, encoder_config)


def check_chat_tokenizer(tokenizer: Any, encoder_config: Any, folder: Path) -> None:
    """Raise CheckpointError for a language model's tokenizer without what Z-Image needs of it."""
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointError("it has no tokenizer.json; download it again")
    if tokenizer.chat_template is None:
        raise CheckpointError("it has no chat_template, which prompts are put into; add it")
    _check_fits(tokenizer, encoder_config)


def _check_fits(tokenizer: Any, encoder_config: Any) -> None:
    """An encoder's vocabulary may be padded: it may have more entries."""
    if len(tokenizer) > encoder_config.vocab_size:
        raise CheckpointError(
            f"its vocabulary has {len(tokenizer)} entries, its text encoder's "
            f"{encoder_config.vocab_size}; use the two that belong together"
        )


def _check_merges(tokenizer: Any) -> None:
    """Each entry of several letters is made by a merge: without it, texts fall into letters."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    suffix = model.get("end_of_word_suffix") or ""
    made = {"".join(pair) for pair in model["merges"]}
    special = set(tokenizer.all_special_tokens)
    lost = [
        token
        for token in model["vocab"]
        if len(token.removesuffix(suffix)) > 1 and token not in made and token not in special
    ]
    if lost:
        raise CheckpointError(
            f"{len(lost)} entries of its vocabulary, such as {lost[0]!r}, can never be read: its "
            "merges are incomplete; download it again"
        )
