"""Which variables look like credentials: one table of those that do, one of those that only sound like it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from modal_gpu_magic.plan.cell.secrets import looks_secret

LETTERS = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fR3xU6"
"""What tokens are made of. Every token below is made up."""


class SecretStr:
    """As pydantic has it."""


BY_VALUE = [
    (f"hf_{LETTERS}", "a Hugging Face token"),
    (f"ghp_{LETTERS}", "a GitHub token"),
    (f"github_pat_{LETTERS}", "a GitHub token"),
    (f"glpat-{LETTERS[:20]}", "a GitLab token"),
    ("AKIAIOSFODNN7EXAMPLE", "an AWS key"),
    (f"xoxb-123456789-{LETTERS[:12]}", "a Slack token"),
    (f"ak-{LETTERS[:22]}", "a Modal token"),
    (f"as-{LETTERS[:22]}", "a Modal token"),
    (f"AIza{LETTERS[:35]}", "a Google key"),
    (f"sk_live_{LETTERS[:24]}", "a Stripe key"),
    (f"sk-{LETTERS}", "an API key"),
    (f"sk-proj-{LETTERS}-{LETTERS}", "an API key"),
    (f"sk-ant-api03-{LETTERS}", "an API key"),
    (f"nvapi-{LETTERS}", "an API key"),
    (f"eyJ{LETTERS}.eyJ{LETTERS}.{LETTERS}", "a JSON web token"),
    (f"-----BEGIN PRIVATE KEY-----\n{LETTERS}\n-----END PRIVATE KEY-----\n", "a private key"),
    (f"-----BEGIN RSA PRIVATE KEY-----\n{LETTERS}\n", "a private key"),
    ("postgres://user:pa55word@db.example.com/name", "an address with a password"),
    (f"Bearer hf_{LETTERS}", "a Hugging Face token"),
    (f"  hf_{LETTERS}\n", "a Hugging Face token"),
    (f"hf_{LETTERS}".encode(), "a Hugging Face token"),
]


@pytest.mark.parametrize(
    ("value", "kind"), BY_VALUE, ids=[f"{kind} {number}" for number, (_, kind) in enumerate(BY_VALUE)]
)
def test_a_known_form_is_told_by_whatever_name(value: Any, kind: str) -> None:
    assert looks_secret("x", value) == f"its value looks like {kind}"
    assert (
        looks_secret("config", {"a": {}, "b": value})
        == f"its item 'b' seems to be a credential (its value looks like {kind})"
    )
    assert looks_secret("arguments", ["--auth", value]) == f"its value looks like {kind}"


@pytest.mark.parametrize(
    "name",
    [
        "API_KEY",
        "api_key",
        "apiKey",
        "apikey",
        "OPENAI_API_KEY",
        "openai_key",
        "WANDB_API_KEY",
        "hf_token",
        "HF_TOKEN",
        "githubToken",
        "access_token",
        "auth_token",
        "AUTH_TOKEN",
        "aws_secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
        "secret",
        "client_secret",
        "modal_token_secret",
        "password",
        "db_password",
        "PASSWORD",
        "passwd",
        "PGPASSWD",
        "pwd",
        "passphrase",
        "private_key",
        "ssh_key",
        "secret_key",
        "credentials",
        "slack_bot_token",
        "password1",
        "_password",
    ],
)
def test_a_name_that_says_so(name: str) -> None:
    assert looks_secret(name, "s3cr3t-Value") == "its name says that it is a credential"
    assert looks_secret(name, b"s3cr3t-Value") == "its name says that it is a credential"
    assert looks_secret("settings", {name: "s3cr3t-Value"}) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "<|endoftext|>"),
        ("token", "hello"),
        ("pad_token", "<pad>"),
        ("eos_token", "</s>"),
        ("next_token", "understand"),
        ("tokens", ["the", "cat"]),
        ("tokens", [1, 2]),
        ("token_ids", [1, 2, 3]),
        ("access_token", 5),
        ("tokenizer", "bert-base-uncased"),
        ("token_count", "123456"),
        ("vocab", {"password": 17, "secret": 3, "api_key": 5}),
        ("key", "sort-by-this"),
        ("sort_key", "created_at"),
        ("primary_key", "identifier"),
        ("cache_key", "abcdef123456"),
        ("keys", ["a_long_key", "b_long_key"]),
        ("key", str.lower),
        ("api_key", None),
        ("api_key", ""),
        ("api_key", "OPENAI_API_KEY"),
        ("api_key", "<your key here>"),
        ("api_key", "your-api-key"),
        ("api_key", "xxxxxxxxxxxx"),
        ("api_key", "${OPENAI_API_KEY}"),
        ("password", "short"),
        ("password", "a sentence about passwords"),
        ("password_field", "input-name"),
        ("password_hash_rounds", "twelve"),
        ("credentials", "~/.config/credentials.json"),
        ("credentials", "credentials.json"),
        ("pwd", "/home/user/project"),
        ("pwd", "./data"),
        ("secretary", "Jane Doe-Smith"),
        ("secrets_found", "seventeen"),
        ("url", "https://example.com/a:b@c"),
        ("url", "http://localhost:8000/path"),
        ("text", "In this text hf_abcdefghijklmnopqrstuvwxyz is named"),
        ("name", "sk-learn-pipeline-with-a-long-name"),
        ("name", "as-fast-as-possible-and-then-some"),
        ("model", "hf_model"),
        ("x", 5),
        ("x", b"\x00\xff" * 50),
        ("certificate", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"),
        ("public_key", "-----BEGIN PUBLIC KEY-----\nabc"),
        ("frame", {"token": "word", 3: "text"}),
        ("texts", ["long text " * 5_000]),
        ("", "s3cr3t-Value"),
        ("__", "s3cr3t-Value"),
    ],
)
def test_what_only_sounds_like_one(name: str, value: Any) -> None:
    assert looks_secret(name, value) is None


def test_the_environment_itself() -> None:
    assert "environment" in str(looks_secret("env", os.environ))


def test_a_value_marked_as_secret() -> None:
    assert looks_secret("x", SecretStr()) == "it is marked as a secret"


def test_an_environment_copied_into_a_dict() -> None:
    copied = {**dict.fromkeys(map(str, range(100)), "harmless"), "WANDB_API_KEY": "0123456789abcdef"}
    assert "'WANDB_API_KEY'" in str(looks_secret("environment", copied))


def test_a_large_collection_takes_no_time() -> None:
    assert looks_secret("rows", {f"key {number}": "text" for number in range(1_000_000)}) is None
