"""Sound as Whisper hears it: 16 kHz samples -> log-mel features, in numpy.

Takes samples; gives the features of one window. Pure: knows neither files nor models. Reading WAV
files is in `sound.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

RATE_HZ = 16000
HOP = 160
FRAMES = 3000
"""Of 10 ms each: the 30 s that Whisper hears at once."""

_FFT = 400
_LEAST = 1e-10
_RANGE = 8.0  # decades below the loudest that are kept


def log_mel(samples: npt.NDArray[Any], mels: int = 80, frames: int = FRAMES) -> Float32:
    """Return features [1, mels, frames] of sound from -1 to 1, padded with silence, or cut.

    Args:
        samples: Mono, at 16 kHz.
        mels: How many bands: 80, or 128 for the large models.
        frames: How many steps of 10 ms.
    """
    window = np.zeros(frames * HOP)
    heard = np.asarray(samples, np.float64)[: len(window)]
    window[: len(heard)] = heard
    padded = np.pad(window, _FFT // 2, mode="reflect")
    starts = np.arange(frames) * HOP  # the frame that the last step would begin is left out
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[starts]
    power = np.abs(np.fft.rfft(pieces * np.hanning(_FFT + 1)[:-1], axis=1)) ** 2
    levels = np.log10(np.maximum(filters(mels) @ power.T, _LEAST))
    levels = np.maximum(levels, levels.max() - _RANGE)
    features: Float32 = ((levels + 4.0) / 4.0)[None].astype(np.float32)
    return features


@cache
def filters(mels: int) -> Float64:
    """Return the triangular bands [mels, 201] on Slaney's scale, each of the same area."""
    bins = np.linspace(0, RATE_HZ / 2, _FFT // 2 + 1)
    edges = _hertz(np.linspace(_mel(0.0), _mel(RATE_HZ / 2), mels + 2))
    below, middle, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - below) / (middle - below), (above - bins) / (above - middle)
    bands: Float64 = np.maximum(0, np.minimum(rising, falling)) * (2.0 / (above - below))
    return bands


_STEP_HZ, _LOG_FROM_HZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27  # Slaney's scale


def _mel(hertz: float) -> float:
    if hertz < _LOG_FROM_HZ:
        return hertz / _STEP_HZ
    return float(_LOG_FROM_HZ / _STEP_HZ + np.log(hertz / _LOG_FROM_HZ) / _LOG_STEP)


def _hertz(mel: Float64) -> Float64:
    turn = _LOG_FROM_HZ / _STEP_HZ
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * np.maximum(mel - turn, 0.0))
    hertz: Float64 = np.where(mel < turn, mel * _STEP_HZ, above)
    return hertz
