"""The shell is one shell: options, magics and how values are shown hold on both sides, whichever side has set them.

Each case is a list of cells; `N` runs in the notebook's process, `R` under the magic. All run natively as well, in a
kernel that never heard of the extension, and must show the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Result

TEXT = "get_ipython().display_formatter.formatters['text/plain']"

CASES = {
    "all expressions of a cell, set on the class": [
        "N from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.ast_node_interactivity = 'all'",
        "R 1\n2\n3",
        "N 1\n2",
        "N get_ipython().ast_node_interactivity = 'last_expr'",
        "R 1\n2",
        "R get_ipython().ast_node_interactivity = 'none'\n1",
        "N 2",
        "R 3",
        "N %config InteractiveShell.ast_node_interactivity = 'last_expr'",
        "R 4",
    ],
    "the precision of numbers": [
        "N %precision 2\n3.14159",
        "R 3.14159, [2.71828]",
        "R %precision 4\n3.14159",
        "N 3.14159",
        "N %precision %r",
        "R 3.14159",
    ],
    "what sympy.init_printing sets": [
        "N import sympy\nsympy.init_printing()\nx = sympy.Symbol('x')\nx**2",
        "R x**2",
        "R [x, {x: x**3}, 5]",
        "R sympy.init_printing(use_latex='mathjax', use_unicode=False)\nsympy.sqrt(x)",
        "N sympy.sqrt(x)",
        "N sympy.init_printing(pretty_print=False)\nx / 2",
        "R [x / 2]",
        "R sympy.init_printing(use_latex=False)\nx / 3",
        "N x / 3",
        "R x / 4",
    ],
    "%pprint": ["N %pprint", "R list(range(50))", "R %pprint", "N list(range(50))", "R list(range(50))"],
    "the length of sequences": [
        f"R {TEXT}.max_seq_length = 5",
        "N list(range(50))",
        f"N {TEXT}.max_seq_length = 1000",
        "R list(range(50))",
    ],
    "a printer of a class of the notebook": [
        f"N word = 'a T'\nclass T: pass\ndef show(value, p, cycle): p.text(word)\n{TEXT}.for_type(T, show); T()",
        "R T()",
        "R word = 'one T'\nT()",
        "N T()",
        "R class U(T): pass\nU()",
        "N U(), [T()]",
        f"R {TEXT}.for_type(U, lambda value, p, cycle: p.text('a U')); U()",
        "N U(), T()",
        f"N {TEXT}.pop(T); isinstance(T(), T)",
        "R U(), repr(T()).startswith('<__main__.T object')",
    ],
    "a printer that is set anew, and one that is removed there": [
        f"N {TEXT}.for_type(complex, lambda value, p, cycle: p.text('first')); 1j",
        "R 1j",
        f"N {TEXT}.for_type(complex, lambda value, p, cycle: p.text('second')); 1j",
        "R 1j",
        f"R {TEXT}.pop(complex)\n1j",
        "N 1j",
    ],
    "a printer in HTML": [
        "N class H: pass\nget_ipython().display_formatter.formatters['text/html'].for_type(H, lambda value: '<b>H</b>')\n"
        "def plain(value, p, cycle): p.text('H')\nget_ipython().display_formatter.formatters['text/plain'].for_type(H, plain); H()",
        "R H()",
    ],
    "a line magic of the notebook": [
        "N from IPython.core.magic import register_line_magic, register_cell_magic\nfactor = 2\n"
        "@register_line_magic\ndef times(line): return line * factor",
        "R %times ab",
        "R factor = 3\n%times ab",
        "N %times ab",
        "N factor = 4",
        "R got = %times ab\ngot",
        "R @register_line_magic\ndef minus(line): return line[:-1]\n%minus abc",
        "N %minus abc",
        "N @register_line_magic\ndef minus(line): return line[1:]\n%minus abc",
        "R %minus abc",
    ],
    "a cell magic of the notebook": [
        "N cells = []\n@register_cell_magic\ndef keep(line, cell): cells.append((line, cell)); print('kept', line)",
        "R %%keep there\nsome text\n",
        "R cells",
        "N %%keep here\nsome text\n",
        "R len(cells), cells[-1]",
    ],
    "a cell magic in the place of one of IPython's": [
        "N @register_cell_magic\ndef sh(line, cell): print('not a shell:', cell)",
        "R %%sh\necho hello",
    ],
    "an alias": [
        "N %alias hello echo hello",
        "R %hello there",
        "R %alias bye echo bye",
        "N %bye",
        "N %unalias hello",
        "R %bye",
    ],
    "another name for a magic": [
        "N @register_line_magic\ndef double(line): return 2 * line",
        "N %alias_magic -l twofold double",
        "R %twofold a",
        "R %alias_magic -l both double -p x",
        "N %both b",
        "N %alias_magic -l rep double",
        "R %rep c",
        "R %alias_magic -l rep recall",
        "N get_ipython().find_line_magic('rep').pretty_target",
    ],
    "a class with magics": [
        "N from IPython.core.magic import Magics, magics_class, line_magic, cell_magic, needs_local_scope\n"
        "unit = 'm'\n@magics_class\nclass Counting(Magics):\n    calls = []\n    @needs_local_scope\n    @line_magic\n"
        "    def count(self, line, local_ns=None):\n        self.calls.append(line + unit)\n"
        "        return len(self.calls), 'inner' in local_ns\n"
        "    @cell_magic\n    def counted(self, line, cell): self.calls.append(cell); print(self.calls, unit)\n"
        "get_ipython().register_magics(Counting)",
        "N %count a",
        "R unit = 'km'",
        "R %count b",
        "R def within():\n    inner = 1\n    return get_ipython().run_line_magic('count', 'c')\nwithin()",
        "R %%counted\nd\n",
        "N %count e\nCounting.calls",
    ],
    "a class with magics there": [
        "R @magics_class\nclass Loud(Magics):\n    def __init__(self, shell): super().__init__(shell); self.sign = '!'\n"
        "    @line_magic\n    def loud(self, line): return line + self.sign\nget_ipython().register_magics(Loud)",
        "R %loud a",
        "N %loud b",
    ],
    "an extension": [
        "N open('extension_here.py', 'w').write('def load_ipython_extension(shell):\\n    '\n"
        '    \'shell.register_magic_function(lambda line: print("here:", line), "line", "extended")\\n\'\n'
        '    \'def unload_ipython_extension(shell): del shell.magics_manager.magics["line"]["extended"]\')',
        "N %load_ext extension_here",
        "R %extended a",
        "N %extended b",
        "N %unload_ext extension_here",
        "R %extended c",
    ],
    "an extension there": [
        "N open('extension_there.py', 'w').write('def load_ipython_extension(shell):\\n    '\n"
        '    \'shell.register_magic_function(lambda line: print("there:", line), "line", "extended_there")\')',
        "R %load_ext extension_there",
        "R %extended_there a",
        "N %extended_there b",
    ],
    "a transformer of code": [
        "N import ast\nfactor, seen = 3, []\nclass Times(ast.NodeTransformer):\n"
        "    def visit_Constant(self, node):\n        if type(node.value) is not int: return node\n"
        "        seen.append(node.value)\n        return ast.copy_location(ast.Constant(node.value * factor), node)\n"
        "get_ipython().ast_transformers.append(Times())",
        "N 3",
        "R 4",
        "R factor = 2",
        "R 5",
        "N 6",
        "N list(seen)",
        "R get_ipython().ast_transformers.clear()",
        "N 7",
        "R 8",
    ],
    "the mode of tracebacks": [
        "N %xmode Minimal",
        "R 1 / 0",
        "R %xmode Plain",
        "R 1 / 0",
        "N %xmode Context",
        "R 1 / 0",
    ],
    "colours": [
        "N %colors NoColor",
        "R 1 / 0",
        "R %colors Linux",
        "N 1 / 0",
        "R 1 / 0",
        "N %colors Neutral",
        "R 1 / 0",
    ],
    # The last ones: no cell can switch a feature off.
    "a feature of __future__ here": [
        "R def strict(x: Undefined): pass",
        "N from __future__ import annotations\ndef lax(x: Undefined): pass",
        "R def lax_there(x: Undefined): return x\nlax_there.__annotations__, lax.__annotations__",
        "N lax_there.__annotations__, lax_there(1)",
    ],
    "a feature of __future__ there": [
        "R from __future__ import barry_as_FLUFL\n1 <> 2",
        "N 1 <> 2, 1 <> 1",
        "R 1 <> 2\ndef both(x: Undefined): return x <> 2",
        "N both(1), both.__annotations__",
    ],
}


@pytest.fixture(scope="module")
def native() -> Iterator[Kernel]:
    with Kernel() as kernel:
        yield kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.load()
        yield kernel


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES.keys())
def test_the_shell_is_the_same_on_both_sides(cells: list[str], pair: Pair) -> None:
    pair.sides(cells)


LINES = {
    "a macro": [
        "N from IPython.core.macro import Macro\nstep = 1\nadvance = Macro('step += 1\\nprint(step)\\n')",
        "N advance",
        "R advance",
        "R twice = Macro('step *= 2\\n')",
        "R twice",
        "N twice",
        "N step",
    ],
    "calls without parentheses": [
        "N def told(x): print('told', x)",
        "R ,told a",
        "R /told 3",
        "N %autocall 1",
        "R told 4",
        "R %autocall 0",
        "N told (5)",
    ],
}


@pytest.mark.parametrize("cells", LINES.values(), ids=LINES.keys())
def test_a_cell_of_one_line_is_read_as_one(cells: list[str], native: Kernel, kernel: Kernel) -> None:
    """IPython reads such a cell in ways of its own; the header above it does not count."""
    for cell in cells:
        side, source = cell[0], cell[2:]
        expected = native.run(source)
        result = kernel.remote(source, "T4") if side == "R" else kernel.run(source)
        assert (result.stdout, result.error) == (expected.stdout, expected.error), cell


FIGURES = {
    "a format": ["N %config InlineBackend.figure_formats = ['svg']"],
    "a format, set there": ["R %config InlineBackend.figure_formats = ['png', 'pdf']"],
    "a function of the backend's": [
        "N from matplotlib_inline.backend_inline import set_matplotlib_formats\nset_matplotlib_formats('jpeg', 'svg')"
    ],
    "the default, by the function": ["R set_matplotlib_formats('png')"],
    "arguments": ["N %config InlineBackend.print_figure_kwargs = {'dpi': 20}"],
    "twice the size": [
        "N %config InlineBackend.figure_format = 'retina'",
        "N %config InlineBackend.print_figure_kwargs = {}",
    ],
}


def test_figures_have_the_formats_that_were_set(native: Kernel, kernel: Kernel) -> None:
    """Before any figure was drawn in the container, and after; whichever side sets the format."""
    for each in (native, kernel):
        assert each.run("%matplotlib inline\nimport matplotlib.pyplot as plt").ok
    for name, cells in FIGURES.items():
        for cell in cells:
            assert native.run(cell[2:]).ok
            assert (kernel.run(cell[2:]) if cell[0] == "N" else kernel.remote(cell[2:], "T4")).ok, name
        plot = "figure = plt.plot([1, 2, 4]); plt.show()"
        expected = bundles(native.run(plot))
        assert bundles(kernel.remote(plot, "T4")) == expected, name
        assert bundles(kernel.run(plot)) == expected, name


def bundles(result: Result) -> list[dict[str, object]]:
    """The mime types of the figures; of PNGs, the picture itself, which depends on nothing but the arguments."""
    shown = [message for message in result.messages if message.kind == "display_data" and not message.ours]
    return [
        {kind: data if kind == "image/png" else "" for kind, data in message.content["data"].items()}
        for message in shown
    ]


INLINE = "import matplotlib; matplotlib.use('module://matplotlib_inline.backend_inline'); matplotlib.interactive(True)"


@pytest.mark.parametrize("chosen", ["matplotlib.use('agg')", "plt.ioff()"])
def test_a_new_container_shows_no_figures_where_the_notebook_shows_none(renewed: Kernel, chosen: str) -> None:
    """The container imports pyplot in the cell, and would show the figure by itself."""
    assert renewed.run("import matplotlib, matplotlib.pyplot as plt; plt.plot([1]); None").bundles("display_data")
    assert renewed.run(chosen).ok
    drawn = renewed.remote("import matplotlib.pyplot as plt; plt.plot([2]); None")
    assert drawn.ok, drawn.error
    assert drawn.bundles("display_data") == []
    assert renewed.run(INLINE).ok
    assert renewed.remote("plt.close('all'); plt.plot([3]); None").bundles("display_data")
