"""The same cells in a real ipykernel and on the far side: the messages must be the same, one by one."""

from __future__ import annotations

import sys

import pytest

from tests.container.far_side import FarSide
from tests.container.native import PLACE, SCRUBS, Kernel, shown_far_away, shown_natively
from tests.scrub import scrub

OUTPUT = {
    "print": "print('a', 1, sep='-'); print('b', end=''); print()",
    "unicode": "print('é 中 🎉')",
    "stderr": "import sys\nprint('a', file=sys.stderr); sys.stderr.write('b');",
    "writelines": "import sys\nsys.stdout.writelines(['a\\n', 'b\\n']);",
    "what a stream is": "import sys\nsys.stdout.isatty(), sys.stdout.encoding, sys.stdout.name, sys.stdout.writable(), sys.stdout.readable()",
    "write returns": "import sys\nsys.stdout.write('abc')",
    "descriptor 1": "import os, time\nos.write(1, b'a\\n'); time.sleep(0.3)",
    "descriptor 2": "import os, time\nos.write(2, b'a\\n'); time.sleep(0.3)",
    "thread": "import threading\nt = threading.Thread(target=print, args=('from a thread',))\nt.start(); t.join()",
    "thread fails": "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start(); t.join()",
    "subprocess": "import subprocess, time\nsubprocess.run(['echo', 'from a child']); time.sleep(0.3)",
    "shell": "!echo hi; echo oops >&2",
    "shell with names": "word = 'there'\n!echo {word} $word",
    "shell to a list": "lines = !printf 'a\\nb\\n'\nlines",
    "shell fails": "!exit 3\n_exit_code",
    "colours of a child": "!python3 -c \"import os; print(os.environ['FORCE_COLOR'], os.environ['PAGER'], os.environ['TERM'])\"",
    "carriage return": "for i in range(3): print(f'\\r{i}', end='')",
    "tqdm": "from tqdm import tqdm\nfor i in tqdm(range(3), mininterval=9): pass",
    "logging": "import logging\nlogging.getLogger('some').warning('careful')",
    "warning": "import warnings\nwarnings.warn('careful')",
    "deprecation": "import warnings\nwarnings.warn('old', DeprecationWarning)",
    "printed traceback": "import traceback\ntry: 1/0\nexcept ZeroDivisionError: traceback.print_exc()",
    "redirected": "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as text: print('hidden')\ntext.getvalue()",
    "bash": "%%bash\necho from bash\necho oops >&2",
    "writefile": "%%writefile /dev/null\nprint(1)",
    "run": f"open('{PLACE}/found.py', 'w').write('print(__name__); found = 6')\n%run {PLACE}/found.py\nfound",
    "env": "%env MG_WORD=yes\n!echo $MG_WORD",
    "cd": "%cd /tmp\nimport os\nos.getcwd()",
    "time": "%time sum(range(10))",
    "cell time": "%%time\nprint('timed')\n1 + 1",
    "timeit": "%timeit -n10 -r2 sum(range(10))",
    "timeit of a name": "squares = [i * i for i in range(10)]\n%timeit -n10 -r2 sum(squares)",
    "prun": "%%capture held\n%prun -q sum(range(10))",
    "capture": "%%capture held\nprint('hidden'); display('this too')",
    "who": "%reset -f\nmg_only_name = 1\n%who",
    "pip": "%pip --version",
    "await": "import asyncio\nawait asyncio.sleep(0.01)\nprint('woke')",
    "await a value": "import asyncio\nawait asyncio.sleep(0, 'value')",
    "async for": "async def three():\n    for i in range(3): yield i\nasync for i in three(): print(i)",
    "async with": "import contextlib\n@contextlib.asynccontextmanager\nasync def c():\n    print('in'); yield 5; print('out')\nasync with c() as v: print(v)",
    "gather": "import asyncio\nawait asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))",
    "task from a plain cell": "import asyncio\nt = asyncio.create_task(asyncio.sleep(0, 'x'))\ntype(t).__name__",
    "asyncio.run": "import asyncio\nc = asyncio.sleep(0)\ntry: asyncio.run(c)\nexcept RuntimeError as e: print(e)\nc.close()",
    "loop": "import asyncio\nasyncio.get_event_loop().is_running()",
    "empty": "",
    "comment": "# nothing to do",
    "exit goes on": "get_ipython().exiter.__class__.__name__",
    "shell's name": "type(get_ipython()).__name__, type(get_ipython()).__module__, 'IPKernelApp' in get_ipython().config",
    "kernel's name": "type(get_ipython().kernel).__name__, type(get_ipython().kernel).__module__, get_ipython().kernel.implementation",
    "shell's class": "from ipykernel.zmqshell import ZMQInteractiveShell\nisinstance(get_ipython(), ZMQInteractiveShell)",
    "main": "import sys\n__name__, sys.modules['__main__'].__dict__ is globals()",
    "stdin": "import sys\nsys.stdin.read()",
}
DISPLAY = {
    "value": "1 + 1",
    "silenced": "1 + 1;",
    "silenced, comment": "1 + 1;  # not shown",
    "none": "None",
    "several": "1\n2\n3",
    "if at the end": "if True:\n    5",
    "long": "list(range(2000))",
    "display": "display('a', 1)",
    "order": "import sys\nprint('a'); display('b'); print('c', file=sys.stderr); display('d'); 5",
    "mime kinds": "from IPython.display import *\ndisplay(JSON({'a': [1, None]}), HTML('<b>'), Markdown('*x*'), Latex('$x$'), SVG('<svg></svg>'), Javascript('1'), Code('x = 1'))",
    "raw bundle": "display({'text/plain': 'x', 'application/x-own': {'k': (1, 2)}}, raw=True, metadata={'m': 1})",
    "own repr": "class A:\n    def _repr_html_(self): return '<i>a</i>'\n    def __repr__(self): return 'A!'\ndisplay(A())\nA()",
    "bundle repr": "class A:\n    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/plain': 'a', 'x/y': 'b'}, {'x/y': {'w': 1}}\nA()",
    "display id": "h = display('a', display_id=True)\nh.update('b')\ndisplay('c', display_id='mine'); update_display('d', display_id='mine')",
    "clear": "from IPython.display import clear_output\nprint(1); clear_output(wait=True); print(2); clear_output()",
    "displayhook": "import sys\nsys.displayhook(5)",
    "pandas": "import pandas as pd\npd.DataFrame({'a': range(3), 'long name ' * 9: ['x' * 60] * 3})",
    "pandas printed": "import pandas as pd\nprint(pd.DataFrame({f'column {i}': ['x' * 12] * 2 for i in range(20)}))",
    "sympy": "import sympy\nsympy.Symbol('x') ** 2",
    "plotly": "import plotly.graph_objects as go\nf = go.Figure(go.Bar(y=[1, 2]))\ndisplay({'application/vnd.plotly.v1+json': f.to_plotly_json()['data'][0]}, raw=True)",
    "figure": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1)); print('drawn')",
    "figure shown": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1)); plt.show(); print('after')",
    "figure, then error": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1)); 1 / 0",
    "figure shown, then error": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1)); plt.show(); plt.figure(figsize=(1, 2)); 1 / 0",
    "matplotlib inline": "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(1, 2));",
    "svg figures": "%config InlineBackend.figure_formats = ['png']\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1));",
    "rich": "import rich\nrich.print('[bold]x[/bold]')",
    "help": "len?",
    "source": "def mg_f(x):\n    return x\nmg_f??",
    "image bytes": "from IPython.display import Image\nImage(data=b'\\x89PNG\\r\\n\\x1a\\n', format='png')",
    "widget": "import ipywidgets\nipywidgets.IntSlider(3)",
    "repr fails in display": "class Bad:\n    def __repr__(self): raise ValueError('no repr')\ndisplay(Bad()); print('on')",
    "numpy": "import numpy as np\nnp.arange(6).reshape(2, 3)",
}
ERRORS = {
    "plain": "1 / 0",
    "on its line": "a = 1\n\n\nb = a / 0\nc = 2",
    "after padding": "# %%modal_gpu H100\n# and more\n\n1 / 0",
    "functions": "def f(n):\n    return 1 / n\n\ndef g():\n    return f(0)\n\ng()",
    "comprehension": "[1 / n for n in (2, 1, 0)]",
    "library": "import json\njson.loads('{')",
    "cause": "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('no k') from e",
    "context": "try:\n    {}['k']\nexcept KeyError:\n    raise ValueError('no k')",
    "own class": "class Own(Exception):\n    pass\nraise Own('text', 5)",
    "no str": "class Own(Exception):\n    def __repr__(self): return 'own'\nraise Own",
    "after output": "print('before'); display('shown'); 1 / 0",
    "after an await": "import asyncio\nawait asyncio.sleep(0)\nraise ValueError('awake')",
    "in a coroutine": "async def f():\n    raise ValueError('inside')\nawait f()",
    "syntax": "a = 1\nb = = 2",
    "syntax at run": "exec('a = = 2')",
    "unclosed": "print('a'",
    "indentation": "if True:\nprint(1)",
    "name": "never_bound_anywhere",
    "system exit": "import sys\nsys.exit(3)",
    "keyboard interrupt": "raise KeyboardInterrupt",
    "stop iteration": "next(iter([]))",
    "no such magic": "%no_such_magic_at_all",
    "no such cell magic": "%%no_such_magic_at_all\nx",
    "wrong use": "%timeit -z",
    "magic": "%timeit -n1 -r1 1 / 0",
    "bash": "%%bash\necho out\nexit 3",
    "exec": "exec('1 / 0')",
    "run of a bad file": f"open('{PLACE}/bad.py', 'w').write('1 / 0\\n')\n%run {PLACE}/bad.py\nprint('on')",
    "cell in a cell": "get_ipython().run_cell('1 / 0'); print('on')",
    "tb": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()\nprint('on')",
    "callback": "def mg_bad(): 1 / 0\nget_ipython().events.register('post_execute', mg_bad)\nprint('ran')",
    "callback before": "def mg_bad2(): 1 / 0\nget_ipython().events.register('pre_execute', mg_bad2)",
    "callback before, and an error": "2 / 0",
    "callback before gone": "get_ipython().events.unregister('pre_execute', mg_bad2)",
    "callback and a figure": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1));",
    "callback and an error": "2 / 0",
    "callback gone": "get_ipython().events.unregister('post_execute', mg_bad)",
}
if sys.version_info >= (3, 11):
    ERRORS |= {
        "group": "raise ExceptionGroup('both', [ValueError('a'), KeyError('b')])",
        "group inside": "try:\n    1 / 0\nexcept Exception as e:\n    raise ExceptionGroup('one', [e])",
        "note": "e = ValueError('v')\ne.add_note('and more')\nraise e",
    }
