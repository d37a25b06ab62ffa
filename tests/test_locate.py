"""The top-level folders are found, and the suites come into play only where they are wanted."""

from __future__ import annotations

import pytest

from pytest_inferbench.locate import packaged_folder

SHOWS = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    from pytest_inferbench.entry import existing_gate
    print("args:", config.args, "gate:", existing_gate(config) is not None)
"""


@pytest.mark.parametrize("name", ["suites", "fixtures", "locustfiles"])
def test_folders_are_found(name):
    assert packaged_folder(name).is_dir()


@pytest.fixture
def shown(pytester):
    """What a run would collect, and whether it has a gate, without collecting anything."""
    pytester.makepyfile(shows=SHOWS, test_theirs="def test_theirs():\n    pass\n")

    def show(*arguments):
        result = pytester.runpytest_subprocess("-p", "shows", "-s", "--co", "-q", *arguments)
        (line,) = (x for x in result.stdout.lines if x.startswith("args:"))
        return str(packaged_folder("suites")) in line, line.endswith("gate: True")

    return show


def test_without_settings_nothing_of_ours_is_in_play(shown):
    assert shown() == (False, False)
    assert shown("test_theirs.py") == (False, False)


def test_settings_bring_the_suites_where_no_path_is_given(shown, pytester):
    pytester.path.joinpath("inferbench.toml").write_text("")
    assert shown() == (True, True)
    assert shown("test_theirs.py") == (False, False)
    assert shown("test_theirs.py", "--inferbench-suites") == (True, True)


def test_an_option_of_ours_brings_a_gate_and_no_suites(shown):
    assert shown("test_theirs.py", "--inferbench-require", "ort-cpu") == (False, True)
    assert shown("test_theirs.py", "--update-baselines") == (False, True)


def test_settings_in_pyproject_count_and_other_pyprojects_do_not(shown, pytester):
    pyproject = pytester.path / "pyproject.toml"
    pyproject.write_text("[tool.other]\nname = 'inferbench'\n")
    assert shown() == (False, False)
    pyproject.write_text("[tool.inferbench.matrix]\nbackends = ['ort-cpu']\n")
    assert shown() == (True, True)
