"""Speech: an encoder and its decoder, driven greedily; the tokens and words that come out.

Takes a model's settings and data; gives inputs and scores. The model's file is the encoder; the
decoder is `sources.decoder`, which runs beside it on the same cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.tasks.base import Mapped, Scores, Task

if TYPE_CHECKING:
    from pytest_inferbench.accuracy.speech import Transcribed, WordErrors
    from pytest_inferbench.artifacts.inspect import TensorFacts
    from pytest_inferbench.cellrun import CellRun
    from pytest_inferbench.gate import Gate
    from pytest_inferbench.tasks.base import Array, Sample

TOKENS = "inferbench_tokens"
"""Under this name the tokens stand among a sample's outputs."""

_DECODER = "decoder"
_WHOLE = ("int32", "int64")


class SpeechTask(Task):
    """A model that writes down what it hears."""

    kind = "speech"
    needs_data = True

    def preprocess(self, path: Path, limit: int | None) -> Sequence[Sample]:
        """Return the log-mel features of WAV files, or the arrays of .npz files."""
        from pytest_inferbench.accuracy.data import Files, as_input, find_files
        from pytest_inferbench.accuracy.mel import HOP, RATE_HZ, log_mel
        from pytest_inferbench.accuracy.sound import SUFFIXES, read_wav
        from pytest_inferbench.accuracy.tensor_set import load_tensors

        if path.is_file() or next(path.rglob("*.npz"), None) is not None:
            return load_tensors(path, limit)
        paths = find_files(path, SUFFIXES, ".wav files", limit)
        spec, mels, frames = self._features()

        def read(index: int) -> Sample:
            heard = read_wav(paths[index], frames * HOP / RATE_HZ)
            return {spec.name: as_input(log_mel(heard, mels, frames), spec)}

        files: Files[Sample] = Files(paths, read, facts=repr((spec.name, spec.dtype, mels, frames)))
        return Mapped(files, lambda sample: sample, files.data_sha256)

    @cached_property
    def names(self) -> Sequence[str]:
        """What each sample is called."""
        from pytest_inferbench.accuracy.data import find_files
        from pytest_inferbench.accuracy.sound import SUFFIXES
        from pytest_inferbench.accuracy.tensor_set import TensorSet

        if isinstance(self.inputs, TensorSet):
            return self.inputs.names
        data = self.model.data
        assert data is not None  # the settings are checked for it
        found = find_files(data, SUFFIXES, ".wav files", self.model.samples)
        return [file.relative_to(data).as_posix() for file in found]

    @cached_property
    def data_sha256(self) -> str:
        """What identifies the reference's outputs, tokens included, beside the encoder."""
        decoder = self._decoder_settings
        facts = f"{super().data_sha256} {Task('', decoder, self._cache, print).facts.sha256}"
        return hashlib.sha256(f"{facts} {self.model.speech}".encode()).hexdigest()

    def infer(self, run: CellRun, sample: Sample) -> Sample:
        """Encode once, then decode token by token."""
        import numpy as np

        encoded = run.infer(sample)
        tokens = self._decode(run, encoded)
        return {**encoded, TOKENS: np.array(tokens, np.int64)}

    def tensors(self, outputs: Sequence[Sample]) -> Sequence[Sample]:
        """Return what the encoder gives; tokens are no tensor to be close to another."""
        return [{n: array for n, array in one.items() if n != TOKENS} for one in outputs]

    def postprocess(self, outputs: Sequence[Sample]) -> Transcribed:
        """Turn the tokens of every sample into words, where there is a vocabulary."""
        from pytest_inferbench.accuracy.labels import labels_of, load_labels
        from pytest_inferbench.accuracy.speech import Transcribed, text_of

        tokens = tuple(tuple(map(int, sample[TOKENS])) for sample in outputs)
        words = self._vocabulary
        texts = None if words is None else tuple(text_of(each, words) for each in tokens)
        truth = None
        if self.model.labels is not None:
            found = labels_of(self.names, load_labels(self.model.labels), str(self.model.labels))
            truth = tuple(map(str, found))
        return Transcribed(tokens, texts, truth)

    def compare(self, reference: Transcribed, candidate: Transcribed) -> Scores:
        """Return the agreement of tokens; the word error rate where it can be had."""
        from pytest_inferbench.accuracy.speech import token_agreement, word_errors

        agreement, worst = token_agreement(reference.tokens, candidate.tokens)
        figures = {"token_agreement": agreement}
        details = {"token_agreement": f"least at {self.names[worst]}"}
        context = {}
        if reference.texts and candidate.texts and agreement < 1:
            context[f"{self.names[worst]} at the reference"] = reference.texts[worst]
            context[f"{self.names[worst]} here"] = candidate.texts[worst]
        before_texts, after_texts, truth = reference.texts, candidate.texts, candidate.truth
        if before_texts is None or after_texts is None or truth is None:
            lacking = "speech.vocabulary" if after_texts is None else "labels (transcripts)"
            why = f"models.{self.name} has no {lacking}"
            return Scores(figures, details, context, missing={"wer": why, "wer_rise": why})
        before, after = (word_errors(truth, heard) for heard in (before_texts, after_texts))
        if before.rate is None or after.rate is None:
            why = "the transcripts hold no words"
            return Scores(figures, details, context, missing={"wer": why, "wer_rise": why})
        figures |= {"wer": after.rate, "wer_rise": after.rate - before.rate}
        details["wer"] = details["wer_rise"] = self._about(before, after)
        return Scores(figures, details, context)

    def _about(self, before: WordErrors, after: WordErrors) -> str:
        return (
            f"WER {before.rate:.4f} at the reference, {after.rate:.4f} here: {before.errors} and"
            f" {after.errors} of {after.words} words; most errors at {self.names[after.worst]}"
        )

    @cached_property
    def _vocabulary(self) -> Mapping[int, str] | None:
        path = self.model.speech.vocabulary
        if path is None:
            return None
        try:
            words = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.DecodeError) as error:
            raise InferbenchError(
                "IB-580",
                f"the vocabulary {path} is no JSON object of numbers by token: {error}",
                "It is the tokenizer's vocab.json.",
            ) from error
        return {number: token for token, number in words.items()}

    def _features(self) -> tuple[TensorFacts, int, int]:
        """Return the encoder's input, how many bands it takes and how many frames."""
        from pytest_inferbench.accuracy.mel import FRAMES

        spec = self.facts.inputs[0]
        shape = self.model.shapes.get(spec.name, spec.shape)
        if len(self.facts.inputs) != 1 or len(shape) != 3 or not isinstance(shape[1], int):
            raise InferbenchError(
                "IB-543",
                f"models.{self.name} takes {spec.name!r} of shape {list(shape)}, not features"
                " [1, bands, frames] alone",
                f'set models.{self.name}.shapes = {{ "{spec.name}" = [1, 80, 3000] }}.',
            )
        frames = shape[2]
        return spec, shape[1], frames if isinstance(frames, int) and frames > 0 else FRAMES

    @cached_property
    def _decoder_settings(self) -> Any:
        return msgspec.structs.replace(
            self.model,
            path=Path(self.model.sources[_DECODER]),
            task="tensors",
            data=None,
            calibration=None,
            sources={},
        )

    def _decode(self, run: CellRun, encoded: Sample) -> tuple[int, ...]:
        from pytest_inferbench.accuracy.speech import greedy

        speech = self.model.speech
        assert speech.end is not None  # the settings are checked for it
        decoder = run.companion(_DECODER, lambda: Decoder(self, run.gate))
        part = decoder.task
        assert isinstance(part, Decoder)
        states = part.states_of(encoded)

        def scores_after(tokens: Sequence[int]) -> Array:
            return part.last_scores(decoder.infer(part.inputs_for(tokens, states)), len(tokens))

        return greedy(
            scores_after,
            speech.prompt,
            speech.end,
            most=speech.max_tokens,
            suppress=speech.suppress,
        )


