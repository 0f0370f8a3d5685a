"""The table of figures: what was measured, its yardstick in the same run, the bar that binds and the aim."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `limit` and `aim` are in the unit of `figure`, which is a ratio where there is a yardstick."""

    what: str
    ours: str
    yardstick: str
    figure: float
    unit: str
    limit: float
    aim: float

    @property
    def verdict(self) -> str:
        """Whether the bar holds, and the aim."""
        return "aim" if self.figure <= self.aim else "bar" if self.figure <= self.limit else "OVER"

    def __str__(self) -> str:
        return (
            f"| {self.what} | {self.ours} | {self.yardstick} | {self.figure:.3g}{self.unit} "
            f"| {self.limit:g}{self.unit} | {self.aim:g}{self.unit} | {self.verdict} |"
        )


HEAD = "| what | ours | yardstick | figure | bar | aim | |\n|---|---|---|---|---|---|---|"


def ratio(what: str, ours: float, yardstick: tuple[str, float], limit: float, aim: float) -> Row:
    """A row of two times, seconds, in the same run."""
    name, seconds = yardstick
    return Row(what, _time(ours), f"{name} {_time(seconds)}", ours / seconds, "x", limit, aim)


def seconds(what: str, ours: float, limit: float, aim: float, yardstick: str = "–") -> Row:
    """A row of one time, against the clock."""
    return Row(what, _time(ours), yardstick, ours, " s", limit, aim)


def _time(value: float) -> str:
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"
