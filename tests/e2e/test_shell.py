"""What a cell finds around it: a notebook's shell and kernel, widgets that capture, clears that wait, debuggers, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.compare import by_stream, shown, widgets

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel, Message

OUTPUT = "import ipywidgets\nout = ipywidgets.Output()\ndisplay(out)\n"

STILL = "auto_refresh=False, get_time=lambda: 0.0"
"""Of a bar of rich that shows no time, so that a slow machine shows it as often."""

CAPTURED = {
    "printed": [OUTPUT + "print('before')\nwith out:\n    print(1)\n    display(2)\nprint('after')"],
    "an error": [OUTPUT + "with out:\n    print(1)\n    1 / 0\nprint('after')"],
    "a decorated function": [OUTPUT + "@out.capture()\ndef f():\n    print(1)\n    1 / 0\nf()\nprint('after')"],
    "decorated, cleared": [OUTPUT + "@out.capture(clear_output=True, wait=True)\ndef f(n): display(n)\nf(1)\nf(2)"],
    "nested": [OUTPUT + "inner = ipywidgets.Output()\nwith out:\n    with inner: display(1)\n    display(2)\ndisplay(3)"],
    "appended": [OUTPUT + "out.append_stdout('a')\nout.append_stderr('b')\nout.append_display_data(3)"],
    "cleared": [OUTPUT + "with out: display(1)\nout.clear_output()\nout.clear_output(wait=True)\nwith out: display(2)"],
    "in the next cell": [OUTPUT, "with out: display(1)", "out.append_stdout('more')", "@out.capture()\ndef f(): display(2)", "f()"],
    "a table": [OUTPUT + "import pandas as pd\nwith out: display(pd.DataFrame({'a': [1]}))"],
    "a figure": [OUTPUT + "import matplotlib.pyplot as plt\nwith out:\n    plt.figure(figsize=(1, 1))\n    plt.show()"],
    "rich": ["import rich\nrich.print('[bold]x[/bold]')"],
    "rich track": [f"from rich.progress import track\nfor i in track(range(3), {STILL}): pass"],
    "rich status": ["from rich.console import Console\nwith Console().status('busy', speed=0.0, refresh_per_second=0.01): display('in')"],
    "rich live": [
        "from rich.live import Live\nwith Live('0', auto_refresh=False) as live:\n"
        "    for n in range(3): live.update(str(n), refresh=True)"
    ],
    "a bar": ["import ipywidgets\nbar = ipywidgets.IntProgress(max=3)\ndisplay(bar)\nfor i in range(4): bar.value = i"],
    "a bar of tqdm": ["from tqdm.auto import tqdm\nfor i in tqdm(range(3), bar_format='{n}', mininterval=99): pass"],
}  # fmt: skip
"""Stories of cells, with the widgets' messages compared as well."""


@pytest.mark.parametrize("answers", [None, ()], ids=["nobody is there", "somebody is there"])
@pytest.mark.parametrize("cells", CAPTURED.values(), ids=CAPTURED.keys())
def test_a_widget_is_told_what_it_would_be_here(pair: Pair, cells: list[str], answers: tuple[str, ...] | None) -> None:
    pair.kernel.run("%config ModalGpu.dashboard = False")  # which is a widget, too
    for cell in cells:
        native = pair.native.run(f"# %%modal_gpu T4\n{cell}", answers=answers)
        remote = pair.kernel.remote(cell, "T4", answers=answers)
        assert widgets(remote) == widgets(native)


def test_what_was_printed_before_a_bar_stays(kernel: Kernel) -> None:
    """A bar of rich clears the output of its widget, and only that."""
    cell = "from rich.progress import track\nprint('before', flush=True)\nfor i in track(range(3)): pass"
    messages = kernel.remote(cell, "T4").messages
    assert screen(messages)[0] == "before\n"


def test_a_line_of_ours_is_not_captured(kernel: Kernel) -> None:
    """The status line comes after a second, in the cell's output and not in the widget's."""
    result = kernel.remote(OUTPUT + "import time\nwith out: time.sleep(2.5)\ntime.sleep(1.2)\nprint('after')", "T4")
    captures = False
    for message in (*result.messages, *result.notes):
        state = message.content.get("data", {}).get("state", {}) if message.kind == "comm_msg" else {}
        captures = bool(state["msg_id"]) if "msg_id" in state else captures
        assert not (captures and message.ours)
    assert result.said


