"""Parse the words of a line that are no options: specs, one need, or one Machine.

`spec` parses a single spec or need; this module checks their combination and suggests corrections.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.gpus import GPUS, lookup
from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.options import Option
from modal_gpu_magic.line.scan import Word
from modal_gpu_magic.line.slips import Slip, meant_by
from modal_gpu_magic.line.spec import GpuSpec, Need

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class Request:
    """A word that is no option.

    Attributes:
        word: the word.
        after: the option and its word just before, of which the word may have been meant as a part.
    """

    word: Word
    after: tuple[Option, Word] | None = None


def asked_for(
    requests: Collection[Request], machines: Collection[str], *, allow_unknown: bool
) -> tuple[tuple[GpuSpec, ...], str | None]:
    """Return the specs in order, or the name of the Machine; neither without requests.

    A need must be the only request: beside a name it would add all larger GPUs as fallbacks, and `A100 80GB` is a typo.

    Raises:
        UnknownGpuError: a GPU that the catalog does not contain.
        LineError: any other fault.
    """
    parts = [Request(part, request.after) for request in requests for part in _between_commas(request.word)]
    for index, request in enumerate(parts):
        word, is_machine = request.word, _is_machine(request.word, machines)
        if not is_machine and not Need.looks_like(word.text):
            continue
        if request.after and request.after[0].flag == "--pip" and word.text[0].isdigit() and "." in word.text:
            flag, package = request.after[0].flag, request.after[1].text
            raise word.refusal(f"A version follows its package without a space: write {flag} {package}=={word.text}.")
        if len(parts) > 1:
            kind = "the name of a Machine" if is_machine else "a need"
            meant = _meant_together(parts[index - 1].word.text if index else "", word.text)
            raise word.refusal(f"{word.text} is {kind}, which stands alone; {meant}")
        return ((), word.text) if is_machine else (_need(word), None)
    specs: dict[GpuSpec, None] = {}
    for index, request in enumerate(parts):
        spec = _spec(parts, index, machines, allow_unknown=allow_unknown)
        if spec in specs:
            meant = f"write {spec}:2 for two of them, or " if spec.count == 1 else ""
            raise request.word.refusal(f"{spec} is asked for twice; {meant}keep one.")
        specs[spec] = None
    return tuple(specs), None


def _between_commas(word: Word) -> list[Word]:
    """Split a word at its commas. Commas, spaces or both separate fallbacks, so empty parts are dropped."""
    ends = [index for index, char in enumerate(word.text) if char == ","]
    pieces = word.parts(zip([0, *(end + 1 for end in ends)], [*ends, len(word.text)], strict=True))
    return [piece for piece in pieces if piece.text]


def _is_machine(word: Word, machines: Collection[str]) -> bool:
    """Whether a word names a Machine. A GPU's name always means the GPU, so that headers mean the same everywhere."""
    return word.text in machines and lookup(word.text) is None


def _meant_together(before: str, text: str) -> str:
    name, _, count = before.partition(":")
    size, _, own_count = text.partition(":")
    joined, gpu = lookup(f"{name}-{size}"), lookup(name)
    if joined is None and gpu is not None and size.upper() == f"{gpu.vram_gb}GB":
        joined = gpu
    counts = f":{count or own_count}" if count or own_count else ""
    return f"did you mean {joined.name}{counts}?" if joined else f"write {text} without the rest."


def _need(word: Word) -> tuple[GpuSpec, ...]:
    try:
        return Need.parse(word.text).resolve()
    except LineError as error:
        raise word.placed(error) from None


def _spec(parts: list[Request], index: int, machines: Collection[str], *, allow_unknown: bool) -> GpuSpec:
    request = parts[index]
    word = request.word
    try:
        return GpuSpec.parse(word.text, allow_unknown=allow_unknown)
    except LineError as error:
        if sentence := meant_by(_slip(parts, index)):
            raise word.refusal(sentence) from None
        if not nearest(word.text, GPUS):
            _refuse_stray(request)
            _refuse_mistyped_machine(word, machines)
        raise word.placed(error) from None


def _slip(parts: list[Request], index: int) -> Slip:
    """Describe the word at fault to the rules of `slips`."""
    request = parts[index]
    after = request.after and (request.after[0], request.after[1].text)
    word = request.word
    return Slip(tuple(part.word.text for part in parts), index, after, word.line[word.at[0] :])


def _refuse_mistyped_machine(word: Word, machines: Collection[str]) -> None:
    near = nearest(word.text, machines, limit=1)
    if near:
        raise word.refusal(f"No GPU or Machine is called {word.text}; did you mean {near[0]}?")


def _refuse_stray(request: Request) -> None:
    """Refuse a word after a list that probably belongs to the list: `--pip torch einops`."""
    if request.after is None or not request.after[0].kind.many:
        return
    (option, before), text = request.after, request.word.text
    try:
        option.kind.read(text)
    except LineError:
        return
    if option.kind.ordered:  # a command may contain spaces
        meant = f"{option.flag} {shlex.quote(f'{before.text} {text}')}"
    else:
        meant = f"{option.flag} {before.text}{',' if option.kind.cut else f' {option.flag} '}{text}"
    raise request.word.refusal(f"{text} is no GPU; if it belongs to {option.flag}, write {meant}.")
