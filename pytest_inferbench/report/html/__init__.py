"""The HTML report: `html(results)` gives one file that needs nothing else."""

from pytest_inferbench.report.html.page import html

__all__ = ["html"]
