"""Dicts of the real SDK, and Modal's limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import modal
import pytest

from modal_gpu_magic.control_plane.refusals import Full, Invalid
from modal_gpu_magic.control_plane.servicers import dicts


@pytest.fixture
def words(client: Any) -> Iterator[Any]:
    """An ephemeral dict."""
    with modal.Dict.ephemeral(client=client) as made:
        yield made


def test_values_are_put_and_taken(words: Any) -> None:
    words["a"] = 1
    words.update({"b": [2], 3: None})
    assert (words["a"], words.get("b"), words.get("c", "default"), words.len()) == (1, [2], "default", 3)
    assert ("b" in words, "c" in words) == (True, False)
    assert words.pop("a") == 1
    with pytest.raises(KeyError, match="a not in dict"):
        words["a"]
    assert (list(words.keys()), list(words.values())) == (["b", 3], [[2], None])
    assert dict(words.items()) == {"b": [2], 3: None}
    words.clear()
    assert words.len() == 0


def test_a_key_is_put_once_if_asked(words: Any) -> None:
    assert words.put("a", 1, skip_if_exists=True)
    assert not words.put("a", 2, skip_if_exists=True)
    assert words["a"] == 1


def test_a_name_is_shared_and_has_to_exist(client: Any) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="create_if_missing"):
        modal.Dict.from_name("nobody", client=client).len()
    one = modal.Dict.from_name("mine", create_if_missing=True, client=client)
    one["x"] = 1
    assert modal.Dict.from_name("mine", client=client)["x"] == 1
    assert modal.Dict.from_id(one.object_id, client=client).len() == 1
    modal.Dict.objects.delete("mine", client=client)
    with pytest.raises(modal.exception.NotFoundError):
        modal.Dict.from_name("mine", client=client).len()


def test_an_update_is_taken_whole_or_not() -> None:
    one = dicts.Dict("di-1", "")
    big = bytes(dicts.VALUE_BYTES)
    for number in range(dicts.MAX_BYTES // len(big)):
        one.update({bytes([number]): big})
    with pytest.raises(Full, match="at most 1 GiB"):
        one.update({b"small": b"x", b"large": big})
    with pytest.raises(Invalid, match="104857600 bytes; this one has 104857601"):
        one.update({b"small": b"x", b"0": big + b"x"})
    with pytest.raises(Invalid, match="10000 entries; this one has 10001"):
        one.update({str(number).encode(): b"x" for number in range(10_001)})
    assert b"small" not in one.entries
    one.pop(bytes([0]))
    one.update({b"small": b"x", b"large": big})
    one.clear()
    assert (one.size, one.entries) == (0, {})