class Decoder(Task):
    """The decoder of a speech model, without a cache of past tokens."""

    def __init__(self, whole: SpeechTask, gate: Gate) -> None:
        settings = whole._decoder_settings
        super().__init__(f"{whole.name}.sources.{_DECODER}", settings, whole._cache, whole._say)
        self._whole, self._gate = whole, gate

    @cached_property
    def _ends(self) -> tuple[TensorFacts, TensorFacts]:
        """Return the inputs for tokens and for the encoder's states."""
        inputs = self.facts.inputs
        tokens = [spec for spec in inputs if spec.dtype in _WHOLE]
        states = [spec for spec in inputs if "float" in spec.dtype]
        if len(inputs) != 2 or len(tokens) != 1 or len(states) != 1:
            given = ", ".join(f"{spec.name} ({spec.dtype})" for spec in inputs)
            raise InferbenchError(
                "IB-590",
                f"the decoder of models.{self._whole.name} takes {given}, not tokens and the"
                " encoder's states",
                "Export it without past keys and values: each step runs all tokens so far.",
            )
        return tokens[0], states[0]

    def states_of(self, encoded: Sample) -> Array:
        """Return the encoder's output that the decoder takes: of its name, or the first of it."""
        wanted = self._ends[1]
        name = wanted.name if wanted.name in encoded else self._whole.facts.outputs[0].name
        return encoded[name]

    def inputs_for(self, tokens: Sequence[int], states: Array) -> Sample:
        """Return the decoder's inputs; where it takes a fixed number of tokens, the end fills up.

        Raises:
            InferbenchError: IB-590 for more tokens than it takes.
        """
        import numpy as np

        from pytest_inferbench.accuracy.data import as_input

        spec, takes = self._ends
        shape = self.model.shapes.get(spec.name, spec.shape)
        fixed = shape[1] if len(shape) == 2 and isinstance(shape[1], int) else 0
        if 0 < fixed < len(tokens):
            raise InferbenchError(
                "IB-590",
                f"the decoder of models.{self._whole.name} takes {fixed} tokens, and a transcript"
                f" has {len(tokens)} with its prompt",
                f"Set models.{self._whole.name}.speech.max_tokens lower.",
            )
        padded = [*tokens, *[self.model.speech.end] * (fixed - len(tokens))]
        return {spec.name: np.array([padded], spec.dtype), takes.name: as_input(states, takes)}

    def last_scores(self, outputs: Sample, count: int) -> Array:
        """Return the scores that follow the last of some tokens; IB-590 if there are none."""
        name = self.facts.outputs[0].name
        scores = outputs[name]
        if scores.ndim != 3 or scores.shape[0] != 1 or scores.shape[1] < count:
            raise InferbenchError(
                "IB-590",
                f"the decoder of models.{self._whole.name} gives {name!r} of shape"
                f" {list(scores.shape)} for {count} tokens, not a row of scores for each",
            )
        last: Array = scores[0, count - 1]
        return last

    @cached_property
    def _calibration_samples(self) -> Sequence[Sample]:
        """What the decoder is fed when the reference hears the encoder's calibration samples.

        All are cut to the shortest, for they are calibrated on together.
        """
        from pytest_inferbench.cellrun import CellRun
        from pytest_inferbench.provision import reference_cell

        run = CellRun(self._gate, reference_cell(self._gate, self._whole.name))
        try:
            heard = [
                (list(map(int, one[TOKENS])), self.states_of(one))
                for one in (
                    self._whole.infer(run, sample) for sample in self._whole._calibration_samples
                )
            ]
        finally:
            run.close()
        prompt = self.model.speech.prompt
        shortest = min(len(tokens) for tokens, _ in heard)
        return [self.inputs_for([*prompt, *tokens[:shortest]], states) for tokens, states in heard]
