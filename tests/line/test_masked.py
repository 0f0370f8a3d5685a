"""Values of `--env KEY=VALUE` are shown nowhere: not in errors, not in what a Machine or a line looks like."""

from __future__ import annotations

import pickle
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from modal_gpu_magic.errors import LineError, masked
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.advice import ready_line
from modal_gpu_magic.plan.machine.definition import Machine, inherit
from modal_gpu_magic.plan.program import program

SECRET = "s3kret+/99"
WRONG = [
    "T4 --env TOKEN={} --bogus",
    "T4 --env=TOKEN={} --bogus",
    "T4 --env 'TOKEN={} x",
    "T4 --env TOKEN='{} x",
    'T4 --env "TOKEN={} x" --bogus',
    'T4 --env TOKEN="{} x" --bogus',
    "T4 --env 2T={}",
    "T4 --env token={} --bogus",
    "T4 --env my-token={}",
    "T4 --env ={}",
    "--env A=1 TOKEN={}",
    "TOKEN={}",
    "T4 --evn TOKEN={}",
    "T4 -e TOKEN={}",
    "T4 --environment TOKEN={}",
    "T4 --env 'TOKEN='{} --bogus",
    'T4 --env "TOKEN="{}" --bogus',
    'T4 --env T"OK"EN={} --bogus',
    "T4 --env TOK'EN='{} --bogus",
    "T4 --env TOKEN=a{}'b c' --bogus",
    "T4 --env TOKEN='a b'{} --bogus",
    "T4 'x --env TOKEN={}",
    "T4 \"x' --env TOKEN='{}'",
    "T4 x' TOKEN='{} y'",
    "T4 \\ --env TOKEN={}",
    "T4 --env a=1 token={}",
    "T4 --env TOKEN=one,{} --bogus",
    "T4 --env TOKEN=\\{}' --bogus",
    "T4 --env TOKEN={} --env TOKEN=other",
    "T4 --env TOKEN=other --env TOKEN={}",
    "T4 --env TOKEN={} --timeout 99h",
    "T4 --env TOKEN={} --env OTHER=a\\",
    "H200x --env TOKEN={}",
    "T4 --torchrun --ranks 7 --env TOKEN={}",
]


@pytest.mark.parametrize("line", WRONG)
def test_no_error_shows_a_value(line: str) -> None:
    with ThreadPoolExecutor(1) as thread:  # in the thread of all tests, an error of the browser tests may be handled
        error = thread.submit(lambda: inherit(None, parse(line.format(SECRET)), {}, {})).exception()
    again = pickle.loads(pickle.dumps(error))
    chained = "".join(traceback.format_exception(error))
    assert isinstance(error, LineError)
    assert error.__context__ is None
    rendered = "\n".join(error._render_traceback_())
    for shown in (str(error), repr(error), rendered, chained, str(again), repr(vars(error)), str(type(error).__doc__)):
        assert SECRET not in shown
    assert len(error.line) == len(line.format(SECRET)), "carets stand where they stood"


@pytest.mark.parametrize(
    "line, shown",
    [
        ("T4 --env A=1", "T4 --env A=*"),
        ("--pip torch==2.1 --apt ffmpeg=7", "--pip torch==2.1 --apt ffmpeg=7"),
        ("--timeout=2h --volume=data:/x", "--timeout=2h --volume=data:/x"),
        ("--env A=", "--env A="),
        ("--env NAME --pip x", "--env NAME --pip x"),
    ],
)
def test_the_rest_of_a_line_stays(line: str, shown: str) -> None:
    assert masked(line) == shown


def test_what_is_shown_of_a_machine() -> None:
    line = parse(f"T4 --env TOKEN={SECRET} --pip einops")
    machine = inherit(None, line, {}, {})
    assert machine.env == (("TOKEN", SECRET),)
    shown = [repr(machine), f"{machine}", repr(line), repr(line.options), ready_line(line, GpuSpec.parse("L4"))]
    shown += [program(machine, "x = 1", [], ["x"], 60.0, (), lambda _: "1")]
    shown += [repr(Machine(env=(("TOKEN", SECRET),)))]
    assert not [text for text in shown if SECRET in text]
    assert parse(str(line)) == line
