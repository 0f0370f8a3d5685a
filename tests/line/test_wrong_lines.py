"""Lines that cannot be run as written. Each gives one sentence, a caret under the fault, and a way out.

Nothing is sent for any of them: the parser is pure, and this is all that a wrong line ever meets.
"""

from __future__ import annotations

import re

import pytest

from modal_gpu_magic.errors import LineError, UnknownGpuError
from modal_gpu_magic.line.options import OPTIONS
from modal_gpu_magic.line.parse import parse

TABLE = r"""
V100
^^^^
No GPU is called V100; did you mean H100 or A100?

H10
^^^
No GPU is called H10; did you mean H100?

FOO
^^^
No GPU is called FOO; Modal has T4, L4, A10, A100-40GB, A100-80GB, L40S, H100, H200, B200, A100, RTX-PRO-6000, B200+, B300.

RTX6000
^^^^^^^
No GPU is called RTX6000; did you mean RTX-PRO-6000?

A100-80
^^^^^^^
No GPU is called A100-80; did you mean A100-80GB?

any
^^^
Modal's `any` has no price in advance; list what would do, such as L4 A10 T4.

GB200
^^^^^
GB200 is for reservations only; write B200 or B300.

H100:9
     ^
H100 comes in 1 to 8, not 9; did you mean H100:8?

A10:8
    ^
A10 comes in 1 to 4, not 8; did you mean A10:4?

A10G:5
     ^
A10 comes in 1 to 4, not 5; did you mean A10:4?

A10:0
    ^
A10 comes in 1 to 4, not 0; did you mean A10?

H100:-1
     ^^
H100 comes in 1 to 8, not -1; did you mean H100?

T4:99, L4
   ^^
T4 comes in 1 to 8, not 99; did you mean T4:8?

A10!
   ^
Modal has no strict A10; write A10.

B200!:2
    ^
Modal has no strict B200; write B200:2.

H100:2!
^^^^^^^
H100:2! is not a GPU request; did you mean H100!:2?

H100!!
^^^^^^
H100!! is not a GPU request; did you mean H100!?

2xH100
^^^^^^
2xH100 is not a GPU request; did you mean H100:2?

H100x2
^^^^^^
No GPU is called H100x2; did you mean H100:2?

H100*2
^^^^^^
H100*2 is not a GPU request; did you mean H100:2?

H100=2
^^^^^^
H100=2 is not a GPU request; did you mean H100:2?

H100:
^^^^^
H100: is not a GPU request; did you mean H100:2?

H100:two
^^^^^^^^
H100:two is not a GPU request; did you mean H100:2?

H100:2.5
^^^^^^^^
H100:2.5 is not a GPU request; did you mean H100:2?

!H100
^^^^^
!H100 is not a GPU request; did you mean H100?

H100;A100
^^^^^^^^^
H100;A100 is not a GPU request; did you mean H100?

gpu=H100
^^^^^^^^
gpu=H100 is not a GPU request; did you mean H100?

24
^^
24 is not a GPU request; a need has its unit: 24GB.

4090
^^^^
4090 is not a GPU request; write a name and perhaps a count, such as H100 or H100:2.

H100 H100
     ^^^^
H100 is asked for twice; keep one.

T4 A10 A10G
       ^^^^
A10 is asked for twice; keep one.

24G
^^^
24G is not a need; write whole GB, such as 24GB.

24.5GB
^^^^^^
24.5GB is not a need; write whole GB, such as 24GB.

24GB..80
^^^^^^^^
24GB..80 is not a need; write whole GB, such as 24GB..80GB.

24..80GB
^^^^^^^^
24..80GB is not a need; write whole GB, such as 24GB..80GB.

80GB..24GB
^^^^^^^^^^
80GB..24GB asks for nothing; write 24GB..80GB.

0GB
^^^
0GB asks for nothing; write 1GB.

300GB
^^^^^
No GPU has 300 GB; the largest is B300: write 288GB.

24GB:9
^^^^^^
No GPU that fits comes in 9; write 24GB:8.

30GB..35GB
^^^^^^^^^^
No GPU has 30 to 35 GB; write 30GB..40GB for A100-40GB.

A100 80GB
     ^^^^
80GB is a need, which stands alone; did you mean A100-80GB?

A100:2 80GB
       ^^^^
80GB is a need, which stands alone; did you mean A100-80GB:2?

24GB H100
^^^^
24GB is a need, which stands alone; write 24GB without the rest.

big H100
^^^
big is the name of a Machine, which stands alone; write big without the rest.

trainr
^^^^^^
No GPU or Machine is called trainr; did you mean trainer?

"H10:2"
 ^^^
No GPU is called H10; did you mean H100?

r100:0 --allow-unknown-gpu
     ^
Counts start at 1, not 0; did you mean R100?

??? --allow-unknown-gpu
^^^
??? is not a GPU request; write a name and perhaps a count, such as H100 or H100:2.

--timout 2h
^^^^^^^^
There is no option --timout; did you mean --timeout?

--keep_warm 5m
^^^^^^^^^^^
There is no option --keep_warm; did you mean --keep-warm?

--torchrun 4
^^^^^^^^^^
There is no option --torchrun; `%modal_gpu help` lists them.

-t 5
^^
There is no option -t; did you mean --timeout?

–clean
^^^^^^
There is no option –clean; did you mean --clean?

--clean=1
^^^^^^^^^
--clean takes no value; write --clean.

--timeout
^^^^^^^^^
--timeout needs a value; write for example --timeout 2h.

--timeout --clean
^^^^^^^^^
--timeout needs a value; write for example --timeout 2h.

--timeout=
^^^^^^^^^^
--timeout needs a value; write for example --timeout 2h.

--timeout 2hours
          ^^^^^^
2hours is not a duration; did you mean 2h?

--timeout 1.5h
          ^^^^
1.5h is not a duration; did you mean 1h30m?

--timeout soon
          ^^^^
soon is not a duration; write 300 (seconds), 90m, 12h or 1h30m.

--timeout 25h
          ^^^
25h is out of range (1s to 24h); did you mean 24h?

--timeout 0
          ^
0 is out of range (1s to 24h); did you mean 1s?

--timeout 1h --timeout 2h
                       ^^
--timeout is given twice; keep one.

--keep-warm 1
            ^
1 is out of range (2s to 1h); did you mean 2s?

--keep-warm 2h
            ^^
2h is out of range (2s to 1h); did you mean 1h?

--quiet --quiet
        ^^^^^^^
--quiet is given twice; keep one.

--clean --move
        ^^^^^^
--move carries values over and --clean drops them; keep one.

--in x --no-in y,x
                 ^
x is both to be sent and not; keep one of --in and --no-in.

--pip torch einops
            ^^^^^^
einops is no GPU; if it belongs to --pip, write --pip torch,einops.

--run make install
           ^^^^^^^
install is no GPU; if it belongs to --run, write --run 'make install'.

--pip torch, einops
      ^^^^^^
A list has no space or end behind a comma; write --pip torch,einops.

--pip -r requirements.txt
      ^^
-r is an option for pip and --pip takes packages only; write their names, such as torch,einops.

--pip --index-url https://example.com
      ^^^^^^^^^^^
--index-url is an option for pip and --pip takes packages only; write their names, such as torch,einops.

--pip "torch --index-url https://example.com"
       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
--index-url is an option for pip and --pip takes packages only; write torch.

--pip torch=2.1
      ^^^^^^^^^
torch=2.1 is not a package; did you mean torch==2.1?

--pip "torch einops"
       ^^^^^^^^^^^^
torch einops is not a package; did you mean torch,einops?

--pip einops,torch==2.1,Torch==2.2
                        ^^^^^^^^^^
--pip has torch twice, as torch==2.1 and Torch==2.2; keep one.

--pip ""
^^^^^
--pip needs a value; write for example --pip einops.

--pip torch>=
      ^^^^^^^
torch>= is not a package; write a name and perhaps a version, such as torch or torch>=2.1.

--apt -y
      ^^
-y is not a Debian package; write for example ffmpeg.

--apt FFmpeg
      ^^^^^^
FFmpeg is not a Debian package; write ffmpeg.

--apt "git curl"
       ^^^^^^^^
git curl is not a Debian package; write git,curl.

--volume d
         ^
d has no path that Modal can mount at; write d:/d.

--volume d:data
         ^^^^^^
d:data has no path that Modal can mount at; write d:/data.

--volume /data:/data
         ^^^^^^^^^^^
/data:/data does not begin with the name of a Volume; write data:/data.

--volume d:/
         ^^^
d:/ has no path that Modal can mount at; write d:/mnt/d.

--volume d:/tmp
         ^^^^^^
d:/tmp has no path that Modal can mount at; write d:/mnt/d.

--volume d:/d/
         ^^^^^
d:/d/ has no path that Modal can mount at; write d:/d.

--volume d:/d:ro
         ^^^^^^^
d:/d:ro has no path that Modal can mount at; write d:/d.

--volume d:/a,d:/b
              ^^^^
--volume has d twice, as d:/a and d:/b; keep one.

--volume d:/a --volume e:/a
                       ^^^^
--volume has /a twice, as d:/a and e:/a; keep one.

--secret "my secret"
          ^^^^^^^^^
my secret is not a name Modal takes (letters, digits, - _ .); write my-secret.

--env 1A=2
      ^^^^
1A=2 does not begin with the name of a variable; write --env A=2.

--env A,B
      ^^^
A,B is not the name of a variable; write --env A --env B.

--env =x
      ^^
=x does not begin with the name of a variable; write --env NAME=x.

--env A=1 --env A=2
                ^^^
--env has A twice, as A=1 and A=2; keep one.

--cpu four
      ^^^^
four is not a number of cores; write for example 4.

--cpu 4cores
      ^^^^^^
4cores is not a number of cores; write 4.

--cpu 0.01
      ^^^^
0.01 is less than Modal gives; write 0.125 or more.

--memory 16
         ^^
16 is not a size; did you mean 16GB?

--memory 16G
         ^^^
16G is not a size; did you mean 16GB?

--memory 64MB
         ^^^^
64MB is out of range (at least 128MiB); did you mean 128MiB?

--memory lots
         ^^^^
lots is not a size; write 16GB or 512MB.

--fetch 1.5
        ^^^
1.5 is not a size; did you mean 1.5GB?

--fetch 0.0001KB
        ^^^^^^^^
0.0001KB is not a whole number of bytes; write 1B.

--session "my session"
           ^^^^^^^^^^
my session is not a session's name (up to 32 letters, digits, - _ .); write my-session.

--backend aws
          ^^^
aws is not a backend; write cloud or local.

--backend clod
          ^^^^
clod is not a backend; did you mean cloud?

--python 3
         ^
3 is not a Python of Modal's (3.10 to 3.15); write 3.12.

--python 3.9
         ^^^
3.9 is not a Python of Modal's (3.10 to 3.15); write 3.10.

--python 3.12.1
         ^^^^^^
3.12.1 is not a Python of Modal's (3.10 to 3.15); write 3.12.

--image pytorch-2
        ^^^^^^^^^
pytorch-2 is neither a preset, a registry reference nor a variable; did you mean torch?

--image https://nvcr.io/x:1
        ^^^^^^^^^^^^^^^^^^^
https://nvcr.io/x:1 is not a registry reference; write nvcr.io/x:1.

--image a:b:c:d
        ^^^^^^^
a:b:c:d is not a registry reference; write for example nvcr.io/nvidia/pytorch:25.10-py3.

--in a.b
     ^^^
a.b is not the name of a variable; write a.

--in class
     ^^^^^
class is not the name of a variable; write for example x.

--region US-East
         ^^^^^^^
US-East is not a region; write us-east.

"H100
^
This " has no partner; close the quotes.

H100 --run 'x
           ^
This ' has no partner; close the quotes.

H100 \
     ^
This \ continues nothing; remove it.

--pip ,
      ^
--pip needs a value; write for example --pip einops.

--env A=1 B
          ^
B is no GPU; if it belongs to --env, write --env A=1 --env B.
"""

