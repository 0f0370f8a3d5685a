"""What code finds in a container: directory, environment, packages, mounts, volumes, secrets, GPUs."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import modal
import pytest

from modal_gpu_magic.catalog.limits import SESSION_MOUNT
from modal_gpu_magic.control_plane.containers.inherited import INHERITED
from tests.control_plane.conftest import OF_THE_KERNEL
from tests.control_plane.plane import Plane, eventually
from tests.control_plane.subjects import make_subjects
from tests.control_plane.wheels import make_wheel

LARGE = bytes(range(256)) * (5 << 12)
"""5 MiB: the SDK sends files of 4 MiB and more over HTTP."""


def shell(box: Any, command: str) -> str:
    """What a shell command in the container prints."""
    source = "import subprocess; result = subprocess.run(command, shell=True, text=True, capture_output=True)"
    done: subprocess.CompletedProcess[str] = box.run.remote(source, command=command)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def subjects(client: Any) -> Iterator[SimpleNamespace]:
    """The app, held open as a notebook holds it."""
    made = make_subjects()
    with made.app.run(client=client):
        yield made


@pytest.fixture(scope="module")
def box(subjects: SimpleNamespace) -> Any:
    """A container without anything special."""
    return subjects.Box()


def test_the_working_directory_is_empty_private_and_the_containers_own(box: Any, plane: Plane) -> None:
    where, what, mode = box.run.remote("import os; result = os.getcwd(), os.listdir(), os.stat('..').st_mode & 0o777")
    assert (what, mode) == ([], 0o700)
    assert plane.root in Path(where).parents


def test_the_environment_is_the_images_and_not_the_kernels(box: Any, plane: Plane) -> None:
    env = box.run.remote("import os; result = dict(os.environ)")
    assert env["HOME"] == os.environ["HOME"]
    assert env["OMP_NUM_THREADS"] == "1"
    assert set(OF_THE_KERNEL) & set(env) == {"LC_TIME", "OMP_NUM_THREADS", "TZ"}
    assert not {"MODAL_TOKEN_SECRET", "MODAL_TOKEN_ID"} & set(env)
    assert plane.hello["token_secret"] not in env.values()
    assert env["MODAL_TASK_ID"].startswith("ta-")
    of_python = ("PIP_DISABLE_PIP_VERSION_CHECK", "VIRTUAL_ENV", "IPYTHONDIR", "CUDA_VISIBLE_DEVICES")
    others = {name for name in env if name not in INHERITED and not name.startswith("MODAL_")}
    assert others <= {*of_python, "LC_CTYPE", "PYTHONPATH"}


def test_the_notebooks_packages_are_there_and_its_directory_is_not(box: Any, plane: Plane) -> None:
    """The notebook's directory has a queue.py that raises."""
    version = box.run.remote("import queue, importlib.metadata as m; result = m.version('cloudpickle')")
    assert version == importlib.metadata.version("cloudpickle")
    assert shell(box, "python -c 'import queue, modal, sys; print(sys.prefix)'").startswith(str(plane.root))


def test_standard_input_is_empty(box: Any) -> None:
    assert box.run.remote("import sys; result = sys.stdin.read()") == ""


