"""The account's rates: asked once a day, kept on disk for the account alone."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.rates import Rates, adopt
from modal_gpu_magic.sdk.choice import account_key
from modal_gpu_magic.session.costs.account_rates import KEPT_SECONDS, PAUSE_SECONDS, AccountRates

ANSWER = {"gpu_hour_cost_h100": "3.60"}


class Modal:
    """What answers, how often it was asked, and the time."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Mapping[str, object] | Exception = ANSWER
        self.now = 1_795_780_800.0

    def __call__(self) -> Mapping[str, object]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def kept(self, folder: Path, account: str = "a") -> AccountRates:
        return AccountRates(account, self, folder, lambda: self.now)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    adopt(Rates())


def test_they_are_asked_for_once_a_day(tmp_path: Path) -> None:
    modal = Modal()
    first = modal.kept(tmp_path)
    first.refresh()
    first.refresh()
    assert (modal.asked, rates.current().gpu("H100")) == (1, 0.001)
    adopt(Rates())
    assert modal.kept(tmp_path).adopt_kept()  # another kernel
    assert rates.current().words == "your account's rates of 2026-11-27"
    modal.now += KEPT_SECONDS
    assert not modal.kept(tmp_path).adopt_kept()
    first.refresh()
    assert modal.asked == 2


def test_another_account_has_its_own(tmp_path: Path) -> None:
    modal = Modal()
    modal.kept(tmp_path).refresh()
    adopt(Rates())
    assert not modal.kept(tmp_path, "b").adopt_kept()
    assert rates.current() == Rates()


@pytest.mark.parametrize("answer", [OSError("no network"), {}, {"gpu_hour_cost_h100": "soon"}])
def test_without_an_answer_the_list_stays(tmp_path: Path, answer: Mapping[str, object] | Exception) -> None:
    modal = Modal()
    modal.answer = answer
    kept = modal.kept(tmp_path)
    kept.refresh()
    kept.refresh()
    assert (modal.asked, rates.current(), list(tmp_path.iterdir())) == (1, Rates(), [])
    modal.now += PAUSE_SECONDS
    modal.answer = ANSWER
    kept.refresh()
    assert rates.current() != Rates()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"at": "x"}', '{"account": "a", "at": 1, "rates": 3}', '{"account":"a","at":9e99,"rates":{}}'],
)
def test_a_damaged_file_is_asked_for_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "rates.json").write_text(text)
    modal = Modal()
    modal.kept(tmp_path).refresh()
    assert modal.asked == 1
    assert stat.S_IMODE((tmp_path / "rates.json").stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Modal().kept(tmp_path / "file").refresh()
    assert rates.current() != Rates()


def test_the_account_s_name_does_not_tell_the_token() -> None:
    key = account_key({"MODAL_TOKEN_ID": "ak-secret", "MODAL_TOKEN_SECRET": "as-secret"})
    assert key
    assert "secret" not in key
    assert account_key({"MODAL_CONFIG_PATH": "/nowhere"}) == ""
