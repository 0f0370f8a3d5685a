"""Read where a distribution was installed from: `direct_url.json`, PEP 610. Pure."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from modal_gpu_magic.plan.cell.requirements import INDEX, Origin

REACHABLE = ("http", "https", "git")
"""Schemes of addresses that a container can fetch from without a key of the user."""


def origin(direct_url: str | None, installer: str | None = None) -> Origin:
    """Return the origin that a `direct_url.json` names.

    Args:
        direct_url: the file's text; None: the distribution has none, so that an index has it.
        installer: the text of its `INSTALLER`. conda's packages name the directory on the machine that built them.
    """
    if direct_url is None or (installer or "").strip() == "conda":
        return INDEX
    try:
        facts: dict[str, Any] = json.loads(direct_url)
        address = str(facts["url"])
        parts = urlsplit(address)
    except (ValueError, KeyError, TypeError):  # not PEP 610: where it is from is not known, so nothing is asked
        return Origin(is_local=True, place="an unknown place")
    if parts.scheme == "file":
        return Origin(is_local=True, place=url2pathname(parts.path))
    public = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if parts.scheme not in REACHABLE:
        return Origin(is_local=True, place=public)
    below = f"#subdirectory={facts['subdirectory']}" if facts.get("subdirectory") else ""
    vcs = facts.get("vcs_info")
    if vcs:
        return Origin(url=f"{vcs['vcs']}+{public}@{vcs['commit_id']}{below}", place=public)
    return Origin(url=public + below, place=public)
