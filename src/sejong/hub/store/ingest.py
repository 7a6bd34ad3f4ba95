"""SQL of the doors: device keys, device models, dead letters, and the health of devices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from sejong.kit.postgres import Sql


class KeyRow(msgspec.Struct, frozen=True):
    """A device key as it lies in the record; its secret does not."""

    name: str
    sha256: bytes | None
    bcrypt: str | None
    ids: list[str]
    topics: list[str]
    rate: float | None
    burst: float | None
    note: str
    created: datetime
    revoked: datetime | None
    seen: datetime | None


_KEY = "name, sha256, bcrypt, ids, topics, rate, burst, note, created, revoked, seen"
KEYS = Sql(f"select {_KEY} from hub.device_key order by name", KeyRow)
# A revoked name may be given out again; a living one may not.
ADD_KEY = Sql(
    f"""
insert into hub.device_key as k(name, sha256, bcrypt, ids, topics, rate, burst, note, created)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (name) do update set sha256 = excluded.sha256, bcrypt = excluded.bcrypt, ids = excluded.ids,
    topics = excluded.topics, rate = excluded.rate, burst = excluded.burst, note = excluded.note,
    created = excluded.created, revoked = null
where k.revoked is not null
returning {_KEY}
""",
    KeyRow,
)
ENSURE_KEY = Sql(
    """
insert into hub.device_key(name, ids, topics, rate, burst, note, created) values ($1, $2, $3, $4, $5, $6, $7)
on conflict (name) do nothing
"""
)
REVOKE_KEY = Sql("update hub.device_key set revoked = $2, sha256 = null where name = $1 and revoked is null")
KEYS_SEEN = Sql(
    """
update hub.device_key k set seen = greatest(k.seen, r.seen)
from unnest($1::text[], $2::timestamptz[]) as r(name, seen) where k.name = r.name
"""
)


class ModelRow(msgspec.Struct, frozen=True):
    """A device model: how the payloads of one kind of device are read."""

    name: str
    declared: Any
    changed: datetime


MODELS = Sql("select name, declared, changed from hub.device_model order by name", ModelRow)
SAVE_MODEL = Sql(
    """
insert into hub.device_model(name, declared, changed) values ($1, $2, $3)
on conflict (name) do update set declared = excluded.declared, changed = excluded.changed
where hub.device_model.declared is distinct from excluded.declared
"""
)
REMOVE_MODEL = Sql("delete from hub.device_model where name = $1")


class LetterRow(msgspec.Struct, frozen=True):
    """A message, or part of one, that was set aside."""

    no: int
    door: str
    sender: str
    topic: str
    form: str
    reason: str
    ko: str
    en: str
    payload: bytes
    size: int
    sha256: bytes
    arrived: datetime
    last: datetime
    n: int


_LETTER = "no, door, sender, topic, form, reason, ko, en, payload, size, sha256, arrived, last, n"
PUT_LETTERS = Sql(
    """
insert into hub.dead_letter as d(mark, door, sender, topic, form, reason, ko, en, payload, size, sha256, arrived,
                                 last, n)
select mark, min(door), min(sender), min(topic), min(form), min(reason), min(ko), min(en),
       (array_agg(payload))[1], min(size), (array_agg(sha256))[1], min(arrived), max(last), sum(n)
from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::bytea[], $10::bigint[], $11::bytea[], $12::timestamptz[], $13::timestamptz[], $14::bigint[])
    with ordinality
    as r(mark, door, sender, topic, form, reason, ko, en, payload, size, sha256, arrived, last, n, place)
group by mark order by min(place)
on conflict (mark) do update set n = d.n + excluded.n, last = greatest(d.last, excluded.last)
"""
)
# `$1 is null or` keeps one statement for every filter; the table is bounded.
LETTERS = Sql(
    f"""
select {_LETTER} from hub.dead_letter
where ($1::text is null or reason = $1) and ($2::text is null or sender = $2) and ($3::text is null or door = $3)
  and ($4::bigint is null or no < $4)
order by no desc limit $5
""",
    LetterRow,
)
LETTERS_TO_REPLAY = Sql(
    f"""
select {_LETTER} from hub.dead_letter
where no > $1 and ($2::bigint[] is null or no = any($2)) and reason <> 'Throttled' and size <= octet_length(payload)
order by no limit $3
""",
    LetterRow,
)
REMOVE_LETTERS = Sql("delete from hub.dead_letter where no = any($1)")
REASON_CHANGED = Sql("update hub.dead_letter set reason = $2, ko = $3, en = $4, last = $5 where no = $1")


class ReasonCount(msgspec.Struct, frozen=True):
    """How many messages were set aside for one reason, by whom."""

    reason: str
    sender: str
    door: str
    letters: int
    messages: int
    last: datetime


REASONS = Sql(
    """
select reason, sender, door, count(*) as letters, sum(n)::bigint as messages, max(last) as last
from hub.dead_letter group by reason, sender, door order by messages desc, reason, sender
""",
    ReasonCount,
)


class PastCount(msgspec.Struct, frozen=True):
    """What is left of letters that had to make room: their number."""

    day: datetime
    door: str
    sender: str
    reason: str
    n: int


PAST = Sql(
    """
select day::timestamptz as day, door, sender, reason, n from hub.dead_letter_past
order by day desc, n desc limit $1
""",
    PastCount,
)
TRIM_LETTERS = Sql(
    """
with of_kind as (
    select no, octet_length(payload) as size, row_number() over (partition by sender, reason order by no desc) as place
    from hub.dead_letter),
