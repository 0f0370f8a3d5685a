"""Secrets: environment variables sent by the client, or by name from the user's file. Never logged."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import json
import os
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.containers.server_dirs import make_private
from modal_gpu_magic.control_plane.fields import variables
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Invalid, NotFound, found
from modal_gpu_magic.control_plane.scheduling.state import Container, Secret, State, new_id


def named_secrets_file() -> Path:
    """Return the path of the named secrets: `{"name": {"KEY": "value"}}`."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "modal_gpu_magic", "secrets.json")


class Secrets:
    """RPCs of secrets."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.SecretGetOrCreateResponse:
        """Return a secret with the values sent, or by name."""
        name, values = request.deployment_name, variables(request.env_dict, "The secret")
        if name and not values:
            values = _named(name)
        missing = sorted(set(request.required_keys) - set(values))
        if missing:
            raise Invalid(f"Secret {name!r} lacks {', '.join(missing)}.")
        same = (each for each in self._state.secrets.values() if (each.name, each.values) == (name, values))
        secret = next(same, None) or Secret(
            new_id("st"), name, values
        )  # reuse the id, so that an image with it is found, too
        self._state.secrets[secret.id] = secret
        return known(api_pb2.SecretGetOrCreateResponse, secret_id=secret.id, metadata=_metadata(secret))

    async def SecretGetInfo(
        self, request: api_pb2.SecretGetInfoRequest, peer: Container | None
    ) -> api_pb2.SecretGetInfoResponse:
        """Return the name and the keys, without values."""
        secret = found(self._state.secrets, request.secret_id, "secret")
        return known(api_pb2.SecretGetInfoResponse, metadata=_metadata(secret))

    async def SecretUpdate(self, request: api_pb2.SecretUpdateRequest, peer: Container | None) -> Empty:
        """Change values for containers that start later."""
        secret = found(self._state.secrets, request.secret_id, "secret")
        secret.values.update(variables({each.key: each.value for each in request.updates}, "The secret"))
        return Empty()


def _named(name: str) -> dict[str, str]:
    """Return the values of a named secret; raise NotFound with the path of the file."""
    path = named_secrets_file()
    make_private(path)
    hint = f'Put {{"{name}": {{"KEY": "value"}}}} into {path}, or pass the values with modal.Secret.from_dict.'
    try:
        values = {str(key): str(value) for key, value in json.loads(path.read_text())[name].items()}
        return variables(values, f"The secret {name!r}")
    except (FileNotFoundError, KeyError):
        raise NotFound(f"The local backend has no secret named {name!r}. {hint}") from None
    except (ValueError, TypeError, AttributeError):
        raise Invalid(f"{path} is not a JSON object of objects. {hint}") from None


def _metadata(secret: Secret) -> api_pb2.SecretMetadata:
    return known(api_pb2.SecretMetadata, name=secret.name, keys=sorted(secret.values), environment_name="main")
