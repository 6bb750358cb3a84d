"""Text that comes piece by piece is the text of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airsplit.checkpoint import EMBEDDED, locate
from airsplit.text import load_tokenizer
from ue_client.text_stream import TextStream

TOKENIZER = load_tokenizer(locate(EMBEDDED))


def stream(pieces: list[str]) -> TextStream:
    return TextStream(TOKENIZER, pieces.append)


@given(st.text(max_size=60))
def test_pieces_make_the_whole(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    pieces: list[str] = []
    growing = stream(pieces)
    returned = [growing.add(token_id) for token_id in ids]
    assert "".join(pieces) == "".join(returned)
    whole = TOKENIZER.decode(ids, skip_special_tokens=True)
    # What is held back at the end is the start of a character that never came.
    assert whole.startswith("".join(pieces))
    assert set(whole[len("".join(pieces)) :]) <= {"\N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize("text", ["naïve café, 5 €", "日本語 text", "🙂 and 🙃"])
def test_a_character_of_several_tokens_comes_whole(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    pieces: list[str] = []
    growing = stream(pieces)
    for token_id in ids:
        growing.add(token_id)
    assert "".join(pieces) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
