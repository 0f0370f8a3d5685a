"""Deployed apps of the real SDK: deploy, find by name, call, deploy again, stop, list."""

# No `from __future__ import annotations`: modal.parameter reads the annotations of a class as types.

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest
from modal.experimental import get_app_lifecycle, list_deployed_apps

from tests.control_plane.plane import Plane, eventually, stop_app


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """A name of an app, which is stopped after the test."""
    made = f"app-{uuid.uuid4().hex[:8]}"
    yield made
    with contextlib.suppress(modal.exception.NotFoundError):
        stop_app(made, client)


def deploy(
    client: Any, name: str, answer: object = 1, *, methods: bool = True, other: bool = True, **options: Any
) -> modal.App:
    """Deploy an app whose objects answer with `answer`."""
    app = modal.App(name)

    if other:

        @app.function(serialized=True, name="give")
        def give(x: int = 0) -> tuple[object, int]:
            return answer, x

    if methods:

        class Box:
            word: str = modal.parameter(default="none")

            @modal.method()
            def give(self, x: int = 0) -> tuple[object, str, int]:
                return answer, self.word, x

            @modal.method()
            def wait(self, path: str) -> tuple[object, int]:
                import os
                import time
                from pathlib import Path

                Path(path + ".begun").touch()
                while not Path(path).exists():
                    time.sleep(0.01)
                return answer, os.getpid()

            @modal.method()
            def run(self, source: str) -> Any:
                scope: dict[str, Any] = {"self": self}
                exec(source, scope)
                return scope.get("result")

        app.cls(serialized=True, **options)(Box)
    app.deploy(name=name, client=client)
    return app


def function(client: Any, app: str, tag: str = "give") -> Any:
    return modal.Function.from_name(app, tag, client=client).hydrate()


def box(client: Any, app: str, **parameters: Any) -> Any:
    return modal.Cls.from_name(app, "Box", client=client).hydrate()(**parameters)


def test_a_deployed_function_is_called_by_its_name(client: Any, name: str) -> None:
    deploy(client, name)
    give = function(client, name)
    assert give.remote(5) == (1, 5)
    assert give.spawn(6).get(timeout=60) == (1, 6)
    assert list(give.map(range(4))) == [(1, each) for each in range(4)]


def test_a_deployed_class_is_called_with_its_parameters(client: Any, name: str) -> None:
    deploy(client, name)
    assert box(client, name).give.remote(1) == (1, "none", 1)
    assert box(client, name, word="a").give.remote(2) == (1, "a", 2)
    assert list(box(client, name, word="b").give.map([1, 2])) == [(1, "b", 1), (1, "b", 2)]
    assert box(client, name, word="a").give.spawn(3).get(timeout=60) == (1, "a", 3)


def test_the_options_of_a_class_found_by_name(client: Any, name: str) -> None:
    deploy(client, name)
    made = modal.Cls.from_name(name, "Box", client=client).hydrate().with_options(gpu="L4:2")(word="gpu")
    listing = "import subprocess; result = subprocess.getoutput('nvidia-smi -L').count('NVIDIA L4')"
    assert made.run.remote(listing) == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, name: modal.Function.from_name(f"{name}-x", "give", client=client).hydrate(),
        lambda client, name: modal.Function.from_name(name, "nothing", client=client).hydrate(),
        lambda client, name: modal.Function.from_name(name, "Box", client=client).hydrate(),
        lambda client, name: modal.Cls.from_name(name, "Nothing", client=client).hydrate(),
        lambda client, name: modal.Cls.from_name(name, "give", client=client).hydrate(),
        lambda client, name: modal.Cls.from_name(f"{name}-x", "Box", client=client).hydrate(),
        lambda client, name: modal.App.lookup(f"{name}-x", client=client),
        lambda client, name: modal.App.lookup("ap-" + "0" * 22, client=client),
        lambda client, name: modal.Function.from_name(name, "give", version=7, client=client).hydrate(),
    ],
)
def test_unknown_names_are_not_found(client: Any, name: str, ask: Any) -> None:
    deploy(client, name)
    with pytest.raises(modal.exception.NotFoundError):
        ask(client, name)


