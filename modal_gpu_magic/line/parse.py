"""Parse one line into a `Line`: the GPUs or the Machine requested, and the options.

Every error is a LineError with its position. `requests` parses the requested GPUs, `kinds` the values. The parser does
not read the notebook: the caller passes the names of Machine variables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.gpus import lookup
from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.cell import HELP
from modal_gpu_magic.line.options import OPTIONS, Option, Options
from modal_gpu_magic.line.requests import Request, asked_for
from modal_gpu_magic.line.scan import Word, scan
from modal_gpu_magic.line.slips import COUNT_OPTIONS, GPU_OPTIONS, OPTION_WORDS
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.line.units import size_unit

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class Line:
    """A parsed line.

    Attributes:
        specs: the GPU and its fallbacks in order, with needs resolved; empty: the session's own.
        machine: name of the requested Machine variable, or None.
        options: the options.
        text: the original text; ignored in comparisons.
    """

    specs: tuple[GpuSpec, ...] = ()
    machine: str | None = None
    options: Options = field(default_factory=Options)
    text: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        """Format the line as a text that parses to an equal line."""
        asked = [self.machine] if self.machine else [str(spec) for spec in self.specs]
        return " ".join(part for part in (*asked, str(self.options)) if part)


@dataclass(frozen=True, slots=True)
class _Value:
    """One value of an option, with its word."""

    value: Any
    word: Word


def parse(line: str, *, machines: Collection[str] = ()) -> Line:
    """Parse the text after `%%modal_gpu`.

    Args:
        line: the text, with options and specs in any order.
        machines: names of the notebook's Machine variables. A name of a GPU always means the GPU.

    Raises:
        UnknownGpuError: a GPU that the catalog does not contain.
        LineError: any other fault.
    """
    try:
        return _parsed(line, tuple(machines))
    except LineError as error:
        error.__context__ = None  # an error about one word, which does not know that the word is a value of `--env`
        raise


@lru_cache(maxsize=64)
def _parsed(line: str, machines: tuple[str, ...]) -> Line:
    """Parse a line. A notebook runs the same few lines again and again."""
    requests, given = _classify(scan(line))
    options = Options(**{option.field: _joined(option, values) for option, values in given.items()})
    _refuse_conflicts(given)
    specs, machine = asked_for(requests, machines, allow_unknown=bool(options.allow_unknown_gpu))
    return Line(specs, machine, options, line)


_ARROW = "->"
"""No option: an arrow between fallbacks."""
_DASHES = ("-", "–", "—")
"""Starts of an option. Editors turn two hyphens into one of the long dashes, which are never valid."""


def _classify(words: list[Word]) -> tuple[list[Request], dict[Option, list[_Value]]]:
    """Return the words that are requests, and the values of each option."""
    requests: list[Request] = []
    given: dict[Option, list[_Value]] = {}
    after: tuple[Option, Word] | None = None
    rest = iter(range(len(words)))
    for index in rest:
        word = words[index]
        if not word.text.startswith(_DASHES) or word.text == _ARROW:
            requests.append(Request(word, after))
            after = None
            continue
        option, value = _option(word, words[index + 1 : index + 2])
        if value is None and option.kind.alone is not None and not _is_number(words[index + 1 : index + 2]):
            given.setdefault(option, []).append(_Value(option.kind.alone, word))
            continue
        if value is None and not option.is_flag:
            value = _next_value(option, word, words[index + 1 : index + 2])
            next(rest)
        given.setdefault(option, []).extend(_values(option, word, value))
        after = (option, value) if value else None
    return requests, given


def _is_number(following: list[Word]) -> bool:
    """Whether the next word is the value of an option with an optional value: a need (`24GB`) or a GPU is not."""
    return any(word.text.lstrip("-").isdigit() for word in following)


def _option(word: Word, following: list[Word]) -> tuple[Option, Word | None]:
    """Return the option that a word names, and its value if it follows a `=`."""
    flag, equals, text = word.text.partition("=")
    option = OPTIONS.get(flag)
    named = word.part(0, len(flag))
    if option is None:
        raise named.refusal(_no_option(flag, text or " ".join(each.text for each in following), word))
    if not equals:
        return option, None
    if option.is_flag:
        raise word.refusal(f"{flag} takes no value; write {flag}.")
    return option, word.part(len(flag) + 1, len(word.text))


SETTINGS = {"budget_cell": "1", "budget_day": "10", "ledger": "False"}
"""Settings of `%config ModalGpu` that are looked for among the options, each with a usual value."""


def _no_option(flag: str, following: str, word: Word) -> str:
    """Return the sentence for a flag that is no option. `following`: its value, or the next word; may be empty."""
    if flag in GPU_OPTIONS:
        return f"A GPU needs no option; write {following or 'H100'}."
    if flag in COUNT_OPTIONS:
        gpus = (gpu.name for each in word.line.split() if (gpu := lookup(each)))
        return f"A count follows its GPU; write {next(gpus, 'H100')}:{following if following.isdecimal() else 2}."
    if not flag.strip("".join(_DASHES)):
        return f"An option has no space after its hyphens; write {_without_space(word)}."
    if gpu := lookup(flag.strip("".join(_DASHES))):
        return f"A GPU has no hyphens before its name; write {gpu.name}."
    setting = flag.strip("".join(_DASHES)).replace("-", "_").lower()
    if setting in SETTINGS:
        value = following if following.replace(".", "", 1).isdecimal() else SETTINGS[setting]
        return f"{setting} is a setting of the notebook, not an option: write %config ModalGpu.{setting} = {value}."
    return f"No option is called {flag}; {_meant_option(flag)}"


def _without_space(hyphens: Word) -> str:
    """Return what `-- nodes 2` means."""
    name, value, *_ = *hyphens.line[hyphens.at[-1] :].split(), "", ""
    option = OPTIONS.get(f"--{name}")
    if option is None:
        return "for example --timeout 2h"
    return option.flag if option.is_flag else f"{option.flag} {value or option.kind.example}"


def _meant_option(flag: str) -> str:
    names = {known.removeprefix("--"): known for known in OPTIONS}
    bare = flag.strip("".join(_DASHES)).replace("_", "-").lower()
    if bare in names:
        return f"did you mean {names[bare]}?"
    if bare in OPTION_WORDS:
        return f"did you mean {OPTION_WORDS[bare]}?"
    near = [] if flag in HELP else nearest(bare, names) or [name for name in names if bare and name.startswith(bare)]
    meant = either([names[name] for name in near]) if near else ""
    return f"did you mean {meant}?" if meant else "`%modal_gpu help` lists them."


def _next_value(option: Option, word: Word, following: list[Word]) -> Word:
    """Return the next word as the value, unless it is an option."""
    if following and following[0].text.partition("=")[0] not in OPTIONS:
        return following[0]
    raise _without_value(option, word)


def _without_value(option: Option, word: Word) -> LineError:
    return word.refusal(f"{option.flag} needs a value; write for example {option.flag} {option.kind.example}.")


def _values(option: Option, flag: Word, word: Word | None) -> list[_Value]:
    """Parse the values in one word."""
    if word is None:
        return [_Value(True, flag)]
    if not word.text.strip(" ," if option.kind.cut else None):
        raise _without_value(option, word if word.text else flag)
    pieces = word.parts(option.kind.cut(word.text)) if option.kind.cut else [word]
    if not all(piece.text.strip() for piece in pieces):
        raise word.refusal(f"A list has no space or end behind a comma; write {option.flag} {_meant_list(word)}.")
    return [_Value(_read(option, piece), piece) for piece in pieces]


def _meant_list(word: Word) -> str:
    """Return the list meant by `torch, einops`, which is two words."""
    following = word.line[word.at[-1] :].split()[:1]
    texts = [text.strip() for text in word.text.split(",")] + [text for text in following if text.isidentifier()]
    return ",".join(filter(None, texts))


def _read(option: Option, word: Word) -> Any:
    try:
        return option.kind.read(word.text)
    except LineError as error:
        unit = size_unit(next(iter(word.line[word.at[-1] :].split()), ""))
        if word.text.isdecimal() and unit and option.kind.unit in ("bytes", "MiB"):
            raise word.refusal(f"A size has no space; write {option.flag} {word.text}{unit}.") from None
        raise word.placed(error) from None


def _joined(option: Option, values: list[_Value]) -> Any:
    """Return the value of an option from all values given."""
    if not option.kind.many:
        if len(values) > 1:
            raise values[1].word.refusal(f"{option.flag} is given twice; keep one.")
        return values[0].value
    _refuse_rivals(option, values)
    if option.kind.ordered:
        return tuple(given.value for given in values)
    return tuple(sorted({given.value for given in values}, key=option.kind.write))


def _refuse_rivals(option: Option, values: list[_Value]) -> None:
    """Refuse two values that conflict: a package at two versions, a Volume at two paths."""
    holders: dict[str, Any] = {}
    for given in values:
        for claim in option.kind.claims(given.value) if option.kind.claims else ():
            held = holders.setdefault(claim, given.value)
            if held != given.value:
                both = f", as {option.kind.write(held)} and {option.kind.write(given.value)}"
                values_text = "" if option.kind.secret else both
                raise given.word.refusal(f"{option.flag} has {claim} twice{values_text}; keep one.")


def _refuse_conflicts(given: dict[Option, list[_Value]]) -> None:
    clean, move = given.get(OPTIONS["--clean"]), given.get(OPTIONS["--move"])
    if clean and move:
        raise move[0].word.refusal("--move carries values over and --clean drops them; keep one.")
    _refuse_service(given)
    if (bg := given.get(OPTIONS["--bg"])) and OPTIONS["--dry-run"] in given:
        raise bg[0].word.refusal("--dry-run shows the cell and runs nothing, so --bg has no meaning; keep one.")
    wanted = {sent.value for sent in given.get(OPTIONS["--in"], ())}
    for held in given.get(OPTIONS["--no-in"], ()):
        if held.value in wanted:
            raise held.word.refusal(f"{held.value} is both to be sent and not; keep one of --in and --no-in.")


_OF_A_SERVICE = ("--batch", "--wait-ms", "--min", "--max", "--concurrent")
_NOT_OF_A_SERVICE = ("--torchrun", "--nodes", "--detach", "--bg", "--clean", "--move", "--out", "--fetch")


def _refuse_service(given: dict[Option, list[_Value]]) -> None:
    """Refuse service options without `--service`, and other options that do not apply to a service."""
    first = {option.flag: values[0] for option, values in given.items()}
    if "--service" not in first:
        for flag in _OF_A_SERVICE:
            if flag in first:
                raise first[flag].word.refusal(
                    f"{flag} is for a service; write --service NAME {flag}, or leave it out."
                )
        return
    for flag in _NOT_OF_A_SERVICE:
        if flag in first:
            raise first[flag].word.refusal(f"A service has no {flag}; keep one of --service and {flag}.")
    if "--wait-ms" in first and "--batch" not in first:
        raise first["--wait-ms"].word.refusal("--wait-ms is for batches; write --batch 32 beside it, for example.")
    if "--min" in first and "--max" in first and first["--min"].value > first["--max"].value:
        least, most = first["--min"].value, first["--max"].value
        raise first["--min"].word.refusal(f"--min {least} is more than --max {most}; write --min {most} or less.")
