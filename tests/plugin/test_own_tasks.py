"""A task of somebody else's: given by a conftest or an installed package, scored like ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CONFTEST = '''
import numpy as np
from pytest_inferbench.tasks import Bounds, Mapped, Metric, Scores, Task


class Counting(Task):
    """How many things are in a picture: the sum of what comes out."""

    kind = "counting"
    metrics = (
        Metric(
            "count_error", "value", "lower", Bounds(0, float("inf")),
            "largest difference of a count to the reference's",
            defaults={"fp32": 0.001, "default": 0.5},
        ),
    )
    needs_data = True

    def preprocess(self, path, limit):
        rows = np.load(path / "pictures.npy")[:limit]
        return [{"x": row[None]} for row in rows]

    def postprocess(self, outputs):
        return [float(sample["y"].sum()) for sample in outputs]

    def compare(self, reference, candidate):
        errors = [abs(a - b) for a, b in zip(reference, candidate)]
        worst = int(np.argmax(errors))
        factor = self.model.options.get("factor", 1)
        return Scores(
            {"count_error": factor * errors[worst], "counts": len(errors)},
            {"count_error": f"worst at picture {worst}"},
        )
'''
HOOK = """

def pytest_inferbench_tasks():
    return [Counting]
"""
SETTINGS = """
[models.net]
path = "net.onnx"
task = "counting"
data = "pictures"
samples = 5
"""


@pytest.fixture
def counting(project):
    import numpy as np

    (project.path / "pictures").mkdir()
    pictures = np.random.default_rng(1).normal(0, 1, (6, 3, 32, 32)).astype(np.float32)
    np.save(project.path / "pictures/pictures.npy", pictures)
    own = project.path / "inferbench.toml"
    text = own.read_text()
    own.write_text(text[: text.index("[models.net]")] + SETTINGS)
    return project


def add(project, text):
    own = project.path / "inferbench.toml"
    own.write_text(own.read_text() + text)


def test_a_conftest_gives_one_that_the_packaged_suite_scores(counting, gate):
    counting.makeconftest(CONFTEST + HOOK)
    result = gate("--inferbench-suites", "-m", "accuracy", "-v", "--inferbench-json=r.json")
    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["*test_registered.py::test_scores*PASSED*"])
    assert '"counts": 5' in (counting.path / "r.json").read_text()


def test_its_budgets_fail_with_what_it_says_of_them(counting, gate, write_model):
    counting.makeconftest(CONFTEST + HOOK)
    add(counting, "options = { factor = 1e9 }\nbudgets = { count_error = { fp16 = 0.25 } }\n")
    own = counting.path / "inferbench.toml"
    own.write_text(own.read_text().replace('["fp32"]', '["fp16"]'))
    result = gate("--inferbench-suites", "-m", "accuracy", "-k", "test_scores")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["*count_error regressed*", "*IB-601*budget 0.25*", "*worst at picture*"]
    )


def test_without_it_the_settings_are_wrong_and_name_the_nearest(counting, gate):
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*models.net.task: unknown task "counting"*'])


def test_its_metrics_belong_to_it_alone_and_are_read_like_ours(counting, gate):
    counting.makeconftest(CONFTEST + HOOK)
    add(counting, "budgets = { count_eror = 1, count_error = -1 }\n")
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['*unknown budget "count_eror"; did you mean "count_error"?*', "*count_error*at least 0*"]
    )


def test_a_task_that_needs_data_says_so(counting, gate):
    counting.makeconftest(CONFTEST + HOOK)
    own = counting.path / "inferbench.toml"
    own.write_text(own.read_text().replace('data = "pictures"\n', ""))
    result = gate("--inferbench-suites")
    result.stderr.fnmatch_lines(["*models.net.data: is required: the task counting*"])


def test_a_test_of_one_s_own_takes_its_figures_and_its_marker(counting, gate):
    counting.makeconftest(CONFTEST + HOOK)
    counting.makepyfile(
        """
        import pytest

        @pytest.mark.inferbench(tasks=["counting"])
        def test_counts(task_scores):
            assert task_scores["counts"] == 5
            assert len(task_scores.own) == 5

        @pytest.mark.inferbench(tasks=["counting"])
        def test_none(task_scores):
            task_scores["cuonts"]
        """
    )
    result = gate("test_a_test_of_one_s_own_takes_its_figures_and_its_marker.py")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1}
    result.stdout.fnmatch_lines(["*IB-507*no figure 'cuonts'*count_error, counts*"])


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("def pytest_inferbench_tasks(): return ['mine']", "*IB-508*'mine', not a subclass*"),
        (
            "class Mine(Task): pass\ndef pytest_inferbench_tasks(): return [Mine]",
            "*IB-508*has no name of its own*",
        ),
        (
            "class Mine(Task): kind = 'detection'\ndef pytest_inferbench_tasks(): return [Mine]",
            "*IB-508*'detection', a name that is taken*",
        ),
        (
            "class Mine(Task):\n    kind = 'm'\n"
            "    metrics = (Metric('cosine', 'ratio', 'higher', Bounds(0, 1), 'mine'),)\n"
            "def pytest_inferbench_tasks(): return [Mine]",
            "*IB-508*metric 'cosine', which is taken*",
        ),
        (
            "def pytest_inferbench_tasks(): return [Counting, Counting]",
            "*IB-508*'counting', a name that is taken*",
        ),
    ],
)
def test_what_is_no_task_ends_the_run(counting, gate, hook, said):
    counting.makeconftest(f"{CONFTEST}\n\n{hook}\n")
    result = gate("--inferbench-suites")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_a_compare_that_returns_something_else_is_told(counting, gate):
    wrong = CONFTEST[: CONFTEST.index("        errors = [")] + "        return 5\n"
    counting.makeconftest(wrong + HOOK)
    result = gate("--inferbench-suites", "-m", "accuracy", "-k", "test_scores")
    result.stdout.fnmatch_lines(["*IB-509*counting compared*gave int, not Scores*"])


def test_an_installed_package_gives_one_by_its_entry_point(counting, gate, tmp_path, monkeypatch):
    info = tmp_path / "site/counting-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[inferbench.tasks]\ncounting = counting:Counting\n")
    module = Path(tmp_path / "site/counting.py")
    module.write_text(CONFTEST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    result = gate("--inferbench-suites", "-m", "accuracy")
    assert result.parseoutcomes()["passed"] == 2, result.stdout.str()
    module.write_text("import nothing_of_that_name\n")
    result = gate("--inferbench-suites", "-m", "accuracy")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*IB-508*'counting' of counting cannot be imported*"])
