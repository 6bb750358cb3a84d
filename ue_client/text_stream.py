"""New tokens as text, as they come."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedTokenizerBase


class TextStream:
    """Text of a growing token list, piece by piece, never in the middle of a character.

    Only the tail is decoded: from the token before the last piece, so that a tokeniser that joins
    words by their first token does so here.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None] | None
    ) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._tail: list[int] = []
        self._shown = 0
        """Tokens at the front of the tail whose text is out already."""

    def add(self, token_id: int) -> str:
        """Takes the next token; returns (and hands out) the text that is new."""
        self._tail.append(token_id)
        before, now = self._text(self._tail[: self._shown]), self._text(self._tail)
        if now.endswith("\N{REPLACEMENT CHARACTER}") or len(now) <= len(before):
            return ""
        piece = now[len(before) :]
        self._tail = self._tail[self._shown :]
        self._shown = len(self._tail)
        if self._on_text:
            self._on_text(piece)
        return piece

    def _text(self, token_ids: list[int]) -> str:
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True))