PASTED = {
    "a block": "    c = 5\n    if c:\n        print(c)",
    "below blank lines": "\n\n  print('below')",
    "with a tab": "\tprint('a tab')",
    "with a command of the system": "  x = !echo hi\n  print(x)",
    "with a magic": "  %precision 3\n  1 / 3",
    "with text of several lines": "  print('''\n  in text\n  ''')",
    "a class": "  class A:\n\n    x = 1\n\n  print(A.x)",
    "with a comment at the margin": "    print(1)\n# a comment\n",
    "of two depths": "    print(1)\n  print(2)",
    "of Python's prompt": ">>> a = 1\n>>> for i in range(2):\n...     print(i)",
    "of Python's prompt, indented": "    >>> 1 + 1",
    "of IPython's prompt": "In [1]: b = 2\nIn [2]: b + 1",
}


@pytest.mark.parametrize("source", PASTED.values(), ids=PASTED.keys())
def test_a_cell_runs_as_it_was_pasted(pair: Pair, source: str) -> None:
    """IPython removes the indent that all lines have, and prompts."""
    native, remote = pair.native.run(source), pair.kernel.remote(source, "T4")
    if native.ok:
        assert shown(remote) == shown(native)
    else:
        assert remote.error.startswith("IndentationError: ")
        assert native.error.startswith("IndentationError: ")


CLEARED = {
    "at the end": "clear_output(wait=True)",
    "in a loop": "for i in range(3):\n    clear_output(wait=True)\n    print(i, flush=True)\nclear_output(wait=True)",
    "then an update": "h = display('a', display_id='mg-clear')\nclear_output(wait=True)\nprint('b')\nh.update('c')",
    "then an error": "print('a', flush=True)\nclear_output(wait=True)\n1 / 0",
    "then a value": "print('a', flush=True)\nclear_output(wait=True)\n5",
    "then a figure": "import matplotlib.pyplot as plt\nprint('a', flush=True)\nclear_output(wait=True)\nplt.figure(figsize=(1, 1));",
    "at once": "print('a', flush=True)\nclear_output()\nprint('b')",
}


@pytest.mark.parametrize("source", CLEARED.values(), ids=CLEARED.keys())
def test_what_is_cleared_is_what_would_be_here(pair: Pair, source: str) -> None:
    cell = f"from IPython.display import clear_output\nprint('first', flush=True)\n{source}"
    pair.there(cell, "T4")
    native = pair.native.run(f"# %%modal_gpu T4\n{cell}")
    assert screen(pair.kernel.remote(cell, "T4").messages) == screen(native.messages)


@pytest.mark.parametrize("cell", ["print('kept')", "import time\nprint('kept')\ntime.sleep(2.5)"])
def test_a_clear_that_waits_keeps_the_last_output_and_the_receipt(kernel: Kernel, cell: str) -> None:
    source = f"from IPython.display import clear_output\n{cell}\nclear_output(wait=True)"
    everything = kernel.run(f"%%modal_gpu T4\n{source}").all
    seen = screen(everything)
    assert "kept\n" in seen
    assert any("simulated on this CPU" in text for text in seen), seen


def test_a_clear_that_waits_leaves_the_error_and_the_receipt_below(kernel: Kernel) -> None:
    source = "from IPython.display import clear_output\nprint('gone')\nclear_output(wait=True)\n1 / 0"
    seen = screen(kernel.run(f"%%modal_gpu T4\n{source}").all)
    assert [text.split(" ")[0] for text in seen] == ["ZeroDivisionError", "failed"]


FAILED = {
    "a figure, then an error": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nprint('drawn')\n1 / 0",
    "shown, drawn, failed": (
        "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nplt.show()\nplt.figure(figsize=(1, 2))\n1 / 0"
    ),
    "a callback of the user's": "get_ipython().events.register('post_execute', say)\n1 / 0",
    "wrong use of a magic": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\n%timeit -z",
    "syntax": "a = = 2",
    "exit": "import sys\nsys.exit(3)",
}


