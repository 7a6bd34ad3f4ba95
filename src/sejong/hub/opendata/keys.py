"""Keys of programs: made in three clicks, shown once, kept as a hash; what they are used for is counted.

Until accounts exist a key belongs to whoever holds it: with it one sees its use and takes it away again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import structlog

from sejong.hub.opendata.limits import Allowance, DayCount, Visitors
from sejong.hub.store import api_keys as store
from sejong.hub.store.api_keys import Day, KeyRow
from sejong.kernel.chance import secret_token
from sejong.kernel.clock import Clock
from sejong.kernel.errors import CityError, Invalid, NotAuthenticated, NotFound, TooManyRequests
from sejong.kit.act import Act
from sejong.kit.postgres import Connection, Pool

log = structlog.get_logger("hub")

READER, OPERATOR = "reader", "operator"
PREFIX = "sjk_"
"""How every secret begins, so that other programs' bearer tokens are not taken for ours."""
SECRET_BYTES = 32
REMEMBER_S = 5.0
"""Seconds a process trusts what it has read about a key: a revoked one stops within them. Chosen."""
MOST_KNOWN = 20_000
FLUSH_S = 3.0
NEW_KEYS_RATE, NEW_KEYS_BURST = 20 / 3600, 20.0
"""Keys one address may make: twenty at once, twenty an hour. Chosen: a class of students behind one address."""


class QuotaSpent(TooManyRequests):
    """The key has used up its requests of the day."""

    ko = "이 키의 하루 할당량 {daily}건을 다 썼습니다. {seconds}초 뒤에 다시 채워집니다."
    en = "This key has used up its {daily} requests of the day; they are renewed in {seconds} seconds."


class SlowDown(TooManyRequests):
    """Too many requests at once."""

    ko = "요청이 너무 많습니다. {seconds}초 뒤에 다시 보내 주세요. 키가 있으면 더 많이 보낼 수 있습니다: /dev"
    en = "Too many requests. Please send again in {seconds} s. With a key you may send more: see /dev"


class Key(msgspec.Struct, frozen=True):
    """A living key, as a request needs to know it."""

    no: int
    name: str
    role: str


class Made(msgspec.Struct, frozen=True):
    """A new key and its secret, which nobody can show again."""

    key: Key
    secret: str


class Use(msgspec.Struct, frozen=True):
    """What a key may do and has done."""

    name: str
    role: str
    created: datetime
    seen: datetime | None
    rate: float
    burst: float
    daily: int
    today: int
    days: list[Day]


class _Known:
    """A key in this process. `row` is None for a secret nobody has."""

    __slots__ = ("allowance", "count", "key", "row", "until")

    def __init__(self, row: KeyRow | None, until: float, allowance: Allowance | None, count: DayCount | None) -> None:
        self.row, self.until, self.allowance, self.count = row, until, allowance, count
        self.key = None if row is None or row.revoked else Key(row.no, row.name, row.role)


