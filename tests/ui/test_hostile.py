"""Whatever a field from elsewhere holds, HTML and SVG have the elements that they have for a plain word, and its text."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from modal_gpu_magic.metrics.history import History, Use
from modal_gpu_magic.metrics.sample import GpuSample, Reading
from modal_gpu_magic.plan.table import Column, Row, Table
from modal_gpu_magic.session.run.front import State
from modal_gpu_magic.session.run.receipt import Receipt
from modal_gpu_magic.ui.fronts.card import Card, Detail, Moment, card_html
from modal_gpu_magic.ui.fronts.picture import Chart, charts
from modal_gpu_magic.ui.fronts.ranks import bundle, page
from modal_gpu_magic.ui.fronts.receipt import Container, receipt_card, status_text
from modal_gpu_magic.wire.values.remote import RemoteValue
from tests.ui.hostile import HOSTILE


def readings(text: str) -> History:
    """Readings of a GPU whose every text is this one."""
    history = History()
    for time in (0.0, 1.0, 2.0):
        sample = GpuSample(time, 0, f"GPU-{text}", text, utilization=5.0, pstate=text, mig=text, driver=text)
        history.add(Reading((sample, replace(sample, index=1, uuid=text, node=1))))
    return history


def receipt(text: str, history: History | None = None) -> str:
    """A receipt whose every text is this one."""
    wrote, stays = ((f"{text}/{text}", 5), (text, 7)), ((text, text),)
    facts = Receipt(
        "lost",
        text,
        "cloud",
        simulated=False,
        got=text + "x",
        session=text,
        wrote=wrote,
        stays=stays,
        prices=text,
        ran=1.0,
        hourly=1.0,
        uses=(Use(text, text, 1.0, 2.0),),
    )
    return card_html(receipt_card(facts, Container("idle", 0.0)), charts(history) if history else ())


def images_in(html: str) -> str:
    """The SVGs in the images of an HTML text."""
    return "".join(base64.b64decode(found).decode() for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", html))


def remote(text: str) -> str:
    value = RemoteValue(text, text, text, text, text, {"text/html": "<p>own</p>", "text/plain": "own"})
    return str(value._repr_mimebundle_()["text/html"])


PRODUCERS: dict[str, Callable[[str], str]] = {
    "a receipt": receipt,
    "a receipt with charts": lambda text: receipt(text, readings(text)),
    "the charts in it": lambda text: images_in(receipt(text, readings(text))),
    "any card": lambda text: card_html(
        Card(text, (text, text), Moment(text, text, text, text, text), (Detail(text, (text, text), text),)),
        (Chart("<svg/>", text),),
    ),
    "a status": lambda text: page(status_text(State("running", text, 1.0, text))),
    "ranks": lambda text: bundle({0: text, 3: text + "x"})["text/html"],
    "a page of a rank": page,
    "a table": lambda text: Table(
        (Column(text), Column(text, 8, right=True)), (Row((text, text), text),), (text,)
    ).html(),
    "a remote value": remote,
}


class Skeleton(HTMLParser):
    """The elements and attributes of a text, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.words += " ".join(f" {value}" for name, value in attrs if name == "alt")

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", (data,)))

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("declaration", (decl,)))

    def unknown_decl(self, data: str) -> None:
        self.elements.append(("declaration", (data,)))

    def handle_pi(self, data: str) -> None:
        self.elements.append(("instruction", (data,)))

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("producer", PRODUCERS.values(), ids=PRODUCERS)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_stay_texts(producer: Callable[[str], str], text: str) -> None:
    assert Skeleton(producer(text)).elements == Skeleton(producer("word")).elements


@pytest.mark.parametrize("name", [name for name in PRODUCERS if "charts" not in name])
def test_they_are_seen_as_they_are(name: str) -> None:
    text = HOSTILE["an image in quotes"]
    assert text in Skeleton(PRODUCERS[name](text)).words
