"""put, get and ls, Volumes around cells, what a cell wrote, and secrets: in a real kernel, on the local backend."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from modal_gpu_magic.session.copy.put import BATCH_BYTES
from tests.e2e.kernel import Kernel, Result


@dataclass(frozen=True, slots=True)
class Desk:
    """A kernel and the folder it runs in."""

    kernel: Kernel

    @property
    def folder(self) -> Path:
        """Where a notebook would be."""
        return self.kernel.home / "work"

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file beside the notebook."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def on_volume(self, volume: str, path: str, content: str) -> Path:
        """Write a file onto a local Volume, as somebody else may."""
        target = self.kernel.home / "data/modal_gpu_magic/volumes" / volume / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        return target

    def line(self, text: str) -> Result:
        """Run `%modal_gpu TEXT`."""
        return self.kernel.run(f"%modal_gpu {text}")

    def says(self, text: str) -> str:
        """What a line prints."""
        result = self.line(text)
        assert result.ok, result.error
        return result.stdout.strip()


@pytest.fixture(scope="module")
def desk(kernel: Kernel) -> Desk:
    """One for all tests of the module, so each uses names of its own."""
    return Desk(kernel)


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_goes_and_comes_and_what_is_there_is_not_sent_again(desk: Desk) -> None:
    desk.write("runs/a.txt", "a")
    desk.write("runs/deep/er/b.bin", b"\0" * 9_000_000 + b"end")
    desk.write("runs/empty", "")
    assert desk.says("put runs round:/runs").startswith("put 3 files (9.0 MB) to round:/runs in ")
    assert desk.says("put runs round:/runs") == "nothing to copy: 3 files unchanged"
    (desk.folder / "runs/a.txt").touch()
    assert desk.says("put runs round:/runs") == "nothing to copy: 3 files unchanged"
    desk.write("runs/a.txt", "b")
    assert "put 1 file (1 B) to round:/runs in " in (said := desk.says("put runs round:/runs"))
    assert said.endswith("; 2 files unchanged")
    assert desk.says("get round:/runs back").startswith("got 3 files (9.0 MB) to back in ")
    assert tree(desk.folder / "back") == tree(desk.folder / "runs")
    assert desk.says("get round:/runs back") == "nothing to copy: 3 files unchanged"


def test_where_things_go(desk: Desk) -> None:
    desk.write("one.txt", "1")
    desk.write("pair/x", "x")
    desk.on_volume("where", "named", "1")
    desk.says("put pair where:/")
    desk.says("put one.txt where:/pair")
    assert [line.split()[-1] for line in desk.says("ls where:/pair").splitlines()] == ["pair/one.txt", "pair/x"]
    assert [line.split()[-1] for line in desk.says("ls where").splitlines()] == ["named", "pair/"]
    assert "where/" in desk.says("ls")
    for line in ("get where:/pair .", "get where:/pair into/", "get where:/named into/", "get where:/pair exact"):
        desk.says(line)
    assert tree(desk.folder / "into") == {"pair/x": b"x", "pair/one.txt": b"1", "named": b"1"}
    assert tree(desk.folder / "exact") == {"x": b"x", "one.txt": b"1"}


def test_a_local_file_is_overwritten_only_with_force(desk: Desk) -> None:
    desk.on_volume("guard", "mine/a", "theirs")
    desk.write("mine/a", "edited")
    refused = desk.line("get guard:/mine mine")
    assert refused.error == ("CopyError: mine/a already exists with another content or time; --force overwrites.")
    assert (desk.folder / "mine/a").read_text() == "edited"
    desk.says("get guard:/mine mine --force")
    assert tree(desk.folder / "mine") == {"a": b"theirs"}


@pytest.mark.parametrize(
    "line, error",
    [
        ("put nowhere errors:", "nowhere does not exist"),
        ("put erors errors:", "did you mean errors?"),
        ("put errors", "put takes a source and a destination, not 1 words; write %modal_gpu put LOCAL VOLUME:/path"),
        ("put errors other/x", "write VOLUME:/path, such as data:/other/x"),
        ("put errors session:x", "put copies to a Volume"),
        ("put errors errors:../x", "leads out of errors"),
        ("put errors errors: --forse", "put has no option --forse; did you mean --backend?"),
        ("get errrs:/x .", "No Volume is called 'errrs'; did you mean errors?"),
        ("get errors:/errors/fil .", "errors:/errors/fil does not exist; did you mean errors:/errors/file?"),
        ("get", "get takes a source and a destination"),
        ("ls errors:/nothing/near", "`%modal_gpu ls errors` lists its files."),
        ("ls errors errors", "ls takes one path"),
        ("ls --session nobody", "No session is named 'nobody'"),
        ("ls 'x", "a quote is not closed"),
        ("ls --backend clod", "--backend is 'clod'; a backend is one of: cloud, local."),
    ],
)
def test_what_is_refused(desk: Desk, line: str, error: str) -> None:
    desk.write("errors", "1")
    desk.on_volume("errors", "errors/file", "1")
    result = desk.line(line)
    assert error in result.error
    assert len(result.traceback.splitlines()) == 1


HOLD_UP = """
import aiohttp, asyncio
request, parts = aiohttp.ClientSession._request, []
async def held_up(session, method, *a, **k):
    if method == "PUT":
        parts.append(method)
        if len(parts) > 2:
            await asyncio.sleep(3_600)
    return await request(session, method, *a, **k)
