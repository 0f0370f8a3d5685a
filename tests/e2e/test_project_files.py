"""Files of the notebook's project in cells: the same cells run natively and under the magic must see the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Pair
from tests.e2e.kernel import Kernel

FILES: dict[str, str | bytes] = {
    "inputs/x.csv": "a,b\n1,2\n",
    "inputs/parts/1.csv": "1",
    "inputs/parts/2.csv": "2",
    "inputs/parts/my file é.csv": "3",
    "inputs/parts/.hidden": "h",
    "inputs/parts/deep/er/9.csv": "9",
    "cfg.yaml": "lr: 0.1\n",
    "work/near/a.txt": "near a",
    "work/near/b.txt": "near b",
    "work/near/sub/c.txt": "near c",
    "work/plain": "no extension",
    "setup.cfg": "[a]\nb = 1\n",
}


def write(kernel: Kernel, path: str, content: str | bytes) -> Path:
    """Write a file into the project of a kernel: the parent folder of the one that the kernel runs in."""
    target = kernel.home / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


def write_both(pair: Pair, path: str, content: str | bytes) -> None:
    for kernel in (pair.native, pair.kernel):
        write(kernel, path, content)


@pytest.fixture(scope="module", autouse=True)
def _project(kernel: Kernel, native: Kernel) -> None:
    for each in (kernel, native):
        for path, content in FILES.items():
            write(each, path, content)
        (each.home / "inputs/empty").mkdir()


MADE_HERE = {
    "a text": ("os.makedirs('made/one')", "open('made/one/x.txt', 'w').write('1')"),
    "a path with a number": (
        "run = 7\nos.makedirs(f'made/run{run}/deep')",
        "open(f'made/run{run}/deep/x.txt', 'w').write('2')",
    ),
    "a path of the notebook's": (
        "from pathlib import Path\nbase = Path('made/two')\nbase.mkdir(parents=True)",
        "(base / 'x.txt').write_text('3')",
    ),
    "a function of the notebook's": (
        "os.makedirs('made/three')\ndef keep(name): open(os.path.join('made', 'three', name), 'w').close()",
        "keep('x.txt')\nos.listdir('made/three')",
    ),
    "pandas": ("os.makedirs('made/four')", "import pandas\npandas.DataFrame({'a': [1]}).to_csv('made/four/x.csv')"),
    "torch": ("os.makedirs('made/five')", "import torch\ntorch.save([1], 'made/five/x.pt')"),
    "the working directory": ("os.makedirs('made/six')", "%cd -q made/six\nopen('x.txt', 'w').close()\n%cd -q ../.."),
}


@pytest.mark.parametrize("here, there", MADE_HERE.values(), ids=MADE_HERE.keys())
def test_a_folder_that_the_notebook_made_can_be_written_to(pair: Pair, here: str, there: str) -> None:
    pair.here(f"import os\n{here}")
    pair.there(there)


CASES = {
    "above": "open('../inputs/x.csv').read()",
    "far above": "open('../cfg.yaml').read(), open('../work/near/a.txt').read()",
    "a path of parts": "from pathlib import Path\n(Path('..') / 'inputs' / 'x.csv').read_text()",
    "the working directory's parent": "from pathlib import Path\n(Path.cwd().parent / 'inputs' / 'x.csv').read_text()",
    "joined": "import os\nopen(os.path.join('..', 'inputs', 'x.csv')).read()",
    "pandas": "import pandas as pd\npd.read_csv('../inputs/x.csv').to_dict()",
    "an extension is not needed": "open('plain').read()",
    "glob": "from glob import glob\nsorted(glob('../inputs/parts/*.csv'))",
    "glob of nothing": "import glob\nglob.glob('../inputs/parts/*.parquet')",
    "glob below": "import glob\nsorted(glob.glob('near/**/*.txt', recursive=True))",
    "glob in the folder itself": "import glob\nsorted(glob.glob('*/*.txt'))",
    "root_dir": "import glob\nsorted(glob.glob('*.csv', root_dir='../inputs/parts'))",
    "Path.glob": "from pathlib import Path\nsorted(map(str, Path('near').glob('*.txt')))",
    "Path.rglob": "from pathlib import Path\nsorted(map(str, Path('../inputs').rglob('*.csv')))",
    "iterdir": "from pathlib import Path\nsorted((p.name, p.is_dir()) for p in Path('near').iterdir())",
    "listdir": "import os\nsorted(os.listdir('../inputs/parts'))",
    "listdir of a made name": "import os\nroot = '../inputs'\n[sorted(os.listdir(f'{root}/{each}')) for each in ('parts', 'empty')]",
    "walk": "import os\nsorted((a, sorted(b), sorted(c)) for a, b, c in os.walk('../inputs'))",
    "scandir": "import os\nsorted((e.name, e.is_file()) for e in os.scandir('near'))",
    "an empty directory": "import os\nos.listdir('../inputs/empty')",
    "a directory in directories": "import os\n[(d, sorted(os.listdir(os.path.join('../inputs', d)))) for d in sorted(os.listdir('../inputs')) if os.path.isdir('../inputs/' + d)]",
    "exists": "import os\nos.path.exists('../inputs/x.csv'), os.path.exists('near'), os.path.exists('nowhere.csv')",
    "is_dir": "from pathlib import Path\nPath('../inputs').is_dir(), Path('../inputs/x.csv').is_file(), Path('../inputs/x.csv').stat().st_size",
    "f-string": "[open(f'../inputs/parts/{i}.csv').read() for i in (1, 2)]",
    "f-string of a name": "names = ['1', 'my file é']\n[open(f'../inputs/parts/{n}.csv').read() for n in names]",
    "percent": "[open('../inputs/parts/%d.csv' % i).read() for i in (1, 2)]",
    "format": "[open('near/{}.txt'.format(n)).read() for n in 'ab']",
    "plus": "[open('near/' + n + '.txt').read() for n in 'ab']",
    "a path and an f-string": "from pathlib import Path\n[(Path('near') / f'{n}.txt').read_text() for n in 'ab']",
    "with_suffix": "from pathlib import Path\nPath('near/a.csv').with_suffix('.txt').read_text()",
    "constants of the cell": "ROOT = '../inputs'\nNAME = ROOT + '/x.csv'\nopen(NAME).read()",
    "in a function of the cell": "def load(name):\n    with open('../inputs/parts/' + name) as file:\n        return file.read()\nload('1.csv')",
    "times": "import os\nsorted(os.listdir('near'), key=os.path.getmtime) and os.path.getsize('near/a.txt')",
    "shell": "!cat ../inputs/x.csv near/*.txt",
    "shell and a variable": "where = '../inputs/x.csv'\n!cat {where}",
    "ls": "!ls near",
    "cd": "import os\nbefore = os.getcwd()\nos.chdir('near')\ntext = open('a.txt').read(), open('../../cfg.yaml').read()\nos.chdir(before)\ntext",
    "the names of the directories": "import os\nos.path.basename(os.getcwd())",
    "a loop over words": "import os\n[sorted(os.listdir(d)) for d in ['near', 'pkgs'] if os.path.exists(d)]",
    "a function of a directory": "import os\ndef names(root):\n    return sorted(os.listdir(root))\nnames('near')",
    "a default argument": "import os\ndef names(root='near'):\n    return sorted(os.listdir(root))\nnames()",
    "glob under another name": "import glob as g\nsorted(g.glob('near/*.txt'))",
    "from os": "from os import listdir, path\nsorted(listdir('near')), path.isfile(path.join('near', 'a.txt'))",
    "osp": "import os.path as osp\nopen(osp.join('..', 'inputs', 'x.csv')).read(), osp.getsize(osp.join('near', 'a.txt'))",
    "Paths of a loop": "from pathlib import Path\nfor p in sorted(Path('near').glob('**/*')):\n    print(p, p.read_text() if p.is_file() else '/')",
    "any": "from pathlib import Path\nany(Path('near').iterdir()), len(list(Path('../inputs').rglob('*')))",
    "a class": "import glob\nclass Data:\n    def __init__(self, root):\n        self.files = sorted(glob.glob(root + '/*.csv'))\nData('../inputs/parts').files",
    "concat": "import glob, pandas as pd\npd.concat(pd.read_csv(f, header=None) for f in sorted(glob.glob('../inputs/parts/[12].csv')))[0].tolist()",
    "numpy": "import numpy as np\nnp.loadtxt('../inputs/x.csv', delimiter=',', skiprows=1)",
    "zip": "import shutil, zipfile\nname = shutil.make_archive('/tmp/mgt-zip', 'zip', 'near')\nsorted(zipfile.ZipFile(name).namelist())",
    "shell tests": "![ -d near ] && echo yes; test -f ../cfg.yaml && echo too\n!find near -name '*.txt' | sort",
    "shell in a loop": "for n in 'ab':\n    !cat near/{n}.txt",
    "a capture": "out = !ls ../inputs/parts\nlist(out)",
    "environment": "import os\nos.environ['MGT_ROOT'] = 'near'\nsorted(os.listdir(os.environ['MGT_ROOT']))",
    "an awaited read": "import asyncio\nawait asyncio.to_thread(lambda: open('near/a.txt').read())",
    "threads": "from concurrent.futures import ThreadPoolExecutor\nlist(ThreadPoolExecutor(2).map(lambda n: open(f'near/{n}.txt').read(), 'ab'))",
    "fileinput": "import fileinput\n[line for line in fileinput.input(['near/a.txt', 'near/b.txt'])]",
    "csv and json": "import csv\nlist(csv.DictReader(open('../inputs/x.csv')))",
    "configparser": "import configparser\nc = configparser.ConfigParser()\nc.read('../setup.cfg')",
    "outside": "try:\n    open('../../nowhere/x')\nexcept FileNotFoundError as e:\n    print(e)",
}


@pytest.mark.parametrize("source", CASES.values(), ids=CASES.keys())
def test_a_cell_sees_the_files_that_it_sees_natively(pair: Pair, source: str) -> None:
    pair.there(source)


SCRIPTS: dict[str, str] = {
    "work/main.py": (
        "import sys\nfrom helper import double\nfrom pkg.mod import word\n"
        "print(sys.argv[1:], double(2), word(), open('near/a.txt').read(), sys.path[0].split('/')[-1])\n"
    ),
    "work/helper.py": "import lower\ndef double(x): return lower.times(x, 2)\n",
    "work/lower.py": "def times(x, n): return x * n\n",
    "work/pkg/__init__.py": "",
    "work/pkg/mod.py": (
        "from pathlib import Path\nfrom . import other\n"
        "def word(): return other.W + (Path(__file__).parent / 'word.txt').read_text()\n"
        "if __name__ == '__main__':\n    print(word(), open('../cfg.yaml').read())\n"
    ),
    "work/pkg/other.py": "W = 'w'\n",
    "work/pkg/word.txt": "ord",
    "work/pkg/__main__.py": "print('as a program', __name__)\n",
    "work/scripts/tool.py": (
        "import sys, os, beside\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        "print(beside.NAME, sys.argv[1:], open(os.path.join(here, 'tool.json')).read(), open('plain').read())\n"
    ),
    "work/scripts/beside.py": "NAME = 'beside'\n",
    "work/scripts/tool.json": "{}",
    "work/run all.sh": "set -e\ncd scripts\npython tool2.py\ncd ..\npython main.py from sh\n",
    "work/scripts/tool2.py": "print('second', open('tool.json').read())\n",
    "src/lib.py": "from pathlib import Path\nDATA = Path(__file__).resolve().parent.parent / 'inputs'\ndef rows(): return (DATA / 'x.csv').read_text()\n",
    "work/reads.py": "import glob\ndef parts(): return sorted(glob.glob('../inputs/parts/*.csv'))\ndef one(i): return open(f'../inputs/parts/{i}.csv').read()\n",
}

SCRIPTS |= {
    "work/scripts/finds.py": (
        "import importlib, sys\nfrom pathlib import Path\n"
        "sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'src'))\nimport lib\n"
        "print(lib.rows(), importlib.import_module('beside').NAME)\n"
    ),
    "src/deeper.py": "X = 'deeper'\n",
}

RUNS = {
    "code of the interpreter": "!python -c 'import helper; print(helper.double(3))'",
    "code of a subprocess": "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'import helper; print(helper.double(4))'], text=True))",
    "a shell's code": "import subprocess\nprint(subprocess.check_output(['bash', '-c', 'python main.py z'], text=True))",
    "words": "import subprocess\nprint(subprocess.check_output('python main.py q'.split(), text=True))",
    "a script that edits sys.path": "!python scripts/finds.py",
    "PYTHONPATH": "!PYTHONPATH=../src python -c 'import deeper; print(deeper.X)'",
    "sys.path in the cell": "import sys\nsys.path.append('../src')\nimport deeper\ndeeper.X",
    "sys.path of the cell before": "import deeper as again\nagain.X",
    "shell": "!python main.py a 'b c'",
    "shell with the interpreter": "import sys\n!{sys.executable} main.py",
    "module": "!python -m pkg.mod",
    "package": "!python -m pkg",
    "in a folder": "!python scripts/tool.py x",
    "after cd": "!cd scripts && python tool2.py",
    "a shell script": "!sh 'run all.sh'",
    "subprocess": "import subprocess, sys\nprint(subprocess.run([sys.executable, 'main.py', '1'], capture_output=True, text=True, check=True).stdout)",
    "subprocess of a module": "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-m', 'pkg.mod'], text=True))",
    "subprocess with a shell": "import subprocess\nprint(subprocess.check_output('python scripts/tool.py y', shell=True, text=True))",
    "%run": "%run main.py x",
    "%run in a folder": "%run scripts/tool.py x",
    "%run of a module": "%run -m pkg.mod",
    "runpy": "import runpy\nsorted(set(runpy.run_path('helper.py')) - set(dir(__builtins__)))[-1]",
    "exec": "exec(open('lower.py').read())\ntimes(2, 3)",
    "bash": "%%bash\npython main.py in bash",
    "a module that reads": "import reads\nreads.parts(), reads.one(1)",
}


@pytest.mark.parametrize("source", RUNS.values(), ids=RUNS.keys())
def test_a_script_finds_what_it_finds_natively(pair: Pair, source: str) -> None:
    for path, text in SCRIPTS.items():
        write_both(pair, path, text)
    pair.there(source, ordered=False)  # a native kernel shows runpy's warning when it likes


def test_a_module_of_a_folder_beside_finds_what_lies_around_it(pair: Pair) -> None:
    for path, text in SCRIPTS.items():
        write_both(pair, path, text)
    pair.here("import sys\nsys.path.append('../src')")
    pair.there("import lib\nlib.rows()")
    pair.story(["HERE\nimport lib as here_too", "here_too.rows()"])


def test_an_edited_script_and_what_it_imports_are_sent_again(pair: Pair) -> None:
    write_both(pair, "work/first.py", "import second\nprint(second.X)")
    write_both(pair, "work/second.py", "X = 1")
    pair.there("!python first.py")
    # Python takes a compiled file for current while the source has the same size and the same second.
    write_both(pair, "work/second.py", "X = 'edited'")
    pair.there("!python first.py")


def test_the_notebook_s_own_functions_and_texts_name_files(pair: Pair) -> None:
    pair.story(
        [
            "HERE\nimport os\nfrom pathlib import Path\nROOT = Path('../inputs')\nname = '../inputs/x.csv'\n"
            "CONFIG = {'cfg': '../cfg.yaml'}\n"
            "def load(i):\n    return open(ROOT / 'parts' / f'{i}.csv').read()\n"
            "class Data:\n    def __init__(self, root): self.root = root\n    def names(self): return sorted(os.listdir('../inputs/parts'))\n"
            "data = Data('near/a.txt')",
            "open(name).read(), open(CONFIG['cfg']).read()",
            "[load(i) for i in (1, 2)]",
            "data.names(), open(data.root).read()",
            "sorted(p.name for p in ROOT.iterdir()), (ROOT / 'x.csv').read_text()",
        ]
    )


def test_the_working_directory_holds_no_file_of_ours(fresh: Kernel) -> None:
    listing = "import os\nos.listdir('.'), os.listdir('..'), os.listdir(os.path.join(*('..', '..')))"
    for path in (fresh.home / "work").iterdir():
        path.unlink()
    here, above, top = eval(
        fresh.remote(f"x = 1\nname = chr(46)\n{listing.replace(chr(39) + '.' + chr(39), 'name')}").value()
    )
    assert here == []
    assert "work" in above
    assert len(top) == 1
    assert fresh.remote("import os, sys\nsys.path.index('') > 0, [k for k in os.environ if 'PROJECT' in k]").ok
    (fresh.home / "work/mine.txt").write_text("1")
    assert fresh.remote("import os\nos.listdir()").value() == "['mine.txt']"


def test_edits_and_removals_here_are_seen_there(pair: Pair) -> None:
    listing = "import os\n[(name, open('days/' + name).read()) for name in sorted(os.listdir('days'))]"
    for name in "abc":
        write_both(pair, f"work/days/{name}", name)
    pair.there(listing)
    pair.here("import os\nos.remove('days/a')\nopen('days/b', 'w').write('edited')\nopen('days/d', 'w').write('new')")
    pair.there(listing)
    pair.here("import shutil\nshutil.rmtree('days')")
    pair.there("import os\nplace = ''.join(['da', 'ys'])\nos.path.exists(place)")


def test_the_kernel_s_directory_is_the_cell_s(pair: Pair) -> None:
    pair.story(
        [
            "HERE\nimport os\nos.chdir('near')",
            "import os\nos.path.basename(os.getcwd()), open('a.txt').read(), open('../../cfg.yaml').read()",
            "HERE\nos.chdir('..')",
            "open('near/a.txt').read()",
        ]
    )


def test_a_file_changed_on_both_sides_is_said_and_kept(kernel: Kernel) -> None:
    write(kernel, "work/both.txt", "first")
    assert kernel.remote("open('both.txt').read()").value() == "'first'"
    assert kernel.remote("open('both.txt', 'a').write(' and there')").ok
    assert kernel.remote("open('both.txt').read()").value() == "'first and there'"
    write(kernel, "work/both.txt", "edited here")
    both = kernel.remote("open('both.txt').read()")
    assert both.value() == "'first and there'"
    assert (
        "A cell changed `both.txt` in the container, and the notebook's file differs: the container's file is kept."
        in both.said
    )
    assert "%modal_gpu get session:both.txt ." in both.said
    assert "`both.txt`" in kernel.remote("open('both.txt').read()").said
    assert kernel.remote("import os\nos.remove('both.txt')").ok
    again = kernel.remote("open('both.txt').read()")
    assert again.value() == "'edited here'"
    assert "both.txt" not in again.said


def test_a_file_that_a_cell_wrote_is_not_overwritten_by_another_here(kernel: Kernel) -> None:
    assert kernel.remote("open('made.txt', 'w').write('there')").ok
    write(kernel, "work/made.txt", "here")
    read = kernel.remote("open('made.txt').read()")
    assert read.value() == "'there'"
    assert "A cell changed `made.txt` in the container" in read.said
    write(kernel, "work/made.txt", "there")
    assert "made.txt" not in kernel.remote("open('made.txt').read()").said


def test_what_is_too_much_is_said_before_the_cell_runs(kernel: Kernel) -> None:
    for number in range(3):
        with write(kernel, f"work/heavy/{number}.bin", "").open("wb") as file:
            file.truncate(30_000_000)
    write(kernel, "work/heavy/small.txt", "s")
    listed = kernel.remote("import os\nsorted(os.listdir('heavy'))")
    assert listed.value() == "['small.txt']"
    assert "`heavy/0.bin`, `heavy/1.bin`, `heavy/2.bin` are not sent: the limit is 10 MB a file." in listed.said
    assert "`%modal_gpu put heavy/0.bin NAME:/` puts it on a Volume" in listed.said
    assert listed.notes[0].text.startswith("`heavy/0.bin`")
    for number in range(1_100):
        write(kernel, f"work/many/{number}.txt", "x")
    many = kernel.remote("import glob\nlen(glob.glob('many/*.txt'))")
    assert many.value() == "0"
    assert "`many/*.txt` has 1,100 files (1.1 kB), over the limit of 1,000 files" in many.said
    assert "`%modal_gpu put many NAME:/`" in many.said
    assert "`heavy/2.bin` is not sent" in kernel.remote("!head -c 1 heavy/2.bin").said
    write(kernel, "work/reads_heavy.py", "print(len(open('heavy/2.bin').read()))")
    assert "`heavy/2.bin` is not sent" in kernel.remote("!python reads_heavy.py").said
    tested = kernel.remote("import os\nos.path.exists('heavy/1.bin')")
    assert "`heavy/1.bin` is not sent" in tested.said


def test_what_is_outside_the_project_is_not_sent_and_the_error_says_how(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("outside")
    (kernel.home / "work/link.txt").symlink_to(tmp_path / "secret.txt")
    (kernel.home / "work/linked").symlink_to(tmp_path)
    for path in ("link.txt", "linked/secret.txt"):
        failed = kernel.remote(f"open({path!r}).read()")
        assert failed.error.startswith("FileNotFoundError")
        assert "outside the project" in failed.said
        assert f"%modal_gpu put {path} NAME:/" in failed.said
    listed = kernel.remote("import glob\nglob.glob('linked/*')")
    assert listed.value() == "[]"
    assert "`linked` is outside the project" in listed.said
    assert listed.notes[0].text.startswith("`linked`")
    inside = str(kernel.home / "inputs")
    assert (
        "name it by its path from the notebook's folder, `../inputs`"
        in kernel.remote(f"import os\nos.listdir({inside!r})").said
    )


def test_credentials_do_not_travel_with_their_directory(kernel: Kernel) -> None:
    write(kernel, "work/keys/.env", "TOKEN=1")
    write(kernel, "work/keys/a.txt", "a")
    listed = kernel.remote("import os\nos.listdir('keys')")
    assert listed.value() == "['a.txt']"
    assert "`keys/.env` is not sent: possible credentials." in listed.said
    assert kernel.remote("open('keys/.env').read()").value() == "'TOKEN=1'"


def test_a_file_written_beside_the_notebook_s_folder_is_named_and_fetched(kernel: Kernel) -> None:
    wrote = kernel.remote(
        "import os\nos.makedirs('../outputs', exist_ok=True)\nopen('../outputs/far x.txt', 'w').write('far')"
    )
    assert "wrote ../outputs/far x.txt (3 B): %modal_gpu get 'session:../outputs/far x.txt' ." in wrote.said
    got = kernel.run("%modal_gpu get 'session:../outputs/far x.txt' .")
    assert got.stdout.startswith("got 1 file")
    assert (kernel.home / "work/far x.txt").read_text() == "far"
    assert kernel.remote("open('../outputs/far x.txt').read()").value() == "'far'"


def test_ranks_run_in_the_same_directory(kernel: Kernel) -> None:
    source = (
        "import os\nnames = [os.path.basename(os.getcwd()), sorted(os.listdir('near')), open('../inputs/x.csv').read()]"
    )
    ran = kernel.remote(source, "T4:2 --torchrun --session ranks")
    assert ran.ok, ran.traceback
    assert kernel.print("names") == "['work', ['a.txt', 'b.txt', 'sub'], 'a,b\\n1,2\\n']"
    kernel.run("%modal_gpu stop ranks")


def test_a_service_finds_the_files_that_its_cell_names(kernel: Kernel) -> None:
    source = "import os\ndef rows(n): return open('../inputs/x.csv').read()[:n], sorted(os.listdir('near'))"
    assert kernel.remote(source, "--service reader").ok
    assert kernel.print("reader.rows(3)") == "('a,b', ['a.txt', 'b.txt', 'sub'])"
    kernel.run("reader.stop()")
