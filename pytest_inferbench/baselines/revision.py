"""The baseline files of a git revision: takes a folder of the working tree, gives their texts.

Asks the `git` of the machine, reads only, and never touches the index. Knows not what the files
mean.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

from pytest_inferbench.baselines.folder import Entry
from pytest_inferbench.errors import InferbenchError

_PATIENCE_S = 60.0

# Set inside git's own hooks, where they name another folder's repository relative to the hook's.
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")


def entries_at(folder: Path, revision: str) -> list[Entry]:
    """Return the baseline files that a folder had at a revision.

    Args:
        folder: The folder of the baselines, which need not exist now.
        revision: Anything that git takes for a commit: a hash, a branch, `HEAD~3`.

    Raises:
        InferbenchError: There is no git, or it failed (IB-720); the folder is in no repository
            (IB-721); the revision is unknown (IB-722).
    """
    folder = folder.resolve()
    here = nearest(folder)
    top = toplevel(here)
    commit = _commit(here, revision)
    within = PurePosixPath(folder.relative_to(top).as_posix())
    # The pathspec is literal and of the top level, whatever characters a folder's name has.
    listed = ask_git(
        here, "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit, "--", f"{within}/"
    )
    found = []
    for name in sorted(filter(None, os.fsdecode(listed.stdout).split("\0"))):
        path = PurePosixPath(name)
        inside = path.relative_to(within)
        if len(inside.parts) != 2 or inside.suffix != ".json" or inside.name.startswith("."):
            continue
        # with filters, so that what git keeps elsewhere or with other line ends is as in the tree
        text = ask_git(here, "cat-file", "--filters", f"{commit}:{name}").stdout
        label = Path(f"{revision}:{name}")
        found.append(Entry(inside.parts[0], path.stem, label, text))
    return found


def nearest(folder: Path) -> Path:
    """Return a folder, or the nearest above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def toplevel(here: Path) -> Path:
    """Return the top folder of the working tree that a folder is in.

    Raises:
        InferbenchError: It is in none (IB-721), or git cannot be asked (IB-720).
    """
    found = ask_git(here, "rev-parse", "--show-toplevel", check=False)
    if found.returncode:
        said = _said(found)
        if "not a git repository" not in said:
            raise _failed(found)
        raise InferbenchError(
            "IB-721",
            f"{here} is in no git repository, so there is no revision to compare with",
            "Baselines belong in git: `git init`, then commit them.",
        )
    return Path(os.fsdecode(found.stdout.rstrip(b"\n"))).resolve()


def _commit(here: Path, revision: str) -> str:
    # As one argument with a suffix it can neither be an option nor a path.
    found = ask_git(
        here,
        *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
        check=False,
    )
    commit = found.stdout.decode("ascii", "replace").strip()
    if found.returncode or not commit:
        hint = "`git log --oneline` lists revisions; a shallow clone has few of them."
        if revision == "HEAD":
            hint = "Nothing is committed yet: commit the baselines first."
        raise InferbenchError("IB-722", f"git knows no revision {revision!r}", hint)
    return commit


def ask_git(here: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder; what it says comes back.

    Raises:
        InferbenchError: There is no git, or it failed and `check` (IB-720).
    """
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=here,
            env=environment,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise InferbenchError(
            "IB-720", "git is not installed, or not on PATH", "Install git."
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InferbenchError("IB-720", f"git {arguments[0]} did not answer: {error}") from error
    if check and done.returncode:
        raise _failed(done)
    return done


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode("utf-8", "replace").strip()


def _failed(done: subprocess.CompletedProcess[bytes]) -> InferbenchError:
    return InferbenchError("IB-720", f"git {done.args[1]} failed: {_said(done) or 'silently'}")
