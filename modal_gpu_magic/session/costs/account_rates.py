"""The account's own rates, asked of Modal once a day and kept in the user's state directory."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.catalog.rates import adopt, from_account
from modal_gpu_magic.sdk.state_directory import made, state_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FILE: Final = "rates.json"
KEPT_SECONDS: Final = 24 * 3600.0
"""Age from which the kept rates are asked for again."""
PAUSE_SECONDS: Final = 3600.0
"""Seconds after a failed question in which this kernel asks no more."""


class AccountRates:
    """Keeps the rates of one account, and lets all prices come from them.

    Args:
        account: names the account without telling its token.
        ask: asks Modal for the rates: USD per unit and hour, by Modal's keys.
        folder: directory of the file; None: the user's state directory.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        account: str,
        ask: Callable[[], Mapping[str, object]],
        folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account, self._ask, self._clock = account, ask, clock
        self._path = (state_directory() if folder is None else folder) / FILE
        self._known_at = self._asked_at = float("-inf")
        self._lock = threading.Lock()

    def adopt_kept(self) -> bool:
        """Let prices come from the kept rates, unless these are of another account, or older than a day."""
        kept = self._read()
        if kept is None or self._clock() - kept[0] >= KEPT_SECONDS:
            return False
        return self._adopt(*kept)

    def refresh(self) -> None:
        """Ask for the rates, if those in use are older than a day. May take as long as the network does."""
        with self._lock:
            now = self._clock()
            if now - self._known_at < KEPT_SECONDS or now - self._asked_at < PAUSE_SECONDS or self.adopt_kept():
                return
            self._asked_at = now
            with contextlib.suppress(Exception):  # the price list does, until the next question
                answer = {key: str(price) for key, price in self._ask().items()}
                if self._adopt(now, answer):
                    self._write(now, answer)

    def _adopt(self, at: float, answer: Mapping[str, object]) -> bool:
        found = from_account(answer, f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d}")
        if found is None:
            return False
        adopt(found)
        self._known_at = at
        return True

    def _read(self) -> tuple[float, dict[str, object]] | None:
        """Return when the kept rates were asked for, and the rates; None: none are kept for this account."""
        try:
            kept = json.loads(self._path.read_bytes())
            at, answer = float(kept["at"]), dict(kept["rates"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return (at, answer) if kept.get("account") == self._account and at <= self._clock() else None

    def _write(self, at: float, answer: Mapping[str, str]) -> None:
        """Replace the file; another kernel never reads half of it."""
        made(self._path.parent)
        unfinished = self._path.with_name(f"{FILE}.{os.getpid()}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"account": self._account, "at": at, "rates": answer}, file)
        unfinished.replace(self._path)
