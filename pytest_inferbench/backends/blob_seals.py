"""Seals on a runtime's cached blobs: takes a folder, drops what changed since it was sealed.

OpenVINO notices a blob that was cut off, yet runs one with flipped bits, and it computes nonsense.
The seal is a CRC beside the blob: it is there against rot, not against anyone.
"""

from __future__ import annotations

import zlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def drop_broken(folder: Path, pattern: str = "*.blob") -> list[str]:
    """Delete the blobs that no longer match their seal, and return their names."""
    broken = []
    for blob in sorted(folder.glob(pattern)):
        seal = _seal_of(blob)
        if seal.exists() and seal.read_text() != _checksum(blob):
            blob.unlink(missing_ok=True)
            seal.unlink(missing_ok=True)
            broken.append(blob.name)
    return broken


def seal_new(folder: Path, pattern: str = "*.blob") -> None:
    """Seal the blobs that have no seal yet, or were written after it."""
    for blob in folder.glob(pattern):
        seal = _seal_of(blob)
        try:
            if not seal.exists() or seal.stat().st_mtime_ns < blob.stat().st_mtime_ns:
                seal.write_text(_checksum(blob))
        except FileNotFoundError:  # another process rebuilds it
            continue


def _seal_of(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.crc32")


def _checksum(blob: Path) -> str:
    crc, size = 0, 0
    with blob.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return f"{crc:08x} {size}"
