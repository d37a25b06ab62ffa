"""What the codes of judgements mean, in the words of docs/verdicts.md. Pure data.

Only those that a verdict of a cell may carry stand here; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "IB-600": "pass, or improved",
        "IB-601": "outside an absolute budget",
        "IB-602": "above an absolute objective, interval and all",
        "IB-603": "above the baseline by more than the budget, interval and all",
        "IB-604": "slower than the other side by more than the budget, interval and all",
        "IB-605": "fewer times as fast as the other cell than it must be, interval and all",
        "IB-610": "inconclusive: the interval holds the limit",
        "IB-611": "inconclusive: the interval holds the objective",
        "IB-612": "inconclusive: too few runs that count",
        "IB-613": "inconclusive: above the limit, but some runs lie within it",
        "IB-614": "inconclusive: above the limit, but the machine itself is slower",
        "IB-615": "inconclusive: above the limit, but fresh launches did not confirm it",
        "IB-616": "no budget applies: measured only",
        "IB-618": "inconclusive: the rounds do not decide",
        "IB-619": "missing: there is nothing to compare with here",
        "IB-630": "a case of ONNX's ends wrongly, or worse than recorded",
        "IB-631": "a case of ONNX's passed with the recorded version and does not now",
        "IB-632": "unsupported: the backend refuses a case of ONNX's",
        "IB-633": "a case of ONNX's is recorded as one that fails, and does",
        "IB-634": "improved: a case of ONNX's passes that did not with the recorded version",
        "IB-635": "a case of ONNX's that does not pass was recorded by --update-baselines",
        "IB-640": (
            "not asked: the question does not apply to the cell, with the reason; no pass, "
            "and no silence"
        ),
        "IB-641": "the backend does not keep its contract; each fault is listed",
        "IB-642": "a backend tells a fact about placement in a form that it does not have",
        "IB-643": (
            "cannot be asked here: the question applies to the cell, but not on this machine; "
            "no verdict"
        ),
        "IB-660": (
            "inconclusive: the figure cannot be read on this machine, with what would be needed"
        ),
        "IB-661": "inconclusive: the figure cannot be told apart for two workers side by side",
        "IB-701": "missing: no baseline yet",
        "IB-702": "recorded by --update-baselines",
        "IB-850": "requests failed under load, by reason",
        "IB-851": "no request was answered under load",
        "IB-852": "a server does not tell its statistics",
        "IB-853": "a server lost its counts under load: it was restarted",
        "IB-854": "no load can be made through this protocol",
        "IB-855": "an answer through the server is not that of the same artifact without one",
        "IB-856": "inconclusive: the server to compare with failed requests itself",
        "IB-880": "an objective of a decision was not measured in every run: it holds for no word",
        "IB-881": "a server did not withstand what it was asked about",
        "IB-882": "a server does not answer even while nothing else goes on",
        "IB-883": "a server died of what its version is known to die of: no verdict",
    }
)
"""Code -> what it means."""
