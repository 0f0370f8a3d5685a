"""Two runs of one cell are compared message by message, less what no two runs share: addresses, times, paths.

Colours, line numbers, source lines, mime bundles and the order of messages are compared as they are.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from tests.scrub import COMMON, TIME, scrub

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e.kernel import Message, Result

SCRUBS: Final = (
    (re.compile(r"(In|Out)\[\d+\]"), r"\1[n]"),
    (re.compile(r"# %%modal_gpu[^\n\x1b]*"), "# %%modal_gpu"),
    *COMMON,
    (re.compile(r"/tmp/[\w./-]+"), "/tmp/…"),
    (re.compile(r"\[\d\d:\d\d<[^\]]*\]"), "[bar]"),
    TIME,
)
"""Patterns of what differs between two runs of the same cell, and what stands for it. Applied in order."""

RANDOM: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+")
"""Ids of widgets and comms."""

COMMS: Final = ("comm_open", "comm_msg", "comm_close")
"""Widgets' messages: their ids are random and their number is up to the widget; the tests that mean them look at them."""


def shown(result: Result) -> list[tuple[str, Any]]:
    """What a cell showed, comparable: streams merged as a notebook merges them, display ids by order of appearance."""
    ids: dict[str, str] = {}
    merged = [_named(message, ids) for message in _merged(m for m in result.messages if m.kind not in COMMS)]
    ending = {key: result.reply.get(key, "") for key in ("status", "ename", "evalue")}
    return [*merged, ("reply", scrub(ending, SCRUBS))]


def merged(messages: Iterable[Message]) -> list[tuple[str, str]]:
    """The kind and the text of each output, streams merged: a print may come in pieces."""
    return [
        (kind, str(content.get("text") or content.get("data", {}).get("text/plain", "")))
        for kind, content in _merged(messages)
    ]


def widgets(result: Result) -> list[Any]:
    """What a cell showed with what its widgets were told, ids by order of appearance; `<cell>` is the cell's own."""
    shown_ids: dict[str, str] = {}
    ids: dict[str, str] = {}
    text = "\n".join(
        json.dumps(_named(message, shown_ids), sort_keys=True, default=str) for message in _merged(result.messages)
    )
    named = RANDOM.sub(lambda id_: ids.setdefault(id_[0], f"<id {len(ids)}>"), text.replace(result.id, "<cell>"))
    return [*named.split("\n"), result.reply["status"]]


def by_stream(result: Result) -> dict[str, Any]:
    """What a cell showed, less the order of stdout and stderr against each other, which a native kernel does not keep."""
    rest = [item for item in shown(result) if item[0] != "stream"]
    return {"stdout": scrub(result.stdout, SCRUBS), "stderr": scrub(result.stderr, SCRUBS), "rest": rest}


def _merged(messages: Iterable[Message]) -> list[tuple[str, dict[str, Any]]]:
    """Consecutive streams of one name are one output in a notebook, however the kernel cut them."""
    merged: list[tuple[str, dict[str, Any]]] = []
    for message in messages:
        kind, content = message.kind, message.content
        if kind == "stream" and merged and merged[-1][0] == kind and merged[-1][1]["name"] == content["name"]:
            merged[-1] = (kind, {**content, "text": merged[-1][1]["text"] + content["text"]})
        else:
            merged.append((kind, content))
    return merged


def _named(message: tuple[str, dict[str, Any]], ids: dict[str, str]) -> tuple[str, Any]:
    kind, content = message
    random = content.get("transient", {}).get("display_id")
    if random:
        content = {**content, "transient": {"display_id": ids.setdefault(random, f"display {len(ids)}")}}
    return kind, scrub(content, SCRUBS, less=("execution_count",))
