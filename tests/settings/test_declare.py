"""One line of a user's TOML is set, and nothing else of it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_inferbench.settings.declare import NotByOneLineError, with_hardware
from pytest_inferbench.settings.find import parse

KEPT = """\
# mine
[models.net]   # the model
path = "net.onnx"

[environments.orin]  # on the desk
backends = ["trt"]
ssh = "nvidia@orin"
hardware = 'jetson-orin-nano-15w'   # a guess
[environments.orin.env]
hardware = "no id, a variable"
[environments."or in"]
backends = ["openvino"]
"""


def test_a_value_is_replaced_and_all_else_stays():
    changed = with_hardware(KEPT, ("environments", "orin"), "jetson-orin-nano-25w")
    before, after = KEPT.splitlines(), changed.splitlines()
    differing = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert [after[i] for i in differing] == ['hardware = "jetson-orin-nano-25w"   # a guess']


def test_a_value_that_is_missing_is_added_below_its_header():
    changed = with_hardware(KEPT, ("environments", "or in"), "cpu-x-2c")
    assert changed.endswith(
        '[environments."or in"]\nhardware = "cpu-x-2c"\nbackends = ["openvino"]\n'
    )
    assert changed.replace('hardware = "cpu-x-2c"\n', "") == KEPT


def test_line_ends_stay_what_they_are():
    text = '[environments.a]\r\nbackends = ["trt"]\r\n'
    assert with_hardware(text, ("environments", "a"), "cpu-x-2c") == (
        '[environments.a]\r\nhardware = "cpu-x-2c"\r\nbackends = ["trt"]\r\n'
    )
    assert with_hardware("[environments.a]", ("environments", "a"), "x").endswith('= "x"\n')


@pytest.mark.parametrize(
    "text",
    [
        'environments = { a = { backends = ["trt"] } }\n',
        'environments.a.backends = ["trt"]\n',
        '[environments]\na = { backends = ["trt"] }\n',
        '[environments]\na.backends = ["trt"]\n',
        'x = """\n[environments.a]\n"""\n[environments]\na.backends = ["trt"]\n',
        '[environments.a]\nbackends = ["trt"]\nhardware = """cpu"""\n',
        '[environments.a]\nx = """\nhardware = "no"\n"""\nhardware = "yes"\n',
    ],
)
def test_what_no_single_line_says_is_left_alone(text):
    parse(text.encode())
    with pytest.raises(NotByOneLineError):
        with_hardware(text, ("environments", "a"), "cpu-x-2c")


values = st.sampled_from(
    ['"a"', "1", "[1, 2]", '{ x = "hardware = 1" }', "'#'", '"""\n[environments.b]\n"""']
)
keys = st.sampled_from(["k", '"q u"', "hard.ware", "other"])


@given(
    st.lists(st.tuples(keys, values), unique_by=lambda each: each[0]), st.booleans(), st.booleans()
)
def test_the_result_says_the_same_but_for_the_value_or_there_is_none(pairs, there, first):
    lines = [f"{key} = {value}" for key, value in pairs]
    lines.insert(0 if first else len(lines), 'hardware = "cpu-old"' if there else "# nothing")
    text = "[environments.a]\n" + "\n".join(lines) + '\n[environments.c]\nhardware = "cpu-c"\n'
    expected = parse(text.encode())
    expected["environments"]["a"]["hardware"] = "cpu-new"
    try:
        changed = with_hardware(text, ("environments", "a"), "cpu-new")
    except NotByOneLineError:
        return
    assert parse(changed.encode()) == expected
