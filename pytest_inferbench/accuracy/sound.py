"""Reading a WAV file as the mono 16 kHz sound that speech models are fed.

Takes a path; gives samples from -1 to 1, or an error that names the file. Knows no models.
"""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pytest_inferbench.accuracy.mel import RATE_HZ
from pytest_inferbench.errors import InferbenchError

SUFFIXES = frozenset({".wav"})


def read_wav(path: Path, longest_s: float) -> npt.NDArray[np.float64]:
    """Return the samples; channels are averaged.

    Args:
        path: PCM at 16 kHz, of 8, 16, 24 or 32 bits.
        longest_s: What one pass of the model hears.

    Raises:
        InferbenchError: IB-589 for another rate or format, a broken file, silence of no length, or
            more than one pass hears.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise InferbenchError(
            "IB-589",
            f"the sound {path} cannot be read: {error}",
            f"Write PCM: ffmpeg -i {path.name} -ar {RATE_HZ} -ac 1 -c:a pcm_s16le out.wav",
        ) from error
    if rate != RATE_HZ:
        raise InferbenchError(
            "IB-589",
            f"the sound {path} has {rate} samples a second, and speech models take {RATE_HZ}",
            f"Resample it: ffmpeg -i {path.name} -ar {RATE_HZ} -ac 1 out.wav",
        )
    interleaved = _decoded(raw, width)
    whole = len(interleaved) // channels * channels
    samples: npt.NDArray[np.float64] = interleaved[:whole].reshape(-1, channels).mean(axis=1)
    if not len(samples):
        raise InferbenchError("IB-589", f"the sound {path} holds no samples")
    if len(samples) > longest_s * RATE_HZ:
        raise InferbenchError(
            "IB-589",
            f"the sound {path} lasts {len(samples) / RATE_HZ:.1f} s, and one pass of the model"
            f" hears {longest_s:g} s",
            "Cut it: what the model does not hear cannot be in its transcript.",
        )
    return samples


def _decoded(raw: bytes, width: int) -> npt.NDArray[np.float64]:
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:
        bytes_ = np.frombuffer(raw[: len(raw) // 3 * 3], np.uint8).reshape(-1, 3)
        wide = np.zeros((len(bytes_), 4), np.uint8)
        wide[:, 1:] = bytes_
        return wide.view("<i4")[:, 0].astype(np.float64) / 2**31
    whole = raw[: len(raw) // width * width]
    return np.frombuffer(whole, f"<i{width}").astype(np.float64) / 2.0 ** (8 * width - 1)
