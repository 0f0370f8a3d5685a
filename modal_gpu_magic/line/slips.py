"""Words that are no request, but whose meaning is plain: the sentence that says what to write.

Each rule reads a `Slip`, and returns its sentence, or None where it does not apply. The first that applies wins.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.gpus import lookup
from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.options import OPTIONS, Option
from modal_gpu_magic.line.spec import GpuSpec, Need, corrected
from modal_gpu_magic.line.units import read_duration, unit_of, write_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMANDS: Final = (
    *("picker", "use", "gpus", "recommend", "put", "get", "ls"),
    *("status", "attach", "last", "metrics", "costs", "stop", "help"),
)
"""The commands of `%modal_gpu`."""
_OF_A_MACHINE: Final = frozenset({"use", "picker"})
"""The commands that a GPU follows."""


@dataclass(frozen=True, slots=True)
class Slip:
    """A word that is no request, and its place.

    Attributes:
        words: all words of the line that are no options, without commas.
        at: index of the word.
        after: the option and its value just before the word, if there is one.
        rest: the line from the word on.
    """

    words: tuple[str, ...]
    at: int
    after: tuple[Option, str] | None = None
    rest: str = ""

    @property
    def text(self) -> str:
        """The word."""
        return self.words[self.at]

    @property
    def others(self) -> tuple[str, ...]:
        """The words around it."""
        return (*self.words[: self.at], *self.words[self.at + 1 :])


def meant_by(slip: Slip) -> str | None:
    """Return the sentence for a word that is no request; None: the meaning is not known."""
    return next((sentence for rule in _RULES if (sentence := rule(slip))), None)


def _command(slip: Slip) -> str | None:
    if slip.text not in COMMANDS:
        return None
    others = " ".join(slip.others)
    command = f"{slip.text} {others}" if slip.text in _OF_A_MACHINE and others else slip.text
    cell = f"%%modal_gpu {others} for this cell, or " if _all_are_gpus(slip.others) else ""
    return f"{slip.text} is a command, not a GPU: write {cell}%modal_gpu {command} in a cell of its own."


def _duration(slip: Slip) -> str | None:
    """`--timeout 2 hours`."""
    option, value = slip.after or (None, "")
    letter = unit_of(slip.text)
    if option is None or option.kind.write is not write_duration or not value.isdecimal() or not letter:
        return None
    duration = write_duration(read_duration(f"{value}{letter}"))
    return f"{slip.text} is a word of its own: write {option.flag} {duration}."


_CORES: Final = frozenset({"core", "cores", "cpu", "cpus", "vcpu", "vcpus"})
_JOINED_BY: Final = {"--region": "-", "--session": "-", "--service": "_"}
"""Options whose value is one word, and what joins several."""


def _one_word(slip: Slip) -> str | None:
    """`--cpu 4 cores`, `--region europe west`, `--session my session`."""
    option, value = slip.after or (None, "")
    if option is None or lookup(slip.text):
        return None
    if option.kind.unit == "cores" and slip.text.lower() in _CORES:
        return f"{option.flag} takes a number only: write {option.flag} {value}."
    sign = _JOINED_BY.get(option.flag)
    return f"{option.flag} takes one word: write {option.flag} {value}{sign}{slip.text}." if sign else None


_ANSWERS: Final = frozenset({"true", "false", "yes", "no", "on", "off"})


def _answer(slip: Slip) -> str | None:
    """`--quiet yes`."""
    return f"{slip.text} is no GPU; write an option such as --quiet alone." if slip.text.lower() in _ANSWERS else None


def _environment(slip: Slip) -> str | None:
    """`--env KEY VALUE`: the sentence has no value, which may be a secret."""
    option, name = slip.after or (None, "")
    if option is None or not option.kind.secret or "=" in name or lookup(slip.text):
        return None
    return f"A variable has its value after a =: write {option.flag} {name.rstrip(':')}=VALUE."


def _joined(slip: Slip) -> str | None:
    """`H100 x 2`, `2 H100`, `H100 : 2`, `A100 80`, `80 GB`: one request in several words."""
    for start, end in ((-2, 1), (-1, 2), (0, 3), (-1, 1), (0, 2)):
        first, last = slip.at + start, slip.at + end
        if first < 0 or last > len(slip.words):
            continue
        words = slip.words[first:last]
        if meant := _size(words):
            return f"A size has no space: write {meant}."
        if meant := _count(words):
            return meant
        if (joined := lookup("".join(words))) and not any(lookup(word) for word in words):
            return f"A GPU's name has no space: write {joined.name}."
    return None


_NAME = r"(?P<name>[A-Za-z][A-Za-z0-9+-]*!?)"
_DIGITS: Final = {"one": "1", "two": "2", "three": "3", "four": "4", "six": "6", "eight": "8"}
_NUMBER = r"(?P<number>[0-9]{1,9})"
_TIMES = r"\s*[xX×*:@=]?\s*"
_COUNTS = (re.compile(rf"{_NAME}{_TIMES}{_NUMBER}[xX]?"), re.compile(rf"{_NUMBER}{_TIMES}{_NAME}"))


def _count(words: tuple[str, ...]) -> str | None:
    for pattern in _COUNTS:
        match = pattern.fullmatch(" ".join(_DIGITS.get(word.lower(), word) for word in words))
        if match is None or lookup(match["name"].rstrip("!")) is None:
            continue
        try:
            spec = GpuSpec.parse(f"{match['name']}:{match['number']}")
        except LineError as error:
            return error.message
        return f"A count follows its GPU without a space: write {spec}."
    return None


def _size(words: tuple[str, ...]) -> str | None:
    match = re.fullmatch(r"([0-9]{1,6}) (?:g|gb|gib)((?::[0-9]+)?)", " ".join(words), re.IGNORECASE)
    if match:
        return f"{match[1]}GB{match[2]}"
    name, *rest = words
    joined = lookup(f"{name}-{rest[0]}GB") if len(rest) == 1 else None
    return joined.name if joined else None


_GPU_WORDS = frozenset({"gpu", "gpus", "gpu_type", "gputype", "type", "accelerator", "device", "name"})
_COUNT_WORDS = frozenset({"count", "gpu_count", "num_gpus", "ngpus", "n_gpus", "n", "num"})


def _keyword(slip: Slip) -> str | None:
    """`gpu="H100:2"`, `gpu:H100`, `count=2`."""
    name, _, value = _partition(slip.text)
    following = "".join(slip.words[slip.at + 1 : slip.at + 2])
    value = value or (following if name.lower() in _GPU_WORDS else "")
    if not value:
        return None
    if name.lower() in _GPU_WORDS and (meant := _gpu(value)):
        return f"A GPU needs no {name}; write {meant}."
    if name.lower() in _COUNT_WORDS and value.isdecimal():
        before = next(filter(None, map(_gpu, slip.others)), "H100").partition(":")[0]
        return f"A count follows its GPU; write {_gpu(f'{before}:{value}') or f'{before}:2'}."
    return None


def _option(slip: Slip) -> str | None:
    """`timeout=60`, `timeout 60`, `timeout:60`."""
    name, _, value = _partition(slip.text)
    option = OPTIONS.get(f"--{name.replace('_', '-').lower()}")
    after = slip.after[0] if slip.after else None
    is_item = slip.text == name and after is not None and (after.kind.many or after is option)  # `--in data out`
    if option is None or is_item:
        return None
    following = slip.words[slip.at + 1 : slip.at + 2]
    value = value or (following[0] if following and not _gpu(following[0]) else "") or option.kind.example
    return f"An option begins with two hyphens: write {option.flag}{'' if option.is_flag else f' {value}'}."


_SEPARATORS = re.compile(r"\||/|;|&|->|>|\+(?=[A-Za-z])")
_BETWEEN = frozenset({"or", "and", "then", "else", "/", "|", "||", "&", "+", ";", ">", "->", "fallback", "fallbacks"})


def _fallbacks(slip: Slip) -> str | None:
    """`H100 or A100`, `H100/A100`."""
    words = [word for word in slip.words if word.lower() not in _BETWEEN]
    texts = [part for word in words for part in _SEPARATORS.split(word) if part]
    is_separated = len(texts) > len(words) or len(words) < len(slip.words)
    if not is_separated or not _all_are_gpus(texts):
        return None
    meant = " ".join(str(GpuSpec.parse(text)) for text in texts)
    if len(texts) == 1:
        return f"{slip.text} stands alone; write {meant}."
    return f"Fallbacks stand side by side, the first choice first; write {meant}."


_MARKS = "[](){}<>'\"`“”‘’«»;,."  # noqa: RUF001 - quotes as word processors set them


def _marks(slip: Slip) -> str | None:
    """`["H100", "A100"]`, `(H100)`, curly quotes, `H100;`."""
    words = [word.strip(_MARKS) for word in slip.words]
    if slip.text.strip(_MARKS) == slip.text or not _all_are_gpus(words):
        return None
    return f"A GPU has no brackets and no marks; write {' '.join(words)}."


_MAKER = re.compile(r"(?:nvidia|tesla|geforce)[-_ ]?", re.IGNORECASE)


def _maker(slip: Slip) -> str | None:
    """`nvidia-h100`, `NVIDIA H100`, `Tesla T4`."""
    found = _MAKER.match(slip.text)
    if found is None:
        return None
    following = slip.words[slip.at + 1] if slip.at + 1 < len(slip.words) else ""
    meant = _gpu(slip.text[found.end() :] or following)
    return f"Modal's names have no maker; write {meant}." if meant else None


def _memory(slip: Slip) -> str | None:
    """`H100-80GB`, `H100_80GB`: a GPU that comes with one size of memory."""
    match = re.fullmatch(r"([A-Z0-9-]+?)[-_]([0-9]{1,3})(?:GB|G)?((?::[0-9]+)?)", slip.text, re.IGNORECASE)
    gpu = lookup(match[1]) if match else None
    if match is None or gpu is None or not gpu.pinned or _gpu(slip.text.replace("_", "-")):
        return None
    return f"{gpu.name} has {gpu.vram_gb} GB; write {gpu.name}{match[3]}."


_PLAIN: Final = {
    "cpu": "CPU is no GPU; write a session without a GPU, such as %%modal_gpu --session cpu.",
    "none": "None is no GPU; write a session without a GPU, such as %%modal_gpu --session cpu.",
    "gpu": "No GPU is called gpu; write which, such as H100, or its least memory, such as 24GB.",
    "gpus": "No GPU is called gpus; write which, such as H100, or its least memory, such as 24GB.",
    "cuda": "No GPU is called cuda; write a GPU, such as H100, or --image cuda for NVIDIA's toolkit.",
    "tpu": "Modal has no TPU; write a GPU, such as H100.",
    "rtx": "Modal has one RTX; write RTX-PRO-6000.",
    "rtx6000": "No GPU is called RTX6000; did you mean RTX-PRO-6000?",
}
_NOT_AT_MODAL: Final = {
    **dict.fromkeys(("K80", "P4", "P100", "V100-16GB", "RTX4080", "4080", "RTX2080", "RTX-4080"), 16),
    **dict.fromkeys(("3090", "4090", "RTX3090", "RTX4090", "RTX-3090", "RTX-4090", "A5000", "RTX-A5000"), 24),
    **dict.fromkeys(("5090", "RTX5090", "RTX-5090", "V100-32GB", "A30"), 32),
    **dict.fromkeys(("A6000", "RTX-A6000", "RTXA6000", "A40", "L20"), 48),
    **dict.fromkeys(("H800", "H20", "A800", "GH200"), 80),
    **dict.fromkeys(("MI300", "MI300X", "MI325X"), 192),
}
"""Memory of well-known GPUs that Modal does not have, GB."""


def _known(slip: Slip) -> str | None:
    following = "".join(slip.words[slip.at + 1 : slip.at + 2])
    for text in (slip.text + following, slip.text):  # `RTX 4090` is two words
        name, _, count = text.upper().partition(":")
        if size := _NOT_AT_MODAL.get(name):
            return f"Modal has no {name}; write {size}GB{':' if count else ''}{count} for any GPU with as much memory."
        if sentence := _PLAIN.get(text.lower()):
            return sentence
    return None


_STATEMENTS = (
    *(ast.Import, ast.ImportFrom, ast.Assign, ast.AugAssign, ast.For, ast.While, ast.If, ast.With),
    *(ast.FunctionDef, ast.ClassDef, ast.Return, ast.Del, ast.Assert, ast.Raise, ast.Pass),
)


def _code(slip: Slip) -> str | None:
    """`T4 import torch`, `T4 print(1)`, `T4; x = 1`."""
    if corrected(slip.text):  # `H100=2`
        return None
    code = slip.rest
    separate = re.match(r"\S+; *(?=\S)", code)
    if separate and lookup(separate[0].strip("; ")):
        code = code[separate.end() :]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `2is` is a warning on stderr
            body = ast.parse(code.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    first = body[0] if body else None
    is_call = isinstance(first, ast.Expr) and isinstance(first.value, ast.Call | ast.Await)
    return "Code starts below the header; move the code to the next line." if is_call or _is_statement(first) else None


def _is_statement(node: ast.stmt | None) -> bool:
    return isinstance(node, _STATEMENTS)


_RULES: Final[tuple[Callable[[Slip], str | None], ...]] = (
    *(
        _command,
        _duration,
        _one_word,
        _answer,
        _environment,
        _joined,
        _keyword,
        _known,
        _option,
        _code,
        _fallbacks,
        _marks,
    ),
    *(_maker, _memory),
)

OPTION_WORDS: Final = {
    **dict.fromkeys(
        ("requirements", "requirement", "packages", "package", "install", "pip-install", "pip3", "deps"), "--pip"
    ),
    **dict.fromkeys(("apt-get", "apt-install", "debian", "system"), "--apt"),
    **dict.fromkeys(("docker", "docker-image", "container", "base"), "--image"),
    **dict.fromkeys(("mount", "mounts", "vol", "disk", "storage"), "--volume"),
    **dict.fromkeys(("environment", "environ", "envvar", "e"), "--env"),
    **dict.fromkeys(("token", "secret-name"), "--secret"),
    **dict.fromkeys(("cores", "cpus", "vcpu", "num-cpus"), "--cpu"),
    **dict.fromkeys(("mem", "ram", "memory-mb", "memory-gb"), "--memory"),
    **dict.fromkeys(
        ("idle", "idle-timeout", "keepalive", "keep-alive", "scaledown-window", "scaledown", "container-idle-timeout"),
        "--keep-warm",
    ),
    **dict.fromkeys(("time", "time-limit", "max-time", "limit", "walltime"), "--timeout"),
    **dict.fromkeys(("name", "kernel"), "--session"),
    **dict.fromkeys(("nproc-per-node", "nproc", "np", "processes", "procs", "ddp", "distributed", "mpi"), "--torchrun"),
    **dict.fromkeys(("nnodes", "num-nodes", "cluster", "machines"), "--nodes"),
    **dict.fromkeys(("serve", "deploy", "server", "endpoint"), "--service"),
    **dict.fromkeys(("upload", "max-upload"), "--send"),
    **dict.fromkeys(("download", "max-download", "return"), "--fetch"),
    **dict.fromkeys(("input", "inputs", "i"), "--in"),
    **dict.fromkeys(("output", "outputs", "o"), "--out"),
    **dict.fromkeys(("local", "cloud", "remote", "where"), "--backend"),
    **dict.fromkeys(("silent", "q", "s", "no-output"), "--quiet"),
    **dict.fromkeys(("plan", "check", "preview", "simulate", "n"), "--dry-run"),
    **dict.fromkeys(("fresh", "reset", "restart"), "--clean"),
    **dict.fromkeys(("price", "cost", "max-cost", "max-price"), "--budget"),
    **dict.fromkeys(("params", "parameters", "model-size"), "--model"),
    **dict.fromkeys(("precision", "quantization"), "--dtype"),
}
"""Words for an option, without hyphens, that are not similar to the option's name."""
GPU_OPTIONS: Final = frozenset({"--gpu", "--gpus", "-g", "--gpu-type", "--accelerator", "--device", "--type"})
"""Options that other tools have, and that a header does not need."""
COUNT_OPTIONS: Final = frozenset(
    {"--count", "--gpu-count", "--num-gpus", "--ngpus", "--n-gpus", "--gpus-per-node", "--num_gpus", "--gpu_count"}
)
"""Options of other tools for the number of GPUs."""


def _partition(text: str) -> tuple[str, str, str]:
    """Split `name=value` and `name:value`."""
    match = re.fullmatch(r"([A-Za-z_][\w-]*)([=:])(.*)", text)
    return (match[1], match[2], match[3]) if match else (text, "", "")


def _gpu(text: str) -> str:
    """Return a text as a request for a GPU; empty: the text is none, or Modal does not offer it."""
    try:
        return str(GpuSpec.parse(text.strip(_MARKS)))
    except LineError:
        return ""


def _all_are_gpus(texts: Sequence[str]) -> bool:
    return bool(texts) and all(_gpu(text) or Need.looks_like(text) for text in texts)
