"""Tokens of inputs as the SDK reads them: JWTs without a signature, since this server trusts its own socket.

The SDK's own module for them (`modal._utils.jwt_utils`) would bring all of `modal` along: two thirds of what the server
takes to start.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from modal_gpu_magic.control_plane.refusals import Invalid


def token_of(input_id: str, index: int) -> str:
    """What the SDK retries an input with; a map reads the index in it."""
    return f"{_encoded({'alg': 'none', 'typ': 'JWT'})}.{_encoded({'input_id': input_id, 'idx': index})}."


def input_id_in(token: str) -> str:
    """The input that a token is of; raises Invalid for a text that is none."""
    try:
        payload = base64.urlsafe_b64decode(token.split(".")[1] + "==")
        return str(json.loads(payload)["input_id"])
    except (ValueError, LookupError, TypeError):
        raise Invalid(f"{token!r} is not the token of an input.") from None


def _encoded(fields: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()