aiohttp.ClientSession._request = held_up
"""
"""Lets the first two parts of files pass, and holds up all others."""


def test_a_press_stops_it_and_the_same_line_goes_on(desk: Desk) -> None:
    """What was on its way is not there as a whole file; what had arrived is not sent again."""
    for number in range(6):
        desk.write(f"large/{number}", bytes([number + 1]) * 20_000_000)
    coming = desk.kernel.home / "data/modal_gpu_magic/volumes/.coming"

    def has_a_part() -> bool:
        return any(path.name != "whole" for path in coming.glob("*/*"))

    assert desk.kernel.run(HOLD_UP).ok
    stopped = desk.kernel.run("%modal_gpu put large press:/large", press=[has_a_part])
    assert desk.kernel.run("aiohttp.ClientSession._request = request").ok
    assert stopped.error.startswith("KeyboardInterrupt: stopped. Copied files are kept")
    desk.says("put large press:/large")
    assert desk.says("put large press:/large") == "nothing to copy: 6 files unchanged"
    assert desk.says("get press:/large fetched")
    assert tree(desk.folder / "fetched") == tree(desk.folder / "large")


def test_what_had_arrived_before_an_error_is_not_sent_again(desk: Desk) -> None:
    with desk.write("broken/a", "").open("wb") as file:
        file.truncate(BATCH_BYTES + 1)
    desk.write("broken/b", "b")
    in_the_way = desk.on_volume("half", "broken/b/x", "x").parent
    assert "'/broken/b' is a directory" in desk.line("put broken half:/broken").error
    shutil.rmtree(in_the_way)
    assert desk.says("put broken half:/broken").startswith("put 1 file (1 B) to half:/broken in ")
    assert desk.says("get half:/broken broken") == "nothing to copy: 2 files unchanged"


VOLUME = "H100 --volume shared:/tmp/mgt-shared"


def test_a_volume_is_committed_after_a_cell_and_seen_by_another_session(desk: Desk) -> None:
    assert desk.kernel.remote("open('/tmp/mgt-shared/a', 'w').write('1')", VOLUME).ok
    read = "open('/tmp/mgt-shared/a').read()"
    assert desk.kernel.remote(read, f"{VOLUME} --session other").value() == "'1'"
    desk.kernel.remote("open('/tmp/mgt-shared/a', 'w').write('2')\n1 / 0", VOLUME)
    assert desk.kernel.remote(read, f"{VOLUME} --session other").value() == "'2'"
    assert desk.says("ls shared").endswith(" a")
    assert "wrote" not in desk.kernel.remote("open('/tmp/mgt-shared/b', 'w').write('1')", VOLUME).said
    desk.says("stop other")


def test_the_receipt_says_what_a_cell_wrote_and_how_to_fetch_it(desk: Desk) -> None:
    said = desk.kernel.remote(
        "import os\nos.makedirs('out', exist_ok=True)\nfor n in (3, 5):\n    open(f'out/m{n}.pt', 'wb').write(b'1' * n * 10**6)"
    ).said
    assert "wrote out/m5.pt (5.0 MB), out/m3.pt (3.0 MB):" in said
    line = said.partition("%modal_gpu ")[2].splitlines()[0]
    assert line == "get session:out/m5.pt session:out/m3.pt ."
    assert desk.says(line).count("got 1 file") == 2
    assert (desk.folder / "m5.pt").read_bytes() == b"1" * 5_000_000
    assert "wrote" not in desk.kernel.remote("open('out/m5.pt', 'rb').read(1)").said
    assert desk.says("ls session:out").splitlines()[0].endswith("out/m3.pt")
    assert "did you mean m3.pt?" in desk.line("get session:out/m3.p .").error
    desk.says("stop")
    gone = desk.line("get session:out/m3.pt .").error
    assert gone.startswith("CopyError: the container of session default has ended, and its files are lost.")


@pytest.mark.parametrize(
    ("read", "line"),
    [
        ("open('kept/a/1.ckpt')", "get session:kept/a/1.ckpt kept/a/1.ckpt"),
        ("import pathlib\npathlib.Path('kept/b 2.ckpt').read_text()", "get 'session:kept/b 2.ckpt' 'kept/b 2.ckpt'"),
        ("import os\nos.listdir('kept/a')", "get session:kept/a kept/a"),
        ("os.listdir('./kept/')", "get session:kept ./kept/"),
        ("import torch\ntorch.load('kept/a/1.ckpt')", "get session:kept/a/1.ckpt kept/a/1.ckpt"),
    ],
)
def test_a_native_cell_that_misses_a_file_of_the_container_says_how_to_get_it(desk: Desk, read: str, line: str) -> None:
    desk.kernel.remote(
        "import os, torch\nos.makedirs('kept/a', exist_ok=True)\n"
        "torch.save(1, 'kept/a/1.ckpt')\nopen('kept/b 2.ckpt', 'w').write('2')"
    )
    missed = desk.kernel.run(read)
    assert "FileNotFoundError" in missed.error
    said = missed.stderr.strip()
    assert said.endswith(f"was written in the container. Copy it to the notebook: %modal_gpu {line}")
    desk.says(said.partition("%modal_gpu ")[2])
    assert desk.kernel.run(read).ok
    shutil.rmtree(desk.folder / "kept")


@pytest.mark.parametrize("path", ["never/written", ".", "", 5, b"kept"])
def test_a_native_cell_that_misses_another_file_has_no_hint(desk: Desk, path: object) -> None:
    missed = desk.kernel.run(f"raise FileNotFoundError(2, 'No such file or directory', {path!r})")
    assert "FileNotFoundError" in missed.error
    assert not missed.stderr


def test_a_file_that_a_cell_names_travels_again_when_it_was_edited(desk: Desk) -> None:
    desk.write("table.csv", "1")
    read = "open('table.csv').read()"
    assert desk.kernel.remote(read).value() == "'1'"
    desk.write("table.csv", "22")
    assert desk.kernel.remote(read).value() == "'22'"
    desk.write("folder/x", "1")
    said = desk.kernel.remote("import os\nos.listdir('redlof'[::-1])").said
    assert "`%modal_gpu put folder NAME:/`, and mount that with --volume NAME:/path" in said


def test_a_secret_s_values_are_nowhere_but_in_the_container(desk: Desk) -> None:
    """They are in no output of ours, no error, no dry run and no file: only where the cell itself prints them."""
    value = "s3cr3t-v4lue"
    config = desk.kernel.home / "config" / "modal_gpu_magic"
    config.mkdir(parents=True, exist_ok=True)
    (config / "secrets.json").write_text(f'{{"keys": {{"MGT_KEY": "{value}"}}}}')
    header = "H100 --secret keys --session secret"
    dry = desk.kernel.remote("1", f"{header} --dry-run")
    results = [
        dry,
        desk.kernel.remote("import os\nlen(os.environ['MGT_KEY'])", header),
        desk.kernel.remote("os.environ['MGT_KEYS']", header),
        desk.kernel.remote("os._exit(3)", header),
        desk.kernel.remote("1", f"{header} --timeout 0"),
        desk.kernel.remote("1", "H100 --secret kys --session secret2"),
        desk.line("status"),
    ]
    assert results[1].value() == str(len(value))
    assert 'modal.Secret.from_name("keys")' in dry.stdout
    assert not any(value in repr(result) for result in results)
    assert desk.kernel.files_with(value) == [config / "secrets.json"]


def test_without_tqdm_a_status_line_shows_how_far_it_is(desk: Desk) -> None:
    shown = desk.kernel.run(
        "import sys, time\n"
        "from modal_gpu_magic.session.copy.background import Progress\n"
        "from modal_gpu_magic.ui.magics.copy_commands import Bar\n"
        "before, sys.modules['tqdm.std'] = sys.modules.get('tqdm.std'), None\n"
        "bar = Bar(get_ipython().magics_manager.magics['line']['modal_gpu'].__self__.state)\n"
        "bar._began = time.monotonic() + 1000\n"
        "bar.show(Progress(100, 10, 'early'))\n"
        "bar._began = time.monotonic() - 1.01\n"
        "bar.show(Progress(100, 50, 'model.pt'))\n"
        "bar.close()\n"
        "sys.modules['tqdm.std'] = before"
    )
    assert shown.ok, shown.traceback
    assert re.fullmatch(r"copying model\.pt 50 B of 100 B \d:\d\d", shown.said), shown.said


NOTING = """
import modal, time
done = []

