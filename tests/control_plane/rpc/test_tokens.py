"""Tokens of inputs: read by the SDK as its own, and read back."""

from __future__ import annotations

import pytest
from modal._utils.jwt_utils import DecodedJwt

from modal_gpu_magic.control_plane.refusals import Invalid
from modal_gpu_magic.control_plane.rpc.tokens import input_id_in, token_of


def test_the_sdk_reads_it() -> None:
    read = DecodedJwt.decode_without_verification(token_of("in-1", 7))
    assert (read.header["alg"], read.payload) == ("none", {"input_id": "in-1", "idx": 7})


def test_it_is_read_back() -> None:
    assert input_id_in(token_of("in-é", 0)) == "in-é"


@pytest.mark.parametrize("token", ["", "in-1", "a.b.c", ".e30.", ".W10.", ".MQ.", ".é."])
def test_another_text_is_refused(token: str) -> None:
    with pytest.raises(Invalid, match="is not a token of an input"):
        input_id_in(token)
