"""What code names that is not simply a file: directories, patterns, names made at run time, programs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modal_gpu_magic.plan.cell.path_text import HOLE
from modal_gpu_magic.plan.cell.references import of_commands, references

H = HOLE


def named(source: str, **known: str) -> list[str]:
    """References as `how text`, those that are plain files without their `how`; a HOLE as a star."""
    return [
        f"{'' if each.how in ('file', 'needed') else each.how + ' '}{each.text.replace(HOLE, '*')}"
        for each in references(source, known=known)
        if each.how not in ("word", "unsure")
    ]


@pytest.mark.parametrize(
    "source, found",
    [
        # Names that a run makes.
        ("open(f'data/{i}.csv')", ["made data/*.csv"]),
        ("open(f'{i}.csv')", ["made *.csv"]),
        ("open(f'part-{i:03d}.csv.gz')", ["made part-*.csv.gz"]),
        ("path = f'../data/{split}/{i}.npy'", ["made ../data/*/*.npy"]),
        ("pd.read_csv('data/%d.csv' % i)", ["made data/*.csv"]),
        ("pd.read_csv('data/%s_%03d.csv' % (a, i))", ["made data/*_*.csv"]),
        ("open('data/{}.csv'.format(i))", ["made data/*.csv"]),
        ("open('data/{name:>3}.csv'.format(name=i))", ["made data/*.csv"]),
        ("open('data/' + name)", ["made data/*"]),
        ("open('data/' + name + '.csv')", ["made data/*.csv"]),
        ("open('data/' + str(i) + '.csv')", ["made data/*.csv"]),
        ("open(os.path.join('data', name))", ["made data/*"]),
        ("open(os.path.join('data', f'{i}.csv'))", ["made data/*.csv"]),
        ("Path('data') / f'{n}.txt'", ["made data/*.txt"]),
        ("Path('data') / name / 'x.txt'", ["made data/*/x.txt"]),
        ("Path('data', name)", ["made data/*"]),
        ("Path('data').joinpath(name)", ["made data/*"]),
        ("Path('data/a.csv').with_suffix('.json')", ["data/a.json"]),
        ("(Path('data') / 'a.csv').read_text()", ["data/a.csv"]),
        ("Path('..') / 'data' / 'x.csv'", ["../data/x.csv"]),
        ("Path.cwd() / 'data' / 'x.csv'", ["./data/x.csv"]),
        ("Path.cwd().parent / 'x.csv'", ["../x.csv"]),
        ("open(os.path.abspath('../x.csv'))", ["../x.csv"]),
        ("print(f'{a}/{b}')", []),
        ("print(f'epoch {e}: {loss:.3f}.')", []),
        ("print('%d/%d' % (i, n))", []),
        ("print('loss ' + str(x))", []),
        ("url = f'https://host/{x}.csv'", []),
        ("total = a / b", []),
        ("f'{root}/x.csv'", []),
        ("df.to_csv(f'out/{i}.csv')", ["written out/*.csv"]),
        ("open(f'out/{i}.csv', 'w')", ["written out/*.csv"]),
        ("out = Path('out/run')\n(out / 'x.json').write_text('')", ["out/run", "written out/run/x.json"]),
        ("torch.save({'a': 1}, 'out/model.pt')", ["written out/model.pt"]),
        ("file.write('a/b\\n')", []),
        ("Path('out.txt').write_text('x')", []),
        ("Path('out.txt').open('w')", []),
        ("with Path(f'in/{i}.txt').open() as f: pass", ["made in/*.txt"]),
        # Directories and patterns.
        ("glob('data/*.csv')", ["glob data/*.csv"]),
        ("glob.glob('data/**/*.csv', recursive=True)", ["glob data/**/*.csv"]),
        ("glob.glob(f'data/{split}/*.csv')", ["glob data/*/*.csv"]),
        ("glob.glob('*.csv', root_dir='data')", ["glob data/*.csv"]),
        ("glob.glob('*.csv')", ["glob *.csv"]),
        ("glob.glob(os.path.join('data', '*.csv'))", ["glob data/*.csv"]),
        ("Path('data').glob('*.txt')", ["glob data/*.txt"]),
        ("Path('data').rglob('*.txt')", ["glob data/**/*.txt"]),
        ("(Path('..') / 'data').glob('*')", ["glob ../data/*"]),
        ("Path('.').glob('*.csv')", ["glob ./*.csv"]),
        ("Path().rglob('*.py')", ["glob ./**/*.py"]),
        ("where.glob('*.csv')", ["glob *.csv"]),
        ("import glob as g\ng.glob('data/*.csv')", ["glob data/*.csv"]),
        ("pick().glob('*.csv')", []),
        ("from os.path import join\nopen(join('data', 'x.csv'))", ["data/x.csv"]),
        ("def f(root='data', *, name='x.csv'):\n    return open(f'{root}/{name}')", ["x.csv", "data/x.csv"]),
        ("Path('data').iterdir()", ["listed data"]),
        ("os.listdir('data')", ["listed data"]),
        ("os.listdir('../data')", ["listed ../data"]),
        ("os.listdir()", ["listed ."]),
        ("os.listdir('.')", ["listed ."]),
        ("os.listdir(f'data/{split}')", ["listed data/*"]),
        ("os.listdir(os.path.join('data', split))", ["listed data/*"]),
        ("sorted(os.scandir('my data'), key=str)", ["listed my data"]),
        ("for a, b, c in os.walk('données'): pass", ["listed données"]),
        ("ast.walk(tree)", []),
        ("shutil.copytree('data', 'copy')", ["listed data"]),
        ("os.path.exists('data')", ["tested data"]),
        ("os.path.exists('data/x.csv')", ["tested data/x.csv"]),
        ("Path('data/x.csv').exists()", ["tested data/x.csv"]),
        ("Path('data').is_dir()", ["tested data"]),
        ("os.path.exists(f'data/{i}.csv')", ["made data/*.csv"]),
        ("ImageFolder('data/train')", ["folder data/train", "data/train"]),
        ("MNIST('data', train=True)", ["folder data"]),
        ("load_dataset('imagefolder', data_dir='data')", ["imagefolder", "folder data"]),
        # Constants of the cell.
        ("root = 'data'\nos.listdir(root)", ["listed data"]),
        ("ROOT = Path('../data')\nopen(ROOT / 'x.csv')", ["../data", "../data/x.csv"]),
        ("root = 'data'\npd.read_csv(f'{root}/x.csv')", ["data/x.csv"]),
        ("root = 'data'\nroot = other\nos.listdir(root)", []),
        ("def f(root='data'):\n    return os.listdir(root)", ["listed data"]),
        ("os.chdir('../data')\nopen('x.csv')", ["tested ../data", "x.csv", "../data/x.csv"]),
        ("%cd sub\nopen('x.csv')", ["tested sub", "x.csv", "sub/x.csv"]),
        ("%cd -q sub\nopen('x.csv')", ["tested sub", "x.csv", "sub/x.csv"]),
        ("%pushd sub", ["tested sub"]),
        # Programs.
        ("!python main.py", ["main.py"]),
        ("!python -m pkg.mod --x 1", ["module pkg.mod", "folder 1"]),
        ("!python scripts/main.py data/a.csv data", ["scripts/main.py", "data/a.csv", "folder data"]),
        ("!{sys.executable} main.py", ["main.py"]),
        ("!cd sub && python main.py", ["tested sub", "main.py", "sub/main.py"]),
        ("!python train_{i}.py", ["made train_*.py"]),
        ("!PYTHONPATH=. python main.py", ["entry .", "main.py"]),
        ("!ls", ["listed ."]),
        ("!ls -l data", ["listed data"]),
        ("%ls data", ["listed data"]),
        ("!cat data/*.csv", ["glob data/*.csv"]),
        ("!wc -l 'my data/x y.csv'", ["my data/x y.csv"]),
        ("!cat a.txt | grep x; wc b.txt", ["a.txt", "folder x", "b.txt"]),
        ("subprocess.run([sys.executable, 'main.py', '--n', '2'])", ["main.py"]),
        ("subprocess.run([sys.executable, '-m', 'pkg.mod'], check=True)", ["module pkg.mod", "pkg.mod"]),
        ("subprocess.run('python main.py a.txt', shell=True)", ["main.py", "a.txt"]),
        ("os.system('python -m pkg')", ["module pkg"]),
        ("%run main.py x", ["main.py", "folder x"]),
        ("%run -m pkg.mod", ["module pkg.mod"]),
        ("runpy.run_path('main.py')", ["main.py"]),
        ("runpy.run_path('app')", ["app"]),
        ("runpy.run_module('pkg.mod')", ["module pkg.mod"]),
        ("exec(open('main.py').read())", ["main.py"]),
        ("%%bash\npython main.py\nls data", ["main.py", "listed data"]),
        ("!python -c 'import one, two.three; open(\"a.csv\")'", ["a.csv", "module one", "module two"]),
        ("subprocess.run([sys.executable, '-c', 'import one'])", ["module one"]),
        ("subprocess.run(['bash', '-c', 'python main.py'])", ["main.py", "python main.py"]),
        ("subprocess.run('python main.py'.split())", ["main.py"]),
        ("importlib.import_module('one')", ["module one"]),
        ("sys.path.append('../src')", ["entry ../src"]),
        ("sys.path.insert(0, os.path.abspath('../src'))", ["entry ../src"]),
        ("sys.path.extend(['lib', '../src'])", ["entry lib", "entry ../src", "../src"]),
        ("!PYTHONPATH=src python main.py", ["entry src", "main.py"]),
        ("not python (", []),
    ],
)  # fmt: skip
def test_references(source: str, found: list[str]) -> None:
    assert named(source) == found


@pytest.mark.parametrize(
    "source, known, found",
    [
        ("open(path)", {"path": "data/x.csv"}, ["data/x.csv"]),
        ("os.listdir(root)", {"root": "data"}, ["listed data"]),
        ("root.glob('*.csv')", {"root": "data"}, ["glob data/*.csv"]),
        ("pd.read_csv(root / 'x.csv')", {"root": "../data"}, ["../data/x.csv"]),
        ("open(f'{root}/{i}.csv')", {"root": "../data"}, ["made ../data/*.csv"]),
        ("root = other\nos.listdir(root)", {"root": "data"}, []),
        ("def f(root): return os.listdir(root)", {"root": "data"}, []),
        ("open(Path(__file__).parent / 'x.csv')", {"__file__": "lib/m.py"}, ["lib/x.csv"]),
        ("open(os.path.join(os.path.dirname(__file__), 'x.csv'))", {"__file__": "lib/m.py"}, ["lib/x.csv"]),
        ("open(Path(__file__).resolve().parents[1] / 'x.csv')", {"__file__": "a/lib/m.py"}, ["a/x.csv"]),
        ("!cat {path} $path", {"path": "data/x.csv"}, ["data/x.csv"]),
        ("print(name)", {"name": "plain"}, []),
    ],
)
def test_with_texts_of_the_notebook(source: str, known: dict[str, str], found: list[str]) -> None:
    assert [each for each in named(source, **known) if each != "lib/m.py"] == found


@pytest.mark.parametrize(
    "source, words, unsure",
    [
        ("for d in ['near', 'far']:\n    os.listdir(d)", ["near", "far"], True),
        ("[os.path.exists(p) for p in ('near',)]", ["near"], True),
        ("open(path)", [], True),
        ("load('near')", ["near"], False),
        ("print('near')", ["near"], False),
        ("os.listdir('near')", [], False),
    ],
)
def test_plain_words_count_where_the_code_is_unsure(source: str, words: list[str], unsure: bool) -> None:
    found = references(source)
    assert [each.text for each in found if each.how == "word"] == words
    assert any(each.how == "unsure" for each in found) == unsure


def test_a_shell_script() -> None:
    script = "#!/bin/sh\nset -e\ncd sub  # there\npython main.py --data a.csv\n"
    assert {each.text for each in of_commands(script)} == {"sub", "main.py", "sub/main.py", "a.csv", "sub/a.csv"}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text(text: str) -> None:
    for source in (
        text,
        f"open({text!r} + x)",
        f"!cd {text}",
        f"glob({text!r})",
        f"f'{{x}}{text}'",
        f"os.listdir({text!r} % 1)",
    ):
        assert all(each.text for each in references(source))
