"""Names for things that happen: sortable ids and NGSI-LD URNs."""

from __future__ import annotations

import random
import secrets
from urllib.parse import quote

from sejong.kernel.clock import Clock


def new_id(clock: Clock, chance: random.Random | None = None) -> str:
    """A new id, later ones sorting after earlier ones.

    With a `chance` stream the same run gives the same ids; without, they are unpredictable.
    Source: RFC 9562 §5.7 (UUID version 7: 48 bits of Unix milliseconds, 74 random bits).
    """
    millis = int(clock.now().timestamp() * 1000) & ((1 << 48) - 1)
    noise = chance.getrandbits(74) if chance is not None else secrets.randbits(74)
    value = (millis << 80) | (0x7 << 76) | ((noise >> 62) << 64) | (0b10 << 62) | (noise & ((1 << 62) - 1))
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def urn(kind: str, *parts: str | int) -> str:
    """The NGSI-LD name of a thing: `urn("BikeHireDockingStation", "sejong", "SJ_00001")`.

    Characters a URN may not carry are percent-encoded. Source: RFC 8141 §2, CIM 009 Annex A.
    """
    return ":".join(("urn:ngsi-ld", kind, *(quote(str(part), safe="-._~!$'()*+,;=@") for part in parts)))
