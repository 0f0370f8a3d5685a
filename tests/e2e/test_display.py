"""What a cell displays: every mime kind, updates in place, figures, widgets, and the last expression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

PNG = "b'\\x89PNG\\r\\n\\x1a\\n' + bytes(64)"

SAME = {
    "html": "from IPython.display import HTML\nHTML('<b>bold</b>')",
    "markdown": "from IPython.display import Markdown, display\ndisplay(Markdown('*it*'))",
    "latex": "from IPython.display import Latex\nLatex('$x^2$')",
    "math": "from IPython.display import Math\nMath('x^2')",
    "svg": "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"><rect/></svg>')",
    "json": "from IPython.display import JSON\nJSON({'a': [1, None]})",
    "javascript": "from IPython.display import Javascript\nJavascript('1 + 1')",
    "png": f"from IPython.display import Image\nImage(data={PNG}, format='png', width=10)",
    "jpeg": "from IPython.display import Image\nImage(data=b'\\xff\\xd8\\xff\\xe0' + bytes(64), format='jpeg')",
    "audio": "from IPython.display import Audio\nAudio(data=b'RIFF' + bytes(64), rate=8000, normalize=False)",
    "raw bundle": "from IPython.display import display\ndisplay({'text/plain': 'a', 'application/x-own': {'b': 1}}, raw=True)",
    "metadata": "from IPython.display import display\ndisplay({'text/plain': 'a'}, raw=True, metadata={'text/plain': {'k': 1}})",
    "several": "from IPython.display import display\ndisplay(1, 'two', [3])",
    "publish": "from IPython.display import publish_display_data\npublish_display_data({'text/plain': 'x'})",
    "display without an import": "display(1)",
    "own html": "class Own:\n    def _repr_html_(self): return '<i>own</i>'\n    def __repr__(self): return 'own'\nOwn()",
    "own bundle": "class Own:\n    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/plain': 'p', 'text/html': 'h'}\nOwn()",
    "own display": "class Own:\n    def _ipython_display_(self): print('shows itself')\nOwn()",
    "display id": "h = display('a', display_id=True)\nh.update('b')",
    "display id by name": "display('a', display_id='mg-named')\nfrom IPython.display import update_display\nupdate_display('b', display_id='mg-named')",
    "clear": "from IPython.display import clear_output\nprint(1, flush=True)\nclear_output()\nprint(2)",
    "clear and wait": "from IPython.display import clear_output\nprint(1, flush=True)\nclear_output(wait=True)\nprint(2)",
    "figure": "import matplotlib.pyplot as plt\nplt.plot([1, 2])",
    "figure, silent": "import matplotlib.pyplot as plt\nplt.plot([1, 3]);",
    "two figures": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nplt.figure(figsize=(2, 1));",
    "figure shown in between": "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nplt.show()\nprint('after')",
    "inline": "%matplotlib inline\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(1, 1))\nax.hist([1, 1, 2]);",
    "frame": "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})",
    "long frame": "import pandas as pd\npd.DataFrame({'a': range(1000)})",
    "series": "import pandas as pd\npd.Series([1.5, None], name='s')",
    "frame option": "import pandas as pd\npd.set_option('display.max_rows', 4)\npd.DataFrame({'a': range(10)})",
    "sympy": "import sympy\nx = sympy.Symbol('x')\nsympy.Integral(x**2, x)",
    "plotly": "import plotly.graph_objects as go, plotly.io as pio\npio.renderers.default = 'plotly_mimetype'\ngo.Figure(go.Bar(y=[1, 2])).show()",
    "array": "import numpy as np\nnp.arange(3000)",
    "tensor": "import torch\ntorch.arange(3)",
    "value": "1 + 1",
    "silenced": "1 + 1;",
    "silenced with a comment": "1 + 1;  # not shown",
    "none": "None",
    "assignment last": "a = 5",
    "several expressions": "1\n2\n3",
    "if at the end": "if True:\n    5",
    "long list": "list(range(2000))",
    "nested": "{'a': {'b': [1, (2, 3)]}, 'c': {4}}",
    "await as a value": "import asyncio\nawait asyncio.sleep(0, 'value')",
}


@pytest.mark.parametrize("source", SAME.values(), ids=SAME.keys())
def test_a_cell_displays_what_it_would_here(pair: Pair, source: str) -> None:
    pair.there(source)


STORIES = {
    "underscore there": ["6 * 7", "_ + 1", "__"],
    "underscore here": ["6 * 7", "HERE\n_ + 1"],
    "underscore from here": ["HERE\n[1, 2]", "_ + [3]"],
    "silence keeps the underscore": ["6 * 7", "5;", "HERE\n_"],
    "update of an earlier cell": ["h = display('a', display_id='mg-kept')", "h.update('c')"],
    "update from here": ["h = display('a', display_id='mg-kept-2')", "HERE\nh.update('d')"],
    "figures in later cells": [
        "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1));",
        "plt.figure(figsize=(1, 2));",
        "print('none left')",
    ],
    "sympy printing": [
        "import sympy\nsympy.init_printing(use_latex='mathjax')\nsympy.Rational(1, 3)",
        "sympy.init_printing(use_latex=False, pretty_print=False)",
        "sympy.Rational(1, 3)",
    ],
    "rcParams": ["import matplotlib.pyplot as plt\nplt.rcParams['figure.figsize'] = (1, 1)", "plt.plot([1]);"],
    "a figure made there, shown here": [
        "import matplotlib.pyplot as plt\nfig = plt.figure(figsize=(1, 1))\nplt.close(fig)",
        "HERE\nfig",
    ],
}


@pytest.mark.parametrize("cells", STORIES.values(), ids=STORIES.keys())
def test_a_story_displays_what_it_would_here(pair: Pair, cells: list[str]) -> None:
    pair.story(cells)


def test_a_repr_that_fails_is_shown_beside_those_that_work(kernel: Kernel) -> None:
    own = "class Own:\n    def __repr__(self): raise ValueError('broken')\n    def _repr_html_(self): return 'html'\nOwn()"
    result = kernel.remote(own)
    assert result.bundles("execute_result") == [{"text/html": "html"}]
    assert "ValueError: broken" in result.traceback + result.stderr


def test_out_has_the_value_under_the_cell_s_number(kernel: Kernel) -> None:
    result = kernel.remote("40 + 2")
    number = result.reply["execution_count"]
    assert [m.content["execution_count"] for m in result.messages if m.kind == "execute_result"] == [number]
    assert kernel.print(f"Out[{number}], _{number}") == "42 42"
    assert kernel.remote(f"Out[{number}] + _{number}").value() == "84"


def test_a_widget_shows_at_least_its_text(kernel: Kernel) -> None:
    (bundle,) = kernel.remote("import ipywidgets\nipywidgets.IntSlider(3)").bundles()
    assert bundle["text/plain"] == "IntSlider(value=3)"


def test_a_notebook_bar_moves(kernel: Kernel) -> None:
    """`tqdm.notebook` is a widget: what moves it are comm messages, and they must belong to what was displayed."""
    cell = "from tqdm.notebook import tqdm\nfor i in tqdm(range(3), mininterval=0): pass"
    result = kernel.remote(cell, answers=())
    (bundle,) = result.bundles("display_data")
    opened = {m.content["comm_id"] for m in result.messages if m.kind == "comm_open"}
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] in opened
    values = [
        m.content["data"]["state"].get("value")
        for m in result.messages
        if m.kind == "comm_msg" and "state" in m.content["data"]
    ]
    assert 3 in values
    assert {m.content["comm_id"] for m in result.messages if m.kind == "comm_msg"} <= opened


def test_a_missing_widget_library_is_not_our_error(kernel: Kernel) -> None:
    """What a cell displays is mime bundles; this kernel need not be able to import what made them."""
    kernel.run("import sys\nsys.modules['sympy'] = None")
    result = kernel.remote("import sympy\nsympy.Symbol('y') + 1;\nprint('made there')")
    kernel.run("del sys.modules['sympy']")
    assert result.stdout == "made there\n"