def refuse(volume):
    raise RuntimeError("there are open files preventing the operation")

modal.Volume.commit = lambda volume: done.append(volume.name)
modal.Volume.reload = refuse
"""


def test_a_volume_is_committed_after_an_error_and_after_a_stop_too(desk: Desk) -> None:
    """Modal's own methods are replaced in the container, since the local backend never refuses a reload."""
    header = "H100 --volume noted:/tmp/mgt-noted --session noting"
    desk.kernel.remote(NOTING, header)
    failed = desk.kernel.remote("1 / 0", header)
    assert failed.error.startswith("ZeroDivisionError")
    assert failed.said.splitlines()[0] == (
        "Volume noted was not reloaded, so the cell sees it as it was: there are open files preventing the operation"
    )
    assert desk.kernel.remote("len(done)", header).value() == "2"
    stopped = desk.kernel.remote("print('begun', flush=True)\ntime.sleep(600)", header, press=["begun"])
    assert stopped.error.startswith("KeyboardInterrupt")
    assert desk.kernel.remote("len(done)", header).value() == "4"
    desk.says("stop noting")


def test_a_container_that_died_is_not_started_anew_to_look_for_its_files(desk: Desk) -> None:
    header = "H100 --session mortal"
    there = int(desk.kernel.remote("open('m.pt', 'w').write('1')\n__import__('os').getpid()", header).value())
    psutil.Process(there).kill()
    error = desk.line("get session:m.pt . --session mortal").error
    assert error.startswith("CopyError: the container ")
    desk.says("stop mortal")


def test_the_same_from_plain_python(desk: Desk) -> None:
    desk.on_volume("plain", "a/b", "1")
    got = desk.kernel.print("__import__('modal_gpu_magic').get('plain:/a', 'plain').files")
    assert (got, tree(desk.folder / "plain")) == ("1", {"b": b"1"})
    listed = desk.kernel.print("[each.file.path for each in __import__('modal_gpu_magic').ls('plain:/a')]")
    assert listed == "['a/b']"
    refused = desk.kernel.run("from modal_gpu_magic import get\nget('session:x')")
    assert refused.error == "CopyError: no session has started, so no container has files."


def test_callbacks_after_a_cell_do_without_a_result(desk: Desk) -> None:
    """IPython passes None where a press comes at the very end of a cell."""
    desk.kernel.remote("1")
    done = desk.kernel.run("get_ipython().events.trigger('post_run_cell', None)")
    assert done.ok
    assert not done.stdout + done.stderr
