"""`inferbench cache`: list or clear the built artifacts."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from pytest_inferbench.commands.arguments import Subparsers, add_json, add_settings, add_verb


def add(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = add_verb(
        verbs,
        "cache",
        "list or clear the built artifacts",
        ["inferbench cache", "inferbench cache --clear"],
    )
    parser.add_argument("--clear", action="store_true", help="remove every entry")
    add_settings(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, or clear."""
    from pytest_inferbench.gate import Gate

    cache = Gate.from_folder(Path.cwd(), options.settings).cache
    entries = cache.entries()
    total_bytes = cache.total_bytes()
    if options.clear:
        cache.remove([entry.key for entry in entries])
    if options.json:
        plain = {
            "root": str(cache.root),
            "bytes": total_bytes,
            "cleared": options.clear,
            "entries": [
                {
                    "key": entry.key,
                    "bytes": entry.size_bytes,
                    "built_at": entry.built_at,
                    "describe": dict(entry.describe),
                }
                for entry in entries
            ],
        }
        print(json.dumps(plain, indent=1))
        return 0
    what = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    print(f"{cache.root}: {what}, {total_bytes / 2**20:.1f} MiB")
    if options.clear:
        print("cleared")
        return 0
    for entry in entries:
        what = ", ".join(f"{key} {value}" for key, value in entry.describe.items())
        built = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.built_at))
        print(f"  {entry.key[:12]}  {entry.size_bytes / 2**20:8.1f} MiB  {built}  {what}")
    return 0
