"""Which strings of a cell count as paths of local files."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.plan.cell.references import paths


@pytest.mark.parametrize(
    "source, found",
    [
        ("open('data/x.csv')", ["data/x.csv"]),
        ("open('x.csv').read()", ["x.csv"]),
        ("open('README')", ["README"]),
        ("open('x.csv', 'rb')", ["x.csv"]),
        ("open('x.csv', 'a')", ["x.csv"]),
        ("open('x.csv', 'w')", []),
        ("open('x.csv', mode='xb')", []),
        ("Path('a/b')", ["a/b"]),
        ("Path('notes')", ["notes"]),
        ("Path('data') / 'x' / 'y.csv'", ["data/x/y.csv"]),
        ("pathlib.Path('data', 'x.csv')", ["data/x.csv"]),
        ("os.path.join('data', 'x.csv')", ["data/x.csv"]),
        ("os.path.join(root, 'x.csv')", ["x.csv"]),
        ("', '.join(names)", []),
        ("(Path(root) / 'x.csv')", ["x.csv"]),
        ("pd.read_csv('my data.csv')", ["my data.csv"]),
        ("pd.read_csv(filepath_or_buffer='x.csv')", ["x.csv"]),
        ("np.load('weights.npy')", ["weights.npy"]),
        ("torch.load('checkpoint')", ["checkpoint"]),
        ("name = '../up.txt'", ["../up.txt"]),
        ("name = '/home/me/x.csv'", ["/home/me/x.csv"]),
        ("name = '~/x.csv'", ["~/x.csv"]),
        ("files = ['a.csv', 'b.csv', 'a.csv']", ["a.csv", "b.csv"]),
        ("def f(path='a.csv'):\n    'Reads a.txt'\n    return path", ["a.csv"]),
        ("df.to_csv('out.csv')", []),
        ("plt.savefig('figure.png')", []),
        ("torch.save(model, Path('out') / 'm.pt')", []),
        ("torch.save(torch.load('in.pt'), 'out.pt')", ["in.pt"]),
        ("'''A text about x.csv.'''", []),
        ("f'{root}/x.csv'", []),
        ("f\"{open('x.csv').read()}\"", ["x.csv"]),
        ("requests.get('https://host/x.csv')", []),
        ("open('https://host/x.csv')", []),
        ("open('/proc/meminfo'), open('/dev/null')", []),
        ("s = 'plain text'", []),
        ("s = 'a sentence that ends. '", []),
        ("s = '3.14'", []),
        ("s = ''", []),
        ("s = '/'; t = '..'; u = './'; v = '-x.y'", []),
        ("s = 'line\\nline.txt'", []),
        ("s = '*.csv'", []),
        ("s = '<b>x</b>'", []),
        ("x = b'x.csv'", []),
        ("!python train.py --config=conf/a.yaml -v > out.log", ["train.py", "conf/a.yaml"]),
        ("!cat a.txt >> b.txt 2>err.txt", ["a.txt"]),
        ("!pip install -r requirements.txt", ["requirements.txt"]),
        ('!echo "it\'s" x.csv', ["x.csv"]),
        ("!echo 'unclosed x.csv", ["x.csv"]),
        ("!/usr/bin/env true", []),
        ("out = !wc -l data/x.csv", ["data/x.csv"]),
        ("%run script.py arg", ["script.py"]),
        ("%%writefile out.py\nopen('x.csv')", []),
        ("%%bash\nhead data/x.csv  # not y.csv\nwc z.csv", ["data/x.csv", "z.csv"]),
        ("%%html\n<img src='x.png'>", []),
        ("%%time\nopen('x.csv')", ["x.csv"]),
        ("%timeit -n 1 open('x.csv')", ["x.csv"]),
        ("not python (", []),
    ],
)
def test_paths(source: str, found: list[str]) -> None:
    assert list(paths(source)) == found


def test_a_tree_too_deep_to_follow() -> None:
    assert paths("open('x.csv')\ny = " + " + ".join(["x"] * 900)) == ("x.csv",)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_string(text: str) -> None:
    for source in (text, f"open({text!r})", f"!cat {text}"):
        assert all(paths(source))