UNREGISTER = """
events = get_ipython().events
if say in events.callbacks["post_execute"]:
    events.unregister("post_execute", say)
"""


@pytest.mark.parametrize("source", FAILED.values(), ids=FAILED.keys())
def test_an_error_comes_where_it_comes_here(pair: Pair, source: str) -> None:
    pair.there("def say(): display('said')", "T4")
    pair.there(source, "T4")
    pair.there(UNREGISTER, "T4")


LOOKED_AT = {
    "plotly": "import plotly.io\nplotly.io.renderers.default",
    "plotly shows": "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2])).show()",
    "plotly's value": "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2]))",
    "names": "s = get_ipython()\n[(type(s).__module__, type(s).__name__), (type(s.kernel).__module__, type(s.kernel).__name__)]",
    "string": "str(type(get_ipython())), 'zmqshell' in str(type(get_ipython()))",
    "a test of some libraries": "get_ipython().has_trait('kernel'), get_ipython().kernel is not None, 'IPKernelApp' in get_ipython().config",
    "pandas": "import pandas.io.formats.console as c\nc.in_ipython_frontend(), c.in_interactive_session()",
    "rich": "import rich.console\nc = rich.console.Console()\nc.is_jupyter, c.is_terminal, c.width, c.color_system",
    "tqdm": "import tqdm.autonotebook, tqdm.auto\ntqdm.autonotebook.tqdm.__module__, tqdm.auto.tqdm.__module__",
    "matplotlib": "import matplotlib\nmatplotlib.get_backend()",
    "the cell's request": "type(get_ipython().get_parent()['header']['msg_id']).__name__, get_ipython().kernel.get_parent()['header']['msg_type']",
    "a comm manager": "import comm\nget_ipython().kernel.comm_manager is comm.get_comm_manager()",
}  # fmt: skip


@pytest.mark.parametrize("source", LOOKED_AT.values(), ids=LOOKED_AT.keys())
def test_libraries_see_a_notebook(pair: Pair, source: str) -> None:
    pair.there(source, "T4")


WARNED = {
    "in the cell": ["import warnings\nwarnings.warn('w')", "warnings.warn('w')"],
    "once a cell": ["import warnings\nfor i in range(3): warnings.warn('w')"],
    "of a function": ["import warnings\ndef f(): warnings.warn('w', stacklevel=2)\nf()", "f()", "HERE\nf()"],
    "deprecated": ["import warnings\nwarnings.warn('w', DeprecationWarning)", "def g(): warnings.warn('w', DeprecationWarning)", "g()"],
    "deprecated, from far below": [
        "import warnings\nfor n in range(1, 16): warnings.warn(f'{n}', DeprecationWarning, stacklevel=n)"
    ],
    "of a library, once": ["import json.scanner\nimport numpy as np\nnp.array([1.0]) / 0", "np.array([1.0]) / 0"],
    "a value that warns when it is made": [
        "HERE\nimport warnings\nclass W:\n    def __init__(self): self.a = 1\n"
        "    def __setstate__(self, s): warnings.warn('made', stacklevel=2); self.__dict__ = s\n"
        "    def __getstate__(self): warnings.warn('taken', DeprecationWarning); return self.__dict__\nw = W()",
        "w.a",
        "w.a = 2",
        "HERE\nw.a",
        "warnings.warn('shown')",
    ],
    "one that makes errors of warnings": [
        "HERE\nimport warnings\nclass W2:\n    def __init__(self): self.a = 1\n"
        "    def __setstate__(self, s): warnings.warn('made'); self.__dict__ = s\nw = W2()",
        "import warnings\nwarnings.simplefilter('error')",
        "w.a",
        "warnings.resetwarnings()",
        "w.a = 2",
        "HERE\nw.a",
    ],
}  # fmt: skip


@pytest.mark.parametrize("cells", WARNED.values(), ids=WARNED.keys())
def test_what_warns_is_the_cell_s(pair: Pair, cells: list[str]) -> None:
    """By the file and the line that a native kernel shows; values warn of nothing."""
    for cell in cells:
        if cell.startswith("HERE\n"):
            pair.here(cell.removeprefix("HERE\n"))
        else:
            pair.there(cell, "T4")