CASES = {**OUTPUT, **DISPLAY, **ERRORS}


def compare(kernel: Kernel, far: FarSide, source: str) -> None:
    native = kernel.run(source)
    ours = far.run(source, count=native.count)
    while shown_far_away(ours) != shown_natively(native) and kernel.has_more_of(native):
        pass
    assert shown_far_away(ours) == shown_natively(native)
    assert ours.ename == native.reply.get("ename", "")
    assert scrub(ours.evalue, SCRUBS) == scrub(native.reply.get("evalue", ""), SCRUBS)


@pytest.mark.parametrize("source", CASES.values(), ids=CASES.keys())
def test_a_cell_shows_what_it_shows_in_a_kernel(kernel: Kernel, shared: FarSide, source: str) -> None:
    compare(kernel, shared, source)


STORIES = {
    "underscores": ["6 * 7", "_ + 1", "__, _", "Out[max(Out)]", "None", "_"],
    "silence keeps the underscore": ["6 * 7", "5;", "_"],
    "in": ["mg_in = 1", "In[-2], _i"],
    "context variables": ["import numpy as np\nold = np.seterr(all='raise')", "np.geterr()['over']", "import asyncio\nawait asyncio.sleep(0)\nnp.geterr()['over']", "np.seterr(**old);"],
    "task goes on": ["import asyncio\nasync def work():\n    await asyncio.sleep(0)\n    return 5\nt = asyncio.create_task(work())", "await t"],
    "display id of an earlier cell": ["h = display('a', display_id='kept')", "h.update('c')"],
    "figures in later cells": ["import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1));", "plt.figure(figsize=(1, 2));", "1"],
    "function of an earlier cell": ["def late(n):\n    # a comment\n    return 1 / n", "late(0)"],
    "redefined": ["def twice(n):\n    return 1 / n", "def twice(n):\n    # second\n    return 2 / n", "twice(0)"],
    "future": ["from __future__ import annotations", "def f(x: nothing): pass\nf.__annotations__"],
    "pool of an earlier cell": ["from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\nlist(pool.map(print, [1]))", "list(pool.map(print, [2]))", "pool.shutdown()"],
    "autoreload": ["%load_ext autoreload\n%autoreload 2", "print('on')"],
    "pickle": ["import pickle\nclass P:\n    def __init__(self, v): self.v = v", "pickle.loads(pickle.dumps(P(3))).v"],
    "alias": ["%alias mg_say echo said", "mg_say this"],
    "last traceback": ["{}['k']", "%tb"],
}  # fmt: skip