def test_a_printed_line_is_not_held_back(box: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"
    call = box.run.spawn("print('now'); import os, time\nwhile not os.path.exists(go): time.sleep(0.01)", go=str(go))
    first = next(iter(call.logs.stream(timeout=60)))
    assert first.message == "now\n"
    go.touch()
    call.get()


def test_pip_installs_for_the_container_alone(subjects: SimpleNamespace, tmp_path: Path) -> None:
    make_wheel(tmp_path, "mgm_addition", "1.0")
    make_wheel(tmp_path, "cloudpickle", "99.0")
    before = importlib.metadata.version("cloudpickle")
    box = subjects.Box(name="pip")
    said = shell(box, f"pip install --no-index --find-links {tmp_path} mgm_addition cloudpickle==99.0")
    assert "Successfully installed cloudpickle-99.0 mgm_addition-1.0" in said
    assert box.run.remote("import mgm_addition; result = mgm_addition.VERSION") == "1.0"
    assert shell(box, "python -c 'import cloudpickle; print(cloudpickle.VERSION)'") == "99.0\n"
    assert importlib.metadata.version("cloudpickle") == before
    other = subjects.Box(name="other")
    assert shell(other, "python -c 'import importlib.util as u; print(u.find_spec(\"mgm_addition\"))'") == "None\n"


@pytest.fixture(scope="module")
def setup_result(client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """An app whose class has everything: files, a volume, secrets, GPUs, an image with variables."""
    here = tmp_path_factory.mktemp("local")
    (here / "mgm_own.py").write_text("NAME = 'own'\n")
    (here / "large.bin").write_bytes(LARGE)
    (here / "tool.sh").write_text("#!/bin/sh\necho tool\n")
    (here / "tool.sh").chmod(0o755)
    outside, mounted = here / "absent" / "deep", here / "volume"
    sys.path.insert(0, str(here))
    image = (
        modal.Image.debian_slim()
        .env({"FROM_IMAGE": "a b"})
        .add_local_python_source("mgm_own")
        .add_local_file(here / "large.bin", "/root/files/large.bin")
        .add_local_file(here / "tool.sh", f"{outside}/tool.sh")
    )
    made = make_subjects()
    volume = modal.Volume.from_name("furnished", create_if_missing=True)
    variant = made.app.cls(
        serialized=True,
        image=image,
        gpu=["H100:2", "A100-80GB"],
        volumes={str(mounted): volume, "/root/cache": modal.Volume.from_name("cache", create_if_missing=True)},
        secrets=[modal.Secret.from_dict({"PASSWORD": "secret"}), modal.Secret.from_name("mine")],
    )(made.Box._get_user_cls())
    with made.app.run(client=client):
        yield SimpleNamespace(box=variant(), outside=outside, mounted=mounted, here=here)
    sys.path.remove(str(here))


@pytest.fixture(scope="module", autouse=True)
def named_secret(places: dict[str, str]) -> None:
    """The user's file of named secrets."""
    path = Path(places["XDG_CONFIG_HOME"], "modal_gpu_magic", "secrets.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"mine": {"NAMED": "value"}}))


def test_variables_of_image_and_secrets(setup_result: SimpleNamespace) -> None:
    source = "import os; result = [os.environ[name] for name in ('FROM_IMAGE', 'PASSWORD', 'NAMED')]"
    assert setup_result.box.run.remote(source) == ["a b", "secret", "value"]


def test_mounted_sources_and_files(setup_result: SimpleNamespace) -> None:
    box = setup_result.box
    assert box.run.remote("import mgm_own; result = mgm_own.NAME, mgm_own.__file__.endswith('/root/mgm_own.py')") == (
        "own",
        True,
    )
    assert box.run.remote("result = open('files/large.bin', 'rb').read()") == LARGE
    assert shell(box, f"{setup_result.outside}/tool.sh") == "tool\n"
    assert shell(box, "python -c 'import mgm_own; print(mgm_own.NAME)'") == "own\n"


def test_a_volume_is_a_directory_that_stays(setup_result: SimpleNamespace, places: dict[str, str], client: Any) -> None:
    box, kept = setup_result.box, Path(places["XDG_DATA_HOME"], "modal_gpu_magic", "volumes", "furnished")
    box.run.remote(f"open('{setup_result.mounted}/note', 'w').write('hello')")
    assert (kept / "note").read_text() == "hello"
    assert json.loads(box.run.remote("import os; result = os.environ['MODAL_GPU_VOLUMES']"))[
        str(setup_result.mounted)
    ] == str(kept)
    (kept / "answer").write_text("from outside")
    assert box.run.remote(f"result = open('{setup_result.mounted}/answer').read()") == "from outside"
    assert box.run.remote("open('cache/x', 'w').write('x'); import os; result = os.path.islink('cache')")
    source = "import modal; v = modal.Volume.from_name('furnished'); v.commit(); v.reload(); result = v.object_id"
    assert box.run.remote(source).startswith("vo-")


def test_two_containers_share_a_volume_and_the_last_takes_the_path_away(client: Any, tmp_path: Path) -> None:
    made, path = make_subjects(), tmp_path / "shared"
    with modal.Volume.ephemeral(client=client) as volume, made.app.run(client=client):
        variant = made.Box.with_options(volumes={str(path): volume}, scaledown_window=2)
        one, two = variant(name="one"), variant(name="two")
        one.run.remote(f"open('{path}/x', 'w').write('from one')")
        assert two.run.remote(f"result = open('{path}/x').read()") == "from one"
        assert path.is_symlink()
    eventually(lambda: not path.is_symlink())


def test_a_volume_where_something_real_is_in_the_way_is_refused(client: Any, tmp_path: Path) -> None:
    made = make_subjects()
    with modal.Volume.ephemeral(client=client) as volume, made.app.run(client=client):
        box = made.Box.with_options(volumes={str(tmp_path): volume})()
        with pytest.raises(modal.exception.ConflictError, match=r"exists on this machine.*Choose a mount path"):
            box.add.remote()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: modal.Volume.from_name("nowhere"), "no volume named 'nowhere'.*create_if_missing"),
        (lambda: modal.Secret.from_name("nowhere"), r"no secret named 'nowhere'.*secrets\.json"),
        (lambda: modal.Secret.from_name("mine", required_keys=["NAMED", "OTHER"]), "lacks OTHER"),
        (lambda: modal.Dict.from_name("nowhere"), "'nowhere' does not exist.*create_if_missing"),
        (lambda: modal.Function.from_name("app", "f"), "No app is deployed as 'app'"),
    ],
)
def test_what_is_not_there_is_named_with_the_way_out(client: Any, make: Any, text: str) -> None:
    with pytest.raises(modal.exception.Error, match=text):
        make().hydrate(client)


