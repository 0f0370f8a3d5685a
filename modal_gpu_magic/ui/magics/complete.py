"""Tab completion of the magic line: `line.complete` as a matcher for IPython's completer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

RECOMMEND = "%modal_gpu recommend "
STARTS = ("%%modal_gpu ", "%modal_gpu use ", RECOMMEND)
COMMAND = "%modal_gpu "
_NAMES = ("--in", "--no-in", "--out")
"""Options whose values are variables of the notebook."""


def matcher(shell: InteractiveShell, volumes: Callable[[], set[str]] = set) -> Callable[[Any], Any]:
    """Return a matcher for `shell.Completer.custom_matchers`; `volumes()` returns the names of known Volumes."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    @context_matcher(identifier="modal_gpu")  # type: ignore[untyped-decorator]  # IPython's decorator is untyped
    def modal_gpu(context: Any) -> Any:
        line = context.line_with_cursor
        start = next((start for start in STARTS if line.startswith(start)), None)
        if start is None and line.startswith(COMMAND) and context.cursor_position >= len(COMMAND):
            fragment, texts = _words(line[len(COMMAND) : context.cursor_position], volumes)
            completions = [SimpleCompletion(text, type="command") for text in texts]
            return {"completions": completions, "matched_fragment": fragment, "suppress": bool(texts)}
        if start is None or context.cursor_position < len(start):
            return {"completions": []}
        from modal_gpu_magic.line.complete import complete, complete_recommend
        from modal_gpu_magic.plan.machine.definition import Machine
        from modal_gpu_magic.wire.values.referenced_globals import every_name

        names = [name for name in every_name(shell.user_ns) if name not in shell.user_ns_hidden]
        machines = [name for name in names if issubclass(type(shell.user_ns[name]), Machine)]
        text, cursor = line[len(start) :], context.cursor_position - len(start)
        if start == RECOMMEND:
            found = complete_recommend(text, cursor)
        else:
            found = complete(text, cursor, machines=machines, values=dict.fromkeys(_NAMES, names))
        begin = len(start) + (found[0].start if found else 0)
        return {
            "completions": [SimpleCompletion(each.text, type=each.type) for each in found],
            "matched_fragment": line[begin : context.cursor_position],
            "suppress": bool(found),
        }

    return modal_gpu  # type: ignore[no-any-return]


def _words(before: str, volumes: Callable[[], set[str]]) -> tuple[str, list[str]]:
    """Return the word under the cursor after `%modal_gpu `, and its completions."""
    from modal_gpu_magic.ui.magics import copy_commands
    from modal_gpu_magic.ui.magics.commands import COMMANDS

    words = before.split()
    current = words.pop() if before[-1:].strip() else ""
    if not words:
        return current, [word for word in COMMANDS if word.startswith(current)]
    if words[0] not in ("put", "get", "ls"):
        return current, []
    return current, copy_commands.complete(words[0], words[1:], current, volumes())
