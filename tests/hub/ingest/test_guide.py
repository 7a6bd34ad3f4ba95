"""The guide tells the truth: its examples are run, its reasons are all there are, both languages show the same."""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sejong.hub.ingest import refusals
from sejong.hub.ingest.file import _csv_thing
from sejong.hub.ingest.mapping import Reader, check_model, read_models
from sejong.hub.ingest.reading import Decoder, Moment, Understood
from sejong.hub.ngsi.context import Context
from sejong.hub.ngsi.members import DEFAULT_CONTEXT

GUIDES = Path(__file__).parents[3] / "docs" / "guides"
KOREAN, ENGLISH = GUIDES / "ingest.md", GUIDES / "ingest.en.md"
_BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[tuple[str, str, str]]:
    return [(kind, tag or "", text) for kind, tag, text in _BLOCK.findall(path.read_text())]


def test_both_languages_show_the_same_examples() -> None:
    assert blocks(KOREAN) == blocks(ENGLISH)


def test_payloads_mean_what_is_said(decoder: Decoder, now: Moment) -> None:
    tags = [(tag, decoder.message(text.encode(), now)) for _, tag, text in blocks(KOREAN)]
    readings = [found for tag, found in tags if tag == "reading"]
    refused = [(tag.partition("=")[2], found) for tag, found in tags if tag.startswith("refused=")]
    assert readings
    assert refused
    assert all(found.readings and not found.refused for found in readings)
    for reason, found in refused:
        assert [one.error.code for one in found.refused] == [reason]
        assert len(found.readings) == 1


def test_device_models_read_their_payloads(context: Context, decoder: Decoder, now: Moment) -> None:
    models = {m.name: m for kind, _, text in blocks(KOREAN) if kind == "toml" for m in read_models(tomllib.loads(text))}
    for model in models.values():
        check_model(model, context, lambda iri: not iri.startswith(DEFAULT_CONTEXT), list(models.values()))
    things: Any = None
    shown = 0
    for _, tag, text in blocks(KOREAN):
        if tag.startswith("payload="):
            name, topic = re.fullmatch(r"payload=(\S+) topic=(\S+)", tag).groups()  # pyright: ignore
            mapped = Reader(models[name]).message(text.strip().encode(), topic, now.now)
            assert mapped.refused == []
            things = mapped.things
        elif tag == "means":
            assert things == json.loads(text)
            assert decoder.document(things, now).refused == []
            shown += 1
    assert shown == len(models) == 3


def test_csv_is_understood(decoder: Decoder, now: Moment) -> None:
    (text,) = [text for kind, _, text in blocks(KOREAN) if kind == "csv"]
    header, cells = csv.reader(io.StringIO(text))
    out = Understood([], [])
    decoder.thing(_csv_thing(header, cells, None), now, None, None, out)
    assert (len(out.readings), out.refused) == (2, [])
    assert out.readings[0].instance["unitCode"] == "CEL"


@pytest.mark.parametrize("guide", [KOREAN, ENGLISH], ids=["ko", "en"])
def test_every_reason_is_listed(guide: Path) -> None:
    every = {
        name
        for name, value in vars(refusals).items()
        if isinstance(value, type) and issubclass(value, refusals.Refusal) and value is not refusals.Refusal
    }
    table = guide.read_text().partition("## 6.")[2].partition("## 7.")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == every


def test_every_reason_speaks_both_languages() -> None:
    for value in vars(refusals).values():
        if isinstance(value, type) and issubclass(value, refusals.Refusal):
            assert re.search("[가-힣]", value.ko)
            assert not re.search("[가-힣]", value.en)
            places = {p.removesuffix("_ko").removesuffix("_en") for p in re.findall(r"{(\w+)", value.ko)}
            assert places == {p.removesuffix("_ko").removesuffix("_en") for p in re.findall(r"{(\w+)", value.en)}


def test_answer_has_the_members_shown() -> None:
    (text,) = [text for _, tag, text in blocks(KOREAN) if tag == "answer"]
    assert set(msgspec.json.decode(text)) == {"accepted", "late", "duplicates", "refused_count", "refused"}