def test_an_app_is_looked_up_by_name_and_by_id(client: Any, name: str) -> None:
    made = deploy(client, name)
    found = modal.App.lookup(name, client=client)
    assert found.app_id == made.app_id
    assert modal.App.lookup(made.app_id or "", client=client).app_id == made.app_id
    lifecycle = get_app_lifecycle(made.app_id or "", client=client)
    assert (lifecycle.version, lifecycle.stopped_at) == (1, None)


def test_a_lookup_may_create_the_app(client: Any, name: str) -> None:
    made = modal.App.lookup(name, client=client, create_if_missing=True)
    assert modal.App.lookup(name, client=client).app_id == made.app_id
    assert deploy(client, name).app_id == made.app_id
    assert function(client, name).remote(1) == (1, 1)


def test_the_list_has_what_is_deployed(client: Any, name: str) -> None:
    deploy(client, name)
    function(client, name).remote()
    listed = {each.name: each.containers for each in list_deployed_apps(client=client)}
    assert listed[name] == 1
    stop_app(name, client)
    assert name not in {each.name for each in list_deployed_apps(client=client)}


def test_a_stopped_app_is_gone_at_once_and_its_name_free(client: Any, plane: Plane, name: str) -> None:
    first = deploy(client, name)
    give = function(client, name)
    give.remote()
    before = set(plane.owned())
    stop_app(name, client)
    with pytest.raises(modal.exception.NotFoundError):
        function(client, name)
    with pytest.raises(modal.exception.NotFoundError):
        give.remote()
    second = deploy(client, name, 2)
    assert second.app_id != first.app_id
    assert function(client, name).remote() == (2, 0)
    eventually(lambda: not before & set(plane.owned()) or len(plane.owned()) < len(before) + 2)


def test_a_call_of_a_stopped_app_ends(client: Any, tmp_path: Path, name: str) -> None:
    deploy(client, name)
    call = box(client, name).wait.spawn(str(tmp_path / "never"))
    eventually((tmp_path / "never.begun").exists)
    stop_app(name, client)
    with pytest.raises(modal.exception.Error):
        call.get(timeout=60)


def test_a_second_client_reads_the_result_more_than_once(client: Any, plane: Plane, name: str) -> None:
    deploy(client, name)
    other = plane.client()
    call = function(client, name).spawn(9)
    for each in (other, client, other):
        assert modal.FunctionCall.from_id(call.object_id, client=each).get(timeout=60) == (1, 9)


def test_results_stay_however_many_follow(client: Any, name: str) -> None:
    deploy(client, name)
    give = function(client, name)
    calls = [give.spawn(number) for number in range(120)]
    assert [each.get(timeout=60)[1] for each in calls] == list(range(120))
    assert modal.FunctionCall.from_id(calls[0].object_id, client=client).get(timeout=60) == (1, 0)


def test_running_calls_end_where_they_began_and_new_ones_get_the_new_version(
    client: Any, tmp_path: Path, name: str
) -> None:
    gate = tmp_path / "gate"
    first = deploy(client, name, "old", max_containers=1)
    old = box(client, name, word="w")
    running = old.wait.spawn(str(gate))
    eventually(Path(f"{gate}.begun").exists)
    queued = old.give.spawn(1)
    second = deploy(client, name, "new", max_containers=1)
    assert second.app_id == first.app_id
    assert old.give.remote(2) == ("new", "w", 2), "a handle from before calls the new version"
    assert queued.get(timeout=60)[0] == "new"
    assert box(client, name, word="w").give.remote(3) == ("new", "w", 3)
    gate.touch()
    assert running.get(timeout=60)[0] == "old"
    assert get_app_lifecycle(first.app_id or "", client=client).version == 2


def test_an_unchanged_app_keeps_its_containers(client: Any, name: str) -> None:
    app = deploy(client, name, "same")
    who = "import os; result = os.getpid()"
    before = box(client, name).run.remote(who)
    app.deploy(name=name, client=client)
    assert box(client, name).run.remote(who) == before
    assert get_app_lifecycle(app.app_id or "", client=client).version == 1


