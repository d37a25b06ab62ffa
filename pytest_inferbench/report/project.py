"""What state the project is in: takes a folder, gives its git commit, or nothing."""

from __future__ import annotations

from pathlib import Path

from pytest_inferbench.baselines.revision import ask_git
from pytest_inferbench.errors import InferbenchError
from pytest_inferbench.report.document import GitResult


def git_state(folder: Path) -> GitResult | None:
    """Return the commit, the branch and whether anything tracked is changed; None without git."""
    try:
        commit = _asked(folder, "rev-parse", "HEAD")
        if not commit:
            return None
        return GitResult(
            commit=commit,
            branch=_asked(folder, "symbolic-ref", "--quiet", "--short", "HEAD"),
            dirty=bool(_asked(folder, "status", "--porcelain", "--untracked-files=no")),
        )
    except InferbenchError:  # a report never fails for want of git
        return None


def _asked(folder: Path, *arguments: str) -> str:
    found = ask_git(folder, *arguments, check=False)
    return found.stdout.decode("utf-8", "replace").strip() if found.returncode == 0 else ""