of_all as (
    select no, row_number() over (order by no desc) as place, sum(size) over (order by no desc) as bytes
    from of_kind where place <= $1),
gone as (
    delete from hub.dead_letter d using of_kind k left join of_all a on a.no = k.no
    where d.no = k.no and (a.no is null or a.place > $2 or a.bytes > $3)
    returning d.last, d.door, d.sender, d.reason, d.n)
insert into hub.dead_letter_past as past(day, door, sender, reason, n)
select (last at time zone 'UTC')::date, door, sender, reason, sum(n) from gone group by 1, 2, 3, 4
on conflict (day, door, sender, reason) do update set n = past.n + excluded.n
"""
)


class SeenRow(msgspec.Struct, frozen=True):
    """When a thing last said something, and how often it usually does (seconds)."""

    entity: str
    seen: datetime
    usual_s: float | None
    n: int


ALL_SEEN = Sql("select entity, seen, usual_s, n from hub.device_seen", SeenRow)
SAVE_SEEN = Sql(
    """
insert into hub.device_seen as d(entity, seen, usual_s, n)
select entity, seen, usual_s, n from unnest($1::text[], $2::timestamptz[], $3::float8[], $4::bigint[])
    as r(entity, seen, usual_s, n) order by entity
on conflict (entity) do update set seen = greatest(d.seen, excluded.seen),
    usual_s = coalesce(excluded.usual_s, d.usual_s), n = d.n + excluded.n
"""
)


class Silent(msgspec.Struct, frozen=True):
    """A device that has not been heard for much longer than usual."""

    entity: str
    seen: datetime
    usual_s: float
    silent_s: float


SILENT = Sql(
    """
with up as (select coalesce(min(started), $1) as since from hub.ingest_run
            where beat > clock_timestamp() - interval '1 minute')
select entity, seen, coalesce(usual_s, 0) as usual_s,
       extract(epoch from $1 - greatest(seen, up.since))::float8 as silent_s
from hub.device_seen, up
where n >= 3 and usual_s is not null
  and greatest(seen, up.since) < $1 - make_interval(secs => greatest(usual_s * $2, $3))
order by extract(epoch from $1 - greatest(seen, up.since)) / greatest(usual_s, 1) desc, entity limit $4
""",
    Silent,
)


class MinuteRow(msgspec.Struct, frozen=True):
    """What came through one door in one minute."""

    minute: datetime
    door: str
    readings: int
    duplicates: int
    late: int
    refused: int
    throttled: int


RATE = Sql(
    """
select minute, door, readings, duplicates, late, refused, throttled from hub.ingest_minute
where minute >= $1 order by minute, door
""",
    MinuteRow,
)
ADD_MINUTES = Sql(
    """
insert into hub.ingest_minute as m(minute, door, readings, duplicates, late, refused, throttled)
select * from unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
                     $7::bigint[]) as r(minute, door, readings, duplicates, late, refused, throttled)
on conflict (minute, door) do update set readings = m.readings + excluded.readings,
    duplicates = m.duplicates + excluded.duplicates, late = m.late + excluded.late,
    refused = m.refused + excluded.refused, throttled = m.throttled + excluded.throttled
"""
)
TRIM_MINUTES = Sql("delete from hub.ingest_minute where minute < $1")
# Whether a process lives is a matter of the computer's time; city time may run at another speed.
BEAT = Sql(
    """
insert into hub.ingest_run(process, started, beat) values ($1, $2, clock_timestamp())
on conflict (process) do update set started = excluded.started, beat = excluded.beat
"""
)
TRIM_RUNS = Sql("delete from hub.ingest_run where beat < clock_timestamp() - interval '1 day'")


class SuspectRow(msgspec.Struct, frozen=True):
    """A sensor that probably measures wrongly: kind, since when, the last example and what was expected."""

    entity: str
    attribute: str
    kind: str
    since: datetime
    last: datetime
    n: int
    value: float
    low: float | None
    high: float | None


SUSPECTS = Sql(
    """
select entity, attribute, kind, since, last, n, value, low, high from hub.suspect
where last >= $1 and ($2::text is null or kind = $2) order by n desc, entity, attribute limit $3
""",
    SuspectRow,
)
SAVE_SUSPECTS = Sql(
    """
insert into hub.suspect as s(entity, attribute, kind, since, last, n, value, low, high)
select * from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[],
                     $7::float8[], $8::float8[], $9::float8[])
on conflict (entity, attribute, kind) do update set last = excluded.last, n = s.n + excluded.n, value = excluded.value,
    low = excluded.low, high = excluded.high
"""
)
TRIM_SUSPECTS = Sql("delete from hub.suspect where last < $1")


class FileRow(msgspec.Struct, frozen=True):
    """How far a file has been read."""

    started: datetime
    done: int
    readings: int
    duplicates: int
    late: int
    refused: int
    finished: datetime | None


BEGIN_FILE = Sql(
    """
insert into hub.ingest_file as f(sha256, how, path, started, done, readings, duplicates, late, refused)
values ($1, $2, $3, $4, 0, 0, 0, 0, 0)
on conflict (sha256, how) do update set path = excluded.path
returning started, done, readings, duplicates, late, refused, finished
""",
    FileRow,
)
FORGET_FILE = Sql("delete from hub.ingest_file where sha256 = $1 and how = $2")
FILE_DONE = Sql(
    """
update hub.ingest_file set done = $3, readings = readings + $4, duplicates = duplicates + $5, late = late + $6,
    refused = refused + $7, finished = $8
where sha256 = $1 and how = $2
"""
)
