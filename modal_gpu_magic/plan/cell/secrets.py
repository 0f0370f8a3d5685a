"""Recognise variables that look like credentials, which are sent only with the user's consent. Pure.

The rules avoid false alarms: a name counts only with a string value that may be a credential, and a string alone
counts only in the form of a known kind of credential.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import Any

from modal_gpu_magic.wire.values.kinds import is_a, name_of
from modal_gpu_magic.wire.values.own_code import pass_on

MOST_ITEMS = 1_000
"""Largest number of items of a dict or list to check."""

SHORTEST, LONGEST = 6, 10_000
"""Shortest and longest string that may be a credential, characters."""

_KINDS = (
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{20,}"),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}"),
    ("a GitLab token", r"glpat-[\w-]{20,}"),
    ("an AWS key", r"A(?:KI|SI)A[0-9A-Z]{16}"),
    ("a Slack token", r"xox[abeoprs]-[\w-]{10,}"),
    ("a Modal token", r"a[ks]-[A-Za-z0-9]{20,}"),
    ("a Google key", r"AIza[\w-]{35}|ya29\.[\w-]{20,}"),
    ("a Stripe key", r"[rs]k_(?:live|test)_\w{16,}"),
    (
        "an API key",
        r"sk-(?=[\w-]*\d)[\w-]{20,}|nvapi-[\w-]{20,}|r8_\w{30,}|npm_\w{30,}|pypi-[\w-]{30,}|dop_v1_\w{30,}",
    ),
    ("a JSON web token", r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    ("a private key", r"(?s:-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*)"),
    ("an address with a password", r"[a-z][\w+.-]*://[^\s/:@]*:[^\s/@]+@\S+"),
)
"""Patterns of whole strings, from the issuers' descriptions of their tokens."""

_WORDS = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"

_SECRET_WORDS = frozenset({"apikey", "authtoken", "creds", "credential", "credentials", "passphrase", "pwd", "secret"})
"""Last words of a name that denote a credential."""

_ISSUERS = (
    "anthropic aws azure cohere discord gcp gemini gh github gitlab google groq hf hub huggingface jupyter kaggle"
    " mistral modal ngc npm openai openrouter pypi replicate slack stripe telegram together wandb"
)
_QUALIFIERS = {
    "key": f"{_ISSUERS} access account api auth client encryption master private secret ssh".split(),
    "token": f"{_ISSUERS} access api auth bearer bot csrf jwt oauth personal refresh secret".split(),
}
"""Words before `key` and `token` that denote a credential (not `sort_key`, `pad_token`)."""

_NOT_ITSELF = (
    r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+"  # the name of an environment variable
    r"|(?:[.~]{0,2}/|https?://).*|.*\.(?:env|json|pem|toml|txt|ya?ml)"  # a path or an address
    r"|[<\[{$%].*|(.)\1*|(?i:.*your.*|change_?me|example|dummy|placeholder)"  # a placeholder
)


def looks_secret(name: str, value: Any) -> str | None:
    """Return why a variable looks like a credential: `its value looks like a Hugging Face token`. None: no sign.

    Checks strings, and string items of dicts, lists and tuples, one level deep.
    """
    try:
        return _sign_of_secret(name, value)
    except BaseException as error:  # noqa: BLE001 - a user's class may raise anything while it is read
        pass_on(error)
        return None


def _sign_of_secret(name: str, value: Any) -> str | None:
    if is_a(value, os._Environ):  # noqa: SLF001 - the type of `os.environ` has no public name
        return "it is this machine's environment, which may hold credentials"
    if name_of(type(value)) in ("SecretStr", "SecretBytes"):
        return "it is marked as a secret"
    if is_a(value, dict):
        items = ((key, item) for key, item in islice(value.items(), MOST_ITEMS) if is_a(key, str))
        found = next(((key, why) for key, item in items if (why := _text_secret(key, item))), None)
        return f"its item {found[0]!r} seems to be a credential ({found[1]})" if found else None
    if is_a(value, list | tuple):
        return next((why for item in islice(value, MOST_ITEMS) if (why := _text_secret("", item))), None)
    return _text_secret(name, value)


def _text_secret(name: str, value: Any) -> str | None:
    if not is_a(value, str | bytes) or not SHORTEST <= len(value) <= LONGEST:
        return None
    text = (value if is_a(value, str) else value.decode("ascii", "replace")).strip().removeprefix("Bearer ")
    for kind, pattern in _KINDS:
        if re.fullmatch(pattern, text):
            return f"its value looks like {kind}"
    if _names_a_secret(name) and not re.search(r"\s", text) and not re.fullmatch(_NOT_ITSELF, text):
        return "its name says that it is a credential"
    return None


def _names_a_secret(name: str) -> bool:
    words = [word.lower() for word in re.findall(_WORDS, name)]
    if not words:
        return False
    *before, last = words
    if last in _SECRET_WORDS or last.endswith(("passwd", "password")):
        return True
    return bool(before) and before[-1] in _QUALIFIERS.get(last, ())