def test_a_function_that_the_new_version_lacks(client: Any, name: str) -> None:
    deploy(client, name)
    give, boxed = function(client, name), box(client, name)
    deploy(client, name, other=False)
    with pytest.raises(modal.exception.NotFoundError):
        function(client, name)
    with pytest.raises(modal.exception.NotFoundError):
        give.remote()
    assert boxed.give.remote(4) == (1, "none", 4)


def test_a_tag_that_becomes_a_class(client: Any, name: str) -> None:
    def first() -> modal.App:
        app = modal.App(name)

        @app.function(serialized=True, name="Thing")
        def thing() -> str:
            return "function"

        app.deploy(name=name, client=client)
        return app

    def second() -> modal.App:
        app = modal.App(name)

        class Thing:
            @modal.method()
            def get(self) -> str:
                return "class"

        app.cls(serialized=True)(Thing)
        app.deploy(name=name, client=client)
        return app

    first()
    assert function(client, name, "Thing").remote() == "function"
    second()
    assert modal.Cls.from_name(name, "Thing", client=client).hydrate()().get.remote() == "class"
    with pytest.raises(modal.exception.NotFoundError):
        function(client, name, "Thing")


def test_a_deployment_that_fails_changes_nothing(client: Any, name: str) -> None:
    deploy(client, name, "good")
    broken = modal.App(name)

    @broken.function(serialized=True, name="give")
    def give(x: int = 0) -> str:
        return "bad"

    @broken.function(serialized=True, gpu="H100:99")
    def refused() -> None: ...

    with pytest.raises(modal.exception.InvalidError):
        broken.deploy(name=name, client=client)
    assert function(client, name).remote(1) == ("good", 1)
    assert box(client, name).give.remote(1)[0] == "good"
    deploy(client, name, "better")
    assert function(client, name).remote(1) == ("better", 1)


def test_a_first_deployment_that_fails_leaves_nothing(client: Any, name: str) -> None:
    broken = modal.App(name)

    @broken.function(serialized=True, gpu="H100:99")
    def refused() -> None: ...

    with pytest.raises(modal.exception.InvalidError):
        broken.deploy(name=name, client=client)
    with pytest.raises(modal.exception.NotFoundError):
        modal.App.lookup(name, client=client)


def test_a_deployed_app_keeps_containers_warm(client: Any, plane: Plane, name: str) -> None:
    before = len(plane.owned())
    deploy(client, name, 1, methods=False)
    app = modal.App(name)

    @app.function(serialized=True, name="give", min_containers=1)
    def give(x: int = 0) -> tuple[str, int]:
        return "warm", x

    app.deploy(name=name, client=client)
    eventually(lambda: {each.name: each.containers for each in list_deployed_apps(client=client)}[name] == 1)
    assert function(client, name).remote(1) == ("warm", 1)
    stop_app(name, client)
    eventually(lambda: len(plane.owned()) <= before)


def test_an_app_goes_on_without_its_client(plane: Plane, client: Any, name: str) -> None:
    other = plane.client()
    deploy(other, name)
    call = function(other, name).spawn(3)
    other.close()
    assert modal.FunctionCall.from_id(call.object_id, client=client).get(timeout=60) == (1, 3)
    assert function(client, name).remote(4) == (1, 4)


def test_functions_of_other_apps_are_called_in_a_container(client: Any, name: str) -> None:
    deploy(client, name, "inner")
    source = f"import modal; result = modal.Function.from_name({name!r}, 'give').remote(7)"
    assert box(client, name).run.remote(source) == ("inner", 7)


def test_tags_of_an_app(client: Any, name: str) -> None:
    app = modal.App(name, tags={"team": "a"})

    @app.function(serialized=True, name="give")
    def give() -> None: ...

    app.deploy(name=name, client=client)
    found = modal.App.lookup(name, client=client)
    assert found.get_tags(client=client) == {"team": "a"}
    found.set_tags({"team": "b"}, client=client)
    assert found.get_tags(client=client) == {"team": "b"}
