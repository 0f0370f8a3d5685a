"""Tab completion of the magic line: `line.complete` as a matcher for IPython's completer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.line.complete import Completion

RECOMMEND = "%modal_gpu recommend "
STARTS = ("%%modal_gpu ", "%modal_gpu use ", RECOMMEND)
COMMAND = "%modal_gpu "
_USUAL = ("status", "gpus", "stop", "use", "recommend")
"""Commands that are offered first."""
_ON_A_PAGE = {ord(" "): "\N{NO-BREAK SPACE}", ord("-"): "\N{NON-BREAKING HYPHEN}"}
"""Characters at which JupyterLab 4.6 would break the text on the right, over the rows below. A terminal shows a
no-break space underlined, so it gets plain text."""
WIDTH = 60
"""Most characters beside a completion."""
_NAMES = ("--in", "--no-in", "--out")
"""Options whose values are variables of the notebook."""


def matcher(shell: InteractiveShell, volumes: Callable[[], set[str]] = set) -> Callable[[Any], Any]:
    """Return a matcher for `shell.Completer.custom_matchers`; `volumes()` returns the names of known Volumes."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    unbroken = _ON_A_PAGE if getattr(shell, "kernel", None) is not None else {}

    def answer(fragment: str, texts: list[tuple[str, str]]) -> dict[str, Any]:
        completions = [SimpleCompletion(text, type=beside.translate(unbroken)) for text, beside in texts]
        return {
            "completions": completions,
            "matched_fragment": fragment,
            "suppress": bool(texts),
            "ordered": True,  # the usual ones first
        }

    @context_matcher(identifier="modal_gpu")  # type: ignore[untyped-decorator]  # IPython's decorator is untyped
    def modal_gpu(context: Any) -> Any:
        line, cursor = context.line_with_cursor, context.cursor_position
        start = next((start for start in (*STARTS, COMMAND) if line.startswith(start)), None)
        if start is None or cursor < len(start):
            return {"completions": []}
        if start == COMMAND:
            fragment, texts = _words(line[len(COMMAND) : cursor], volumes)
            if texts or " " in line[len(COMMAND) : cursor]:
                return answer(fragment, [(text, _about_command(text)) for text in texts])
        found = _header(shell, start, line[len(start) :], cursor - len(start))
        begin = len(start) + (found[0].start if found else 0)
        return answer(line[begin:cursor], [(each.text, _beside(each, shell)) for each in found])

    return modal_gpu  # type: ignore[no-any-return]


def _header(shell: InteractiveShell, start: str, text: str, cursor: int) -> list[Completion]:
    """Return the completions of a header's text, or of the words of `recommend`."""
    from modal_gpu_magic.line.complete import complete, complete_recommend
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.wire.values.referenced_globals import every_name

    if start == RECOMMEND:
        return complete_recommend(text, cursor)
    names = [name for name in every_name(shell.user_ns) if name not in shell.user_ns_hidden]
    machines = [name for name in names if issubclass(type(shell.user_ns[name]), Machine)]
    return complete(text, cursor, machines=machines, values=dict.fromkeys(_NAMES, names))


def _beside(completion: Completion, shell: InteractiveShell) -> str:
    """Return what a front end shows on the right of a completion: `80 GB · $3.95/h`, or an option's sentence.

    Front ends show the completion's type there, as text (`_jupyter_types_experimental` of the message
    `complete_reply`, ipykernel 7.4; JupyterLab 4.6 in small letters).
    """
    if completion.type in ("gpu", "count"):
        from modal_gpu_magic.line.spec import GpuSpec
        from modal_gpu_magic.plan.machine.quote import rate

        spec = GpuSpec.parse(completion.text)
        note = " · no upgrade" if spec.strict else ""
        return f"{spec.vram_gb} GB · {rate(spec.price_per_hour)}{note}"
    if completion.type == "value" and completion.text in shell.user_ns:
        return type(shell.user_ns[completion.text]).__name__
    return _short(completion.help or completion.type)


def _about_command(word: str) -> str:
    """Return the sentence about a command, without what follows its first clause."""
    from modal_gpu_magic.ui.magics.commands import COMMANDS

    command = COMMANDS.get(word)
    return _short((command.__doc__ or "").partition(": ")[2]) if command else "path"


def _short(sentence: str) -> str:
    """Return the first clause of a sentence, as long as a list of completions has room for."""
    clause = re.split(r"[;:.](?:\s|$)|, (?:since|which|and is) ", sentence)[0]
    return clause if len(clause) <= WIDTH else f"{clause[: WIDTH - 1].rpartition(' ')[0]}…"


def _words(before: str, volumes: Callable[[], set[str]]) -> tuple[str, list[str]]:
    """Return the word under the cursor after `%modal_gpu `, and its completions."""
    from modal_gpu_magic.session.costs.summary import SPANS
    from modal_gpu_magic.ui.magics import copy_commands
    from modal_gpu_magic.ui.magics.commands import COMMANDS
    from modal_gpu_magic.ui.magics.costs import BILL

    words = before.split()
    current = words.pop() if before[-1:].strip() else ""
    if not words:
        return current, [word for word in dict.fromkeys((*_USUAL, *COMMANDS)) if word.startswith(current)]
    if words[0] == "costs":
        return current, [word for word in (*SPANS, BILL) if word.startswith(current) and word not in words]
    if words[0] not in ("put", "get", "ls"):
        return current, []
    return current, copy_commands.complete(words[0], words[1:], current, volumes())