class Keys:
    """The keys of programs in one process, with what they and visitors without a key may send."""

    def __init__(self, pool: Pool, clock: Clock, settings: Any) -> None:
        self._pool, self._clock = pool, clock
        self.rate, self.burst, self.daily = settings.key_rate, settings.key_burst, settings.key_daily
        self.visitors = Visitors(settings.anonymous_rate, settings.anonymous_burst)
        self._makers = Visitors(NEW_KEYS_RATE, NEW_KEYS_BURST)
        self.proxies = frozenset(part.strip() for part in settings.proxies.split(",") if part.strip())
        self._known: dict[bytes, _Known] = {}
        self._shown: dict[bytes, _Known] = {}
        """Living keys as requests show them, in memory only."""
        self._used: set[int] = set()
        self._flusher: asyncio.Task[None] | None = None

    # --- making and taking away -----------------------------------------------------------------------------------

    async def make(
        self, act: Act, name: str, *, role: str = READER, rate: float | None = None, daily: int | None = None
    ) -> Made:
        """A new key. Raises Invalid."""
        name = " ".join(name.split())
        if not 1 <= len(name) <= 80 or not name.isprintable():
            raise Invalid(why="name: 1-80 letters · 이름은 1–80자")
        if role not in (READER, OPERATOR):
            raise Invalid(why=f"role: {READER} or {OPERATOR}")
        secret = PREFIX + secret_token(SECRET_BYTES)
        row = await store.ADD_KEY.one(act.connection, digest(secret), name, role, rate, daily, act.now)
        if row is None:
            raise Invalid(why="name")
        return Made(Key(row.no, row.name, row.role), secret)

    def admit_maker(self, address: str | None) -> None:
        """Whether this address may make another key just now. Raises TooManyRequests."""
        now = self._clock.monotonic()
        allowance = self._makers.of(address or "-", now)
        if not allowance.take(now):
            raise TooManyRequests(seconds=round(allowance.wait_s()) + 1)

    async def revoke(self, act: Act, secret: str) -> str:
        """The key stops working within seconds; its name. Raises NotFound."""
        row = await store.BY_SECRET.one(act.connection, digest(secret))
        if row is None or row.revoked is not None:
            raise NotFound(what="key · 키")
        await store.REVOKE.run(act.connection, row.no, act.now)
        self._known.pop(digest(secret), None)
        self._shown.pop(secret.encode("latin-1", "replace"), None)
        return row.name

    async def use_of(self, secret: str) -> Use:
        """What the key with this secret may do and has done. Raises NotFound."""
        await self.flush()
        async with self._pool.acquire(timeout=10) as connection:
            row = await store.BY_SECRET.one(connection, digest(secret))
            if row is None or row.revoked is not None:
                raise NotFound(what="key · 키")
            days = await store.USE_OF.all(connection, row.no)
        today = self._clock.now().date()
        rate = row.rate or self.rate
        return Use(
            row.name,
            row.role,
            row.created,
            row.seen,
            rate,
            self._burst(rate),
            row.daily or self.daily,
            sum(day.requests for day in days if day.day == today),
            days,
        )

    # --- at the door ----------------------------------------------------------------------------------------------

    async def admit(self, scope: Mapping[str, Any]) -> Key | None:
        """Let a request in, or raise SlowDown, QuotaSpent, NotAuthenticated. None: somebody without a key."""
        now = self._clock.monotonic()
        raw = shown_secret(scope["headers"])
        if raw is None:
            address = self.address(scope)
            if address is not None:
                allowance = self.visitors.of(address, now)
                if not allowance.take(now):
                    raise SlowDown(seconds=max(1, round(allowance.wait_s() + 0.5)))
            return None
        known = self._shown.get(raw)
        if known is None or known.until < now:
            known = await self._learn(digest(raw.decode("latin-1")), now)
            if known.key is not None:
                self._shown[raw] = known  # spares hashing the same secret for every request
            else:
                self._shown.pop(raw, None)
        if known.key is None or known.row is None or known.allowance is None:
            raise NotAuthenticated(why="unknown or revoked key · 없거나 취소된 키")
        self._count(known, known.row, known.allowance, now)
        return known.key

    def _count(self, known: _Known, row: KeyRow, allowance: Allowance, now: float) -> None:
        # The day is looked at when the key is read again: every few seconds is often enough.
        count = known.count
        if count is None:
            return
        daily = row.daily or self.daily
        if count.before + count.new >= daily:
            count.refused += 1
            at = self._clock.now()
            raise QuotaSpent(daily=daily, seconds=86_400 - at.hour * 3600 - at.minute * 60 - at.second)
        if not allowance.take(now):
            count.refused += 1
            raise SlowDown(seconds=max(1, round(allowance.wait_s() + 0.5)))
        count.new += 1
        self._used.add(row.no)

    def address(self, scope: Mapping[str, Any]) -> str | None:
        """Whose request it is; None: somebody on a proxy's machine, who is not limited."""
        client = scope.get("client")
        address = client[0] if client else ""
        if address not in self.proxies:
            return address
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                return value.decode("latin-1").rpartition(",")[2].strip()[:64]
        return None

    async def _learn(self, hashed: bytes, now: float) -> _Known:
        before = self._known.get(hashed)
        async with self._pool.acquire(timeout=10) as connection:
            row = await store.BY_SECRET.one(connection, hashed)
            used = []
            if row is not None:
                used = await store.USE_ON.all(connection, [row.no], self._clock.now().date())
        if len(self._known) >= MOST_KNOWN:
            await self.flush()
            self._known.clear()
            self._shown.clear()
        allowance, count = (None, None) if before is None else (before.allowance, before.count)
        if count is not None and count.day != self._clock.now().date() and (count.new or count.refused):
            await self.flush()
        if row is not None:
            rate = row.rate or self.rate
            if allowance is None or allowance.rate != rate:
                allowance = Allowance(rate, self._burst(rate), now)
            today = self._clock.now().date()
            if count is None or count.day != today:
                count = DayCount(today)
            count.before = sum(day.requests for day in used)
        known = self._known[hashed] = _Known(row, now + REMEMBER_S, allowance, count)
        return known

    def _burst(self, rate: float) -> float:
        return max(1.0, rate * self.burst / self.rate)

    # --- writing down ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write down every few seconds what was used."""
        self._flusher = asyncio.create_task(self._keep_flushing(), name="api-key-use")

    async def stop(self) -> None:
        """Write down the rest."""
        if self._flusher is not None:
            self._flusher.cancel()
            with suppress(asyncio.CancelledError):
                await self._flusher
        with suppress(Exception):  # counts that could not be noted are lost with the process
            async with asyncio.timeout(2):
                await self.flush()

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            try:
                await self.flush()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                log.warning("key_use_not_noted", why=str(error) or type(error).__name__)

    async def flush(self) -> None:
        """Write down what was used since the last time."""
        rows: list[tuple[int, DayCount, int, int]] = []
        for known in self._known.values():
            count = known.count
            if count is not None and known.row is not None and (count.new or count.refused):
                rows.append((known.row.no, count, count.new, count.refused))
                count.before, count.new, count.refused = count.before + count.new, 0, 0
        used, self._used = self._used, set()
        if not rows and not used:
            return
        try:
            async with self._pool.acquire(timeout=5) as connection, connection.transaction():
                columns = ([r[0] for r in rows], [r[1].day for r in rows], [r[2] for r in rows], [r[3] for r in rows])
                await store.NOTE_USE.run(connection, *columns)
                await store.NOTE_SEEN.run(connection, list(used), self._clock.now())
        except BaseException:
            for _, count, new, refused in rows:
                count.before, count.new, count.refused = count.before - new, count.new + new, count.refused + refused
            self._used |= used
            raise