WRONG_LINES = [tuple(case.split("\n")) for case in TABLE.strip("\n").split("\n\n")]

WAYS_OUT = (
    "did you mean",
    "write",
    "keep one",
    "Modal has",
    "presets are",
    "close the quotes",
    "remove it",
    "lists them",
    "list what",
    "a need has",
)
"""Every sentence has one of these."""


@pytest.mark.parametrize("line, caret, message", WRONG_LINES, ids=[line for line, _, _ in WRONG_LINES])
def test_one_sentence_a_caret_and_a_way_out(line: str, caret: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse(line, machines=("big", "trainer"))
    assert str(caught.value) == f"{message}\n    {line}\n    {caret}"


def test_the_table_is_long_enough_and_says_nothing_twice() -> None:
    assert len({line for line, _, _ in WRONG_LINES}) == len(WRONG_LINES) >= 60


@pytest.mark.parametrize("message", sorted({message for _, _, message in WRONG_LINES}))
def test_a_message_is_one_sentence_with_a_way_out(message: str) -> None:
    assert re.fullmatch(r"[^\n]+[.?]", message)
    assert not re.search(r"[.?!] [A-Z]", message)
    assert any(way_out in message for way_out in WAYS_OUT)


SUGGESTED = [(line, meant[1]) for line, _, text in WRONG_LINES if (meant := re.search(r"did you mean (\S+)\?$", text))]


@pytest.mark.parametrize("line, meant", SUGGESTED)
def test_what_is_suggested_is_right(line: str, meant: str) -> None:
    """A flag is one of the table; a value is read behind the option it is for, a request by itself."""
    first, *rest = line.split()
    if meant.startswith("--"):
        assert meant in OPTIONS
    elif first.startswith("--"):
        parse(f"{first} {meant}")
    else:
        parse(" ".join((meant, *(word for word in rest if word.startswith("--")))), machines=("big", "trainer"))


@pytest.mark.parametrize("line", ["V100", "H10:2", "H100x2", "any"])
def test_an_unknown_gpu_is_an_error_of_its_own(line: str) -> None:
    with pytest.raises(UnknownGpuError):
        parse(line)
