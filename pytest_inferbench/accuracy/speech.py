"""What a speech model says: greedy decoding, the agreement of tokens, words and their error rate.

Takes a function that scores the next token, tokens, a vocabulary, transcripts; gives tokens, text
and rates. Pure: knows neither files nor workers. Words are judged by jiwer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_inferbench.errors import InferbenchError

Array = npt.NDArray[Any]

_SPECIAL = re.compile(r"<\|.*\|>")


@dataclass(frozen=True)
class Transcribed:
    """What was heard in every sample.

    Attributes:
        tokens: After the prompt; the last is the end, unless it was cut.
        texts: The words; None without a vocabulary.
        truth: What was said; None where nobody wrote it down.
    """

    tokens: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...] | None = None
    truth: tuple[str, ...] | None = None


@dataclass(frozen=True)
class WordErrors:
    """How many words are wrong.

    Attributes:
        errors: Words changed, left out or put in.
        words: How many were said.
        worst: The sample with most errors.
    """

    errors: int
    words: int
    worst: int

    @property
    def rate(self) -> float | None:
        """The word error rate; None if nothing was said at all."""
        return self.errors / self.words if self.words else None


def greedy(
    scores_after: Callable[[Sequence[int]], Array],
    prompt: Sequence[int],
    end: int,
    *,
    most: int,
    suppress: Collection[int] = (),
) -> tuple[int, ...]:
    """Return the tokens that follow the prompt, the best at each step, up to the end.

    Args:
        scores_after: Gives the score of every token to come after some.
        prompt: What the decoder begins with.
        end: The token that ends it.
        most: How many tokens at most.
        suppress: Tokens that are never chosen.

    Raises:
        InferbenchError: IB-588 if scores are no numbers, or no token is left to choose.
    """
    tokens: list[int] = []
    while len(tokens) < most:
        scores = np.asarray(scores_after([*prompt, *tokens]), np.float64).reshape(-1)
        allowed = np.ones(len(scores), bool)
        allowed[[token for token in suppress if token < len(scores)]] = False
        if end >= len(scores) or not allowed.any():
            raise InferbenchError(
                "IB-588",
                f"the decoder scores {len(scores)} tokens, and the end is {end}"
                if end >= len(scores)
                else "speech.suppress leaves no token to choose",
                "Are speech.end and speech.suppress those of this model?",
            )
        if np.isnan(scores).any():
            raise InferbenchError(
                "IB-588",
                f"{np.count_nonzero(np.isnan(scores))} of {len(scores)} scores for token"
                f" {len(tokens) + 1} are NaN",
            )
        tokens.append(int(np.where(allowed, scores, -np.inf).argmax()))
        if tokens[-1] == end:
            break
    return tuple(tokens)


def token_agreement(
    reference: Sequence[Sequence[int]], candidate: Sequence[Sequence[int]]
) -> tuple[float, int]:
    """Return the share of tokens in common, aligned as edits would, and the worst sample.

    It is one less the edits over the longer of the two, summed over the samples: a token that is
    put in costs itself, not all that follow.

    Raises:
        InferbenchError: IB-583 if there are no samples, or other ones.
    """
    if not reference or len(reference) != len(candidate):
        raise InferbenchError(
            "IB-583", f"{len(reference)} transcripts cannot be compared with {len(candidate)}"
        )
    edits = [edit_distance(a, b) for a, b in zip(reference, candidate, strict=True)]
    lengths = [max(len(a), len(b)) for a, b in zip(reference, candidate, strict=True)]
    share = 1 - sum(edits) / sum(lengths) if sum(lengths) else 1.0
    each = [e / n if n else 0.0 for e, n in zip(edits, lengths, strict=True)]
    return share, each.index(max(each))


def edit_distance(first: Sequence[object], second: Sequence[object]) -> int:
    """Return how many must be changed, left out or put in to make one of the other."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def text_of(tokens: Sequence[int], vocabulary: Mapping[int, str]) -> str:
    """Return the text of tokens of a byte-level vocabulary, as GPT-2 and Whisper have one.

    Tokens that it does not name, and those in ``<|...|>``, stand for no text.
    """
    pieces = (vocabulary.get(token, "") for token in tokens)
    letters = "".join(piece for piece in pieces if not _SPECIAL.fullmatch(piece))
    raw = bytes(_BYTES[letter] for letter in letters if letter in _BYTES)
    return raw.decode("utf-8", errors="replace").strip()


def normalized(text: str) -> str:
    """Return words without case, punctuation and double spaces: what is no matter of hearing."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    kept = "".join(c if c.isalnum() or c in "' " else " " for c in plain)
    return " ".join(kept.split())


def word_errors(truth: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Count wrong words with jiwer, after `normalized`.

    Raises:
        InferbenchError: IB-585 without jiwer; IB-583 if there are no samples, or other ones.
    """
    try:
        import jiwer
    except ImportError as error:
        raise InferbenchError(
            "IB-585",
            f"word errors are counted by jiwer, which cannot be imported: {error}",
            "install the extra: pip install 'pytest-inferbench[speech]'",
        ) from error
    if not truth or len(truth) != len(heard):
        raise InferbenchError(
            "IB-583", f"{len(truth)} transcripts cannot be compared with {len(heard)}"
        )
    errors, words = [], 0
    for said, text in zip(map(normalized, truth), map(normalized, heard), strict=True):
        if not said:  # jiwer refuses it: whatever was heard is wrong
            errors.append(len(text.split()))
            continue
        found = jiwer.process_words(said, text)
        errors.append(found.substitutions + found.deletions + found.insertions)
        words += len(said.split())
    return WordErrors(sum(errors), words, errors.index(max(errors)))


def _byte_letters() -> dict[str, int]:
    """Return the letter that stands for each byte: itself where it prints, else one above 255."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    moved = {chr(256 + i): byte for i, byte in enumerate(others)}
    return {**{chr(byte): byte for byte in own}, **moved}


_BYTES = _byte_letters()
