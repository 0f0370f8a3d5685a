"""A parser of argparse parses alike on both sides: nothing that was suppressed shows up."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from tests.wire.carried import carried


def plain() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train")
    parser.add_argument("--lr", type=float, default=0.1, help="the rate")
    parser.add_argument("--secret", help=argparse.SUPPRESS)
    parser.add_argument("-v", action="store_true")
    return parser


def suppressing() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train", argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("numbers").add_mutually_exclusive_group()
    group.add_argument("--lr", type=float)
    group.add_argument("--steps", type=int, default=argparse.SUPPRESS)
    parser.set_defaults(mode="fast")
    return parser


def of_commands() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help=argparse.SUPPRESS).add_argument("--lr", type=float)
    commands.add_parser("show").add_argument("--all", action=argparse.BooleanOptionalAction)
    return parser


CASES = [
    *((plain, line) for line in ("", "--lr 3", "-v --secret x")),
    *((suppressing, line) for line in ("", "--lr 3", "--steps 2")),
    *((of_commands, line) for line in ("", "run --lr 3", "show --all", "show --no-all")),
]


@pytest.mark.parametrize("make, line", CASES)
def test_a_parser_parses_as_it_did(make: Any, line: str) -> None:
    parser = make()
    assert carried(parser).parse_args(line.split()) == parser.parse_args(line.split())


@pytest.mark.parametrize("make", [plain, suppressing, of_commands])
def test_its_help_is_the_same(make: Any) -> None:
    parser = make()
    assert carried(parser).format_help() == parser.format_help()


def test_an_argument_joins_a_parser_that_arrived() -> None:
    parser = carried(plain())
    parser.add_argument("--more", default=argparse.SUPPRESS)
    assert vars(parser.parse_args([])) == {"lr": 0.1, "secret": None, "v": False}
