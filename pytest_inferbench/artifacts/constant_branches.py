"""An OpenVINO model without branches that are never taken.

Takes a model with its constants folded; replaces, in place, every `If` whose condition is a
constant by the part that runs. Exporters write such for what was plain while they traced (Repeat
becomes two). NNCF quantizes each part by itself, and on SAM 2's the CPU plugin failed so, with "The
memory desc is undefined". Runs in the worker.
"""

from __future__ import annotations

from typing import Any


def take_constant_branches(model: Any) -> int:
    """Inline what is taken, branches within branches too; return how many there were."""
    taken = 0
    while branch := next(filter(_is_decided, model.get_ops()), None):
        _inline(branch)
        taken += 1
    return taken


def _is_decided(op: Any) -> bool:
    if op.get_type_name() != "If":
        return False
    return bool(op.input_value(0).get_node().get_type_name() == "Constant")


def _inline(branch: Any) -> None:
    condition = branch.input_value(0).get_node().get_data()
    which = 0 if condition.all() else 1  # 0 is what runs if it holds
    body = branch.get_function(which)
    parameters, results = body.get_parameters(), body.get_results()
    for each in branch.get_input_descriptions(which):
        parameter = parameters[each.body_parameter_index]
        parameter.output(0).replace(branch.input_value(each.input_index))
    for each in branch.get_output_descriptions(which):
        value = results[each.body_value_index].input_value(0)
        branch.output(each.output_index).replace(value)