async def revoke_named(connection: Connection, name: str, now: datetime) -> None:
    """Every living key of this name stops working. Raises NotFound."""
    if not await store.REVOKED_NAME.run(connection, name, now):
        raise NotFound(what=f"key {name}")


async def list_keys(connection: Connection) -> list[KeyRow]:
    """Every key, revoked ones included."""
    return await store.KEYS.all(connection)


def digest(secret: str) -> bytes:
    """What is kept of a secret. Plain SHA-256 is enough: secrets are 256 random bits, nobody can guess them."""
    return hashlib.sha256(secret.encode()).digest()


def secret_of(headers: Any) -> str | None:
    """The key a request shows: `X-API-Key`, or a bearer token of ours. Other tokens are somebody else's business."""
    raw = shown_secret(headers)
    return None if raw is None else raw.decode("latin-1")


def shown_secret(headers: Any) -> bytes | None:
    """The same, as it came."""
    for name, value in headers:
        if name == b"x-api-key":
            return value.strip()
        if name == b"authorization" and value[:11].lower() == b"bearer sjk_":
            return value[7:].strip()
    return None


def require_operator(key: Key | None) -> Key:
    """Only an operator's key may do this. Raises NotAuthenticated, CityError."""
    if key is None:
        raise NotAuthenticated(why="X-API-Key · operator key · 운영자 키 (sejong keys add NAME --operator)")
    if key.role != OPERATOR:
        raise OperatorsOnly()
    return key


class OperatorsOnly(CityError):
    """A reader's key cannot change the catalogue."""

    status = 403
    ko = "운영자 키가 있어야 할 수 있는 일입니다."
    en = "Only an operator's key may do this."