def test_asked_for_gpus_are_shown_as_simulated(setup_result: SimpleNamespace) -> None:
    box = setup_result.box
    query = "nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader"
    assert shell(box, query).splitlines() == [
        f"{index}, NVIDIA H100 80GB HBM3, 81559 MiB, simulated" for index in range(2)
    ]
    assert box.run.remote(
        "import os; result = os.environ['MODAL_GPU_SIMULATED'], os.environ['CUDA_VISIBLE_DEVICES']"
    ) == ("1", "")
    used = "nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0"
    before = int(shell(box, used))
    box.run.remote("self.ballast = bytearray(300 << 20)")
    assert 140 <= int(shell(box, used)) - before <= 170, "300 MiB more, on two GPUs"


def test_no_gpu_no_nvidia_smi_of_ours(box: Any, plane: Plane) -> None:
    assert str(plane.root) not in shell(box, "command -v nvidia-smi || true")
    assert "MODAL_GPU_SIMULATED" not in box.run.remote("import os; result = dict(os.environ)")


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("H10", ["H10", "did you mean H100"]),
        ("H100:9", ["1 to 8"]),
        ("A10:5", ["1 to 4"]),
        ("T4!", ["strict"]),
        (["H100", "bogus"], ["BOGUS"]),
    ],
)
def test_gpus_that_modal_does_not_have(client: Any, gpu: Any, words: list[str]) -> None:
    app = modal.App("refused")
    app.function(serialized=True, gpu=gpu)(lambda: None)
    with pytest.raises(modal.exception.InvalidError) as caught, app.run(client=client):
        pass
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 86401}, "over Modal's limit of 86400 s"),
        ({"volumes": {"/bucket": modal.CloudBucketMount("b")}}, "cloud bucket mounts"),
    ],
)
def test_what_a_function_may_not_ask_for(client: Any, options: dict[str, Any], words: str) -> None:
    app = modal.App("refused")
    app.function(serialized=True, **options)(lambda: None)
    with pytest.raises(modal.exception.Error, match=words), app.run(client=client):
        pass


def test_a_gpu_is_checked_in_options_too(subjects: SimpleNamespace) -> None:
    with pytest.raises(modal.exception.InvalidError, match="1 to 8"):
        subjects.Box.with_options(gpu="H100:16")().add.remote()
    assert "A100-SXM4-80GB" in shell(subjects.Box.with_options(gpu="a100-80gb")(), "nvidia-smi -L")


def test_sessions_have_volumes_of_their_own_at_the_same_path(client: Any) -> None:
    """No link stands at the path, where the containers of all sessions would meet, nor in the working directory."""
    source = f"""
import json, os
from pathlib import Path
directory = Path(json.loads(os.environ["MODAL_GPU_VOLUMES"])[{SESSION_MOUNT!r}])
(directory / name).write_text(name)
result = sorted(os.listdir(directory)), os.path.lexists({SESSION_MOUNT!r}), os.listdir()
"""
    made = make_subjects()
    with (
        modal.Volume.ephemeral(client=client) as one,
        modal.Volume.ephemeral(client=client) as two,
        made.app.run(client=client),
    ):
        first, second = (made.Box.with_options(volumes={SESSION_MOUNT: each})() for each in (one, two))
        assert first.run.remote(source, name="a") == (["a"], False, [])
        assert second.run.remote(source, name="b") == (["b"], False, [])
        assert [each.path for each in one.listdir("/")] == ["a"]
