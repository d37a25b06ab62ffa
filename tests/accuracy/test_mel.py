"""Log-mel features against the formula written out slowly, and sound read from WAV files."""

from __future__ import annotations

import math
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_inferbench.accuracy.mel import RATE_HZ, filters, log_mel
from pytest_inferbench.accuracy.sound import read_wav
from pytest_inferbench.errors import InferbenchError

RNG = np.random.default_rng(4)


def slow_filters(mels):
    """Slaney's triangles, edge by edge."""

    def hertz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)

    top = 15 + 27 * math.log(8000 / 1000) / math.log(6.4)
    edges = [hertz(top * i / (mels + 1)) for i in range(mels + 2)]
    bands = np.zeros((mels, 201))
    for m in range(mels):
        left, middle, right = edges[m : m + 3]
        for k in range(201):
            f = k * RATE_HZ / 400
            weight = min((f - left) / (middle - left), (right - f) / (right - middle))
            bands[m, k] = max(0.0, weight) * 2 / (right - left)
    return bands


def slow_log_mel(samples, mels, frames):
    """One discrete Fourier sum after another."""
    sound = np.zeros(frames * 160)
    sound[: min(len(samples), len(sound))] = samples[: len(sound)]
    mirrored = np.concatenate([sound[200:0:-1], sound, sound[-2:-202:-1]])
    bands, levels = slow_filters(mels), np.zeros((mels, frames))
    n = np.arange(400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
    for t in range(frames):
        piece = mirrored[t * 160 : t * 160 + 400] * hann
        power = [abs((piece * np.exp(-2j * np.pi * k * n / 400)).sum()) ** 2 for k in range(201)]
        levels[:, t] = np.log10(np.maximum(bands @ power, 1e-10))
    levels = np.maximum(levels, levels.max() - 8)
    return (levels + 4) / 4


@pytest.mark.parametrize("mels", [80, 128])
def test_the_bands_are_slaney_s(mels):
    np.testing.assert_allclose(filters(mels), slow_filters(mels), atol=1e-12)
    assert (filters(mels).max(axis=1) > 0).all()


@pytest.mark.parametrize(("mels", "length"), [(80, 5000), (128, 3200), (80, 400)])
def test_the_features_are_the_formula_s(mels, length):
    t = np.arange(length) / RATE_HZ
    sound = 0.3 * np.sin(2 * np.pi * (200 + 3000 * t) * t) + RNG.normal(0, 0.01, length)
    found = log_mel(sound, mels, 20)
    assert (found.dtype, found.shape) == (np.float32, (1, mels, 20))
    np.testing.assert_allclose(found[0], slow_log_mel(sound, mels, 20), atol=2e-5)


def test_the_window_is_thirty_seconds_of_the_start():
    sound = RNG.normal(0, 0.1, 31 * RATE_HZ)
    found = log_mel(sound)
    assert found.shape == (1, 80, 3000)
    np.testing.assert_array_equal(found, log_mel(sound[: 30 * RATE_HZ]))


@pytest.mark.parametrize("sound", [np.zeros(0), np.zeros(1600)])
def test_silence_is_even(sound):
    found = log_mel(sound, frames=10)
    assert np.unique(found).tolist() == [np.float32((math.log10(1e-10) + 4) / 4)]


def test_transformers_gives_the_same():
    transformers = pytest.importorskip("transformers")
    sound = RNG.normal(0, 0.1, 16000)
    theirs = transformers.WhisperFeatureExtractor()(sound, sampling_rate=RATE_HZ)
    np.testing.assert_allclose(log_mel(sound), theirs["input_features"], atol=1e-4)


def write(path, samples, width=2, channels=1, rate=RATE_HZ):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        if width == 1:
            raw = np.round(samples * 127 + 128).astype(np.uint8).tobytes()
        else:
            whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype("<i4")
            raw = b"".join(int(x).to_bytes(width, "little", signed=True) for x in whole)
        file.writeframes(raw)


@pytest.mark.parametrize(("width", "error"), [(1, 0.02), (2, 1e-4), (3, 1e-6), (4, 1e-8)])
def test_every_width_is_read(tmp_path, width, error):
    samples = RNG.uniform(-0.9, 0.9, 300)
    write(tmp_path / "a.wav", samples, width)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav", 30), samples, atol=error)


def test_channels_are_averaged(tmp_path):
    write(tmp_path / "a.wav", np.array([0.5, -0.5, 0.2, 0.4]), channels=2)
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav", 30), [0, 0.3], atol=1e-4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"RIFF"), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: write(path, np.zeros(10), rate=44100), "44100 samples a second"),
        (lambda path: write(path, np.zeros(0)), "no samples"),
        (lambda path: write(path, np.zeros(2 * RATE_HZ)), "lasts 2.0 s"),
        (lambda path: None, "cannot be read"),
    ],
)
def test_sound_that_cannot_be_heard_as_it_is(tmp_path, make, said):
    make(tmp_path / "a.wav")
    with pytest.raises(InferbenchError, match=said) as error:
        read_wav(tmp_path / "a.wav", 1)
    assert error.value.code == "IB-589"


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_wav_are_a_named_error(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    path.write_bytes(raw)
    with pytest.raises(InferbenchError):
        read_wav(path, 1)