DEBUGGED = {
    "breakpoint": (["x = 5\nbreakpoint()\nprint('on')"], ("p x + 1", "c")),
    "breakpoint in a function": (["def f(a):\n    breakpoint()\n    return a\nf(3)"], ("p a", "c")),
    "set_trace": (["import pdb\nx = 5\npdb.set_trace()\nprint('on')"], ("p x + 1", "n", "c")),
    "set_trace of IPython": (["from IPython.core.debugger import set_trace\nx = 5\nset_trace()\nprint('on')"], ("p x + 1", "c")),
    "post mortem": (["import pdb\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n    pdb.post_mortem(e.__traceback__)"], ("p 1 + 1", "q")),
    "%debug": (["def f(a):\n    return 1 / a\nf(0)", "%debug"], ("p a", "u", "q")),
    "%%debug": (["%%debug\nx = 1\ny = 2"], ("n", "n", "c")),
    "a statement": (["%debug x = 1 + 1"], ("n", "c")),
    "quit": (["import pdb\npdb.set_trace()\nprint('never')"], ("q",)),
}  # fmt: skip


@pytest.mark.parametrize("cells, answers", DEBUGGED.values(), ids=DEBUGGED.keys())
def test_a_debugger_works_as_here(pair: Pair, cells: list[str], answers: tuple[str, ...]) -> None:
    for cell in cells:
        comment = "" if cell.startswith("%%") else "# %%modal_gpu T4\n"
        native = pair.native.run(comment + cell, answers=answers)
        remote = pair.kernel.remote(cell, "T4", answers=answers)
        assert (shown(remote), remote.asked) == (shown(native), native.asked)


@pytest.mark.parametrize("cell", ["x = 5\nbreakpoint()\nprint('on')", "import pdb\npdb.set_trace()", "1 / 0", "%debug"])
def test_a_debugger_without_anyone_fails_as_here(pair: Pair, cell: str) -> None:
    native, remote = pair.native.run(f"# %%modal_gpu T4\n{cell}"), pair.kernel.remote(cell, "T4")
    assert remote.error == native.error
    assert by_stream(remote)["stdout"] == by_stream(native)["stdout"]
    assert "modal_gpu_magic" not in remote.traceback


def test_breakpoint_stops_where_no_debugger_has_taken_it(fresh: Kernel) -> None:
    """Where ipykernel has no debugpy, Python's own hook asks, and so does the one there."""
    fresh.run("import sys\nsys.breakpointhook = sys.__breakpointhook__")
    result = fresh.remote("x = 5\nbreakpoint()\nprint('on')", "T4", answers=("p x + 1", "c"))
    assert result.ok
    assert result.asked == ("ipdb> ", "ipdb> ")
    assert "\n6\n" in result.stdout
    assert result.stdout.endswith("on\n")


def screen(messages: tuple[Message, ...]) -> list[str]:
    """What stands in the cell's output at the end, as JupyterLab puts it together: one text an output."""
    outputs: list[tuple[str, str]] = []
    capturing, waits = False, False
    for message in messages:
        content: dict[str, Any] = message.content
        state = content.get("data", {}).get("state", {}) if message.kind == "comm_msg" else {}
        capturing = bool(state["msg_id"]) if "msg_id" in state else capturing
        if capturing or message.kind.startswith("comm"):
            continue
        if message.kind == "clear_output":
            waits = content["wait"]
            outputs = outputs if waits else []
            continue
        display = content.get("transient", {}).get("display_id", "")
        text = message.text or f"{content.get('ename')}"
        if message.kind == "update_display_data":
            outputs = [(key, text if key == display else old) for key, old in outputs]
            continue
        outputs, waits = ([] if waits else outputs), False
        stream = f"stream {content['name']}" if message.kind == "stream" else ""
        if stream and outputs and outputs[-1][0] == stream:  # a print may come in pieces
            outputs[-1] = stream, outputs[-1][1] + text
        else:
            outputs.append((display or stream, text))
    return [text for _, text in outputs if not text.startswith("Output(")]
