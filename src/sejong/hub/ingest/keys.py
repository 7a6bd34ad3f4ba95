"""Device keys: who may bring readings, for which things, and how many. A secret is shown once and kept as hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import bcrypt
import msgspec

from sejong.hub.ingest import topics
from sejong.hub.ingest.reading import Allowed
from sejong.hub.ingest.throttle import Bucket
from sejong.hub.store import ingest as store
from sejong.hub.store.ingest import KeyRow
from sejong.kernel.chance import secret_token
from sejong.kernel.errors import CityError, Invalid, NotFound
from sejong.kit.act import Act
from sejong.kit.postgres import Connection

SECRET_BYTES = 32
BCRYPT_ROUNDS = 4
"""Cost of the broker's hash. Slow hashes protect guessable passwords; these are 256 random bits. Chosen."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
RESERVED = frozenset({"ingest", "simulator"})
"""Names the embedded broker gives to the city's own processes."""


class KeyExists(CityError):
    """A living key has this name."""

    status = 409
    ko = "기기 키 {name}이(가) 이미 있습니다. 먼저 취소하거나 다른 이름을 쓰세요."
    en = "There is already a device key {name}. Revoke it first, or choose another name."


class Created(msgspec.Struct, frozen=True):
    """A new key and its secret, which nobody can show again."""

    name: str
    secret: str
    topic: str


class DeviceUser(msgspec.Struct, frozen=True):
    """What the broker's configuration says of a key: its bcrypt hash and the MQTT filters it may publish to."""

    name: str
    bcrypt: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


async def create(
    act: Act,
    name: str,
    *,
    ids: Sequence[str] = (),
    topic_filters: Sequence[str] = (),
    rate: float | None = None,
    burst: float | None = None,
    note: str = "",
) -> Created:
    """A device or gateway gets a key. `ids`: what it may speak for (`*` any text; none: everything).

    Raises Invalid, KeyExists. The broker learns of it with the next `broker_users`.
    """
    _check(name, ids, topic_filters, rate, burst)
    secret = f"sj_{secret_token(SECRET_BYTES)}"
    hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()
    values = (_digest(secret), hashed, list(ids), list(topic_filters), rate, burst, note, act.now)
    if await store.ADD_KEY.one(act.connection, name, *values) is None:
        raise KeyExists(name=name)
    return Created(name, secret, topics.own_topic(name))


async def ensure(act: Act, name: str, *, ids: Sequence[str] = (), rate: float, burst: float, note: str = "") -> bool:
    """A key without a secret, for the city's own simulator, which signs in at the broker by itself. True if new."""
    _check(name, ids, (), rate, burst)
    return await store.ENSURE_KEY.run(act.connection, name, list(ids), [], rate, burst, note, act.now) > 0


async def revoke(act: Act, name: str) -> None:
    """The key stops working: HTTP within seconds, MQTT once the broker has the new users. Raises NotFound."""
    if not await store.REVOKE_KEY.run(act.connection, name, act.now):
        raise NotFound(what=f"device key {name}")


async def list_keys(connection: Connection) -> list[KeyRow]:
    """Every key, revoked ones included, by name."""
    return await store.KEYS.all(connection)


def broker_users(rows: Iterable[KeyRow]) -> list[DeviceUser]:
    """The living keys as the broker's configuration wants them."""
    return [
        DeviceUser(
            row.name,
            row.bcrypt,
            (topics.own_topic(row.name), *row.topics),
            (f"sejong/v1/{row.name}/commands",),
        )
        for row in rows
        if row.revoked is None and row.bcrypt is not None
    ]


def _check(name: str, ids: Sequence[str], filters: Sequence[str], rate: float | None, burst: float | None) -> None:
    if not _NAME(name) or name in RESERVED:
        raise Invalid(why=f"{name!r}: a key has 1-64 letters, digits, - or _, and is none of {sorted(RESERVED)}")
    for pattern in ids:
        if not pattern or len(pattern) > 500:
            raise Invalid(why=f"{pattern[:80]!r} is not a pattern of ids")
    for topic_filter in filters:
        if not topics.is_filter(topic_filter) or topics.overlap(topic_filter, topics.DEFAULT):
            raise Invalid(why=f"{topic_filter[:80]!r} is not a topic filter, or means the topics of other keys")
    for value in (rate, burst):
        if value is not None and not 0 < value < 1e9:
            raise Invalid(why=f"{value} is not a number of readings")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class DeviceKey:
    """A living key in a process: its bucket, and what it may speak for."""

    __slots__ = ("allowed", "bucket", "name", "sha256", "topics")

    def __init__(self, row: KeyRow, bucket: Bucket) -> None:
        self.name = row.name
        self.sha256 = row.sha256
        self.topics = tuple(row.topics)
        self.allowed = Allowed(row.name, row.ids)
        self.bucket = bucket


class Keyring:
    """All living keys of a process, found by secret (HTTP), by topic (MQTT) or by name."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._rows: dict[str, KeyRow] = {}
        self._by_name: dict[str, DeviceKey] = {}
        self._by_secret: dict[bytes, DeviceKey] = {}
        self._by_topic: dict[str, DeviceKey | None] = {}
        self._seen: dict[str, datetime] = {}

    async def refresh(self, connection: Connection, now: float) -> None:
        """Learn of new and revoked keys. A key that has not changed keeps its bucket as full as it was."""
        rows = {row.name: row for row in await store.KEYS.all(connection) if row.revoked is None}
        found: dict[str, DeviceKey] = {}
        for name, row in rows.items():
            known = self._by_name.get(name)
            if known is not None and msgspec.structs.replace(row, seen=None) == self._rows[name]:
                found[name] = known
            else:
                rate = row.rate or self._rate
                burst = row.burst or rate * self._burst / self._rate
                found[name] = DeviceKey(row, Bucket(rate, burst, now))
        self._rows = {name: msgspec.structs.replace(row, seen=None) for name, row in rows.items()}
        self._by_name = found
        self._by_secret = {key.sha256: key for key in found.values() if key.sha256 is not None}
        self._by_topic.clear()

    def by_secret(self, secret: str) -> DeviceKey | None:
        """The key with this secret. What is compared are SHA-256 values, so time tells nothing of the secret."""
        digest = _digest(secret)
        key = self._by_secret.get(digest)
        return key if key is not None and key.sha256 and hmac.compare_digest(key.sha256, digest) else None

    def by_name(self, name: str) -> DeviceKey | None:
        """The key of this name."""
        return self._by_name.get(name)

    def by_topic(self, topic: str) -> DeviceKey | None:
        """Whose topic it is: named in it, or allowed to the key beside its own."""
        try:
            return self._by_topic[topic]
        except KeyError:
            pass
        name = topics.key_of(topic)
        if name is not None:
            key = self._by_name.get(name)
        else:
            owners = (k for k in self._by_name.values() if any(topics.matches(f, topic) for f in k.topics))
            key = next(owners, None)
        if len(self._by_topic) > 10_000:
            self._by_topic.clear()
        self._by_topic[topic] = key
        return key

    def note_seen(self, name: str, at: datetime) -> None:
        """The key was used."""
        self._seen[name] = at

    async def save_seen(self, connection: Connection) -> None:
        """Write down when keys were last used."""
        seen, self._seen = self._seen, {}
        if seen:
            try:
                await store.KEYS_SEEN.run(connection, list(seen), list(seen.values()))
            except BaseException:
                self._seen = {**seen, **self._seen}
                raise