@pytest.mark.parametrize("cells", STORIES.values(), ids=STORIES.keys())
def test_a_story_shows_what_it_shows_in_a_kernel(kernel: Kernel, shared: FarSide, cells: list[str]) -> None:
    for source in cells:
        compare(kernel, shared, source)


def test_the_tenth_run_has_the_right_lines(kernel: Kernel, shared: FarSide) -> None:
    source = "def again(n):\n    return 10 / (9 - n)\n\nturn = globals().get('turn', -1) + 1\nagain(turn)"
    for _ in range(10):
        compare(kernel, shared, source)
    compare(kernel, shared, source.replace("\n\n", "\n\n\n\n").replace("turn = ", "turn = 8 or "))


@pytest.mark.parametrize(
    "source, answers",
    [
        ("input('name? ')", ("Ada",)),
        ("print('before'); a = input(); b = input('b'); print(a + b)", ("1", "2")),
        ("import getpass\ngetpass.getpass('secret: ')", ("s",)),
        ("x = 5\nimport pdb; pdb.set_trace()\nprint('on')", ("p x + 1", "c")),
        ("input('end? ')", ("\x04",)),
    ],
)
def test_a_question_is_answered_as_in_a_kernel(
    kernel: Kernel, shared: FarSide, source: str, answers: tuple[str, ...]
) -> None:
    native = kernel.run(source, answers)
    ours = shared.run(source, count=native.count, answers=answers)
    assert [item for item in shown_far_away(ours) if "EOFError" not in str(item)] == [
        item
        for item in shown_natively(native)
        if "EOFError" not in str(item)  # its traceback shows ipykernel's frames
    ]
    assert (ours.ename, ours.evalue) == (native.reply.get("ename", ""), native.reply.get("evalue", ""))


@pytest.mark.parametrize("source", ["input('x')", "import getpass\ngetpass.getpass()", "import pdb; pdb.set_trace()"])
def test_without_anyone_to_answer_the_error_is_the_kernel_s(kernel: Kernel, shared: FarSide, source: str) -> None:
    native = kernel.run(source)
    ours = shared.run(source, count=native.count)
    assert (ours.ename, ours.evalue) == (native.reply["ename"], native.reply["evalue"])
    assert "modal_gpu_magic" not in "".join(ours.traceback)
