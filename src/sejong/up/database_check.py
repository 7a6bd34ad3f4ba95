"""The doctor's look at the database: whether it answers, and whether it can hold a Korean city."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
from psycopg.rows import dict_row

from sejong.kernel.errors import CityError
from sejong.kit import embedded_postgres_places as places
from sejong.kit.embedded_postgres import OLDEST_MAJOR, Cluster
from sejong.up.findings import Finding, Ground, fail, ok, warn
from sejong.up.words import Text

EXTENSIONS = ("pg_trgm", "btree_gist")
_QUERY = """
SELECT current_setting('server_version_num')::int / 10000 AS major,
       current_setting('server_encoding') AS encoding,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       ARRAY(SELECT name::text FROM pg_available_extensions WHERE name = ANY(%s)) AS extensions
"""
# What PostgreSQL's client says (its words are English under any locale that the wheel carries) -> what to do.
_REFUSALS: tuple[tuple[str, Text], ...] = (
    (
        "password authentication failed",
        (
            "DSN의 사용자와 암호가 틀렸습니다. 고쳐서 SEJONG_DATABASE_URL에 넣으세요.",
            "The user or password in the DSN is wrong; correct it in SEJONG_DATABASE_URL.",
        ),
    ),
    (
        "no password supplied",
        (
            "DSN에 암호가 없습니다: postgresql://사용자:암호@서버/데이터베이스",
            "The DSN has no password: postgresql://user:password@host/database",
        ),
    ),
    (
        "does not exist",
        (
            "데이터베이스나 사용자를 먼저 만드세요: `createdb -E UTF8 이름`, `createuser 이름`.",
            "Make the database or user first: `createdb -E UTF8 NAME`, `createuser NAME`.",
        ),
    ),
    (
        "no pg_hba.conf entry",
        (
            "서버의 pg_hba.conf가 이 컴퓨터를 받지 않습니다. 관리자에게 한 줄 넣어 달라고 하세요.",
            "The server's pg_hba.conf does not admit this machine; ask its administrator for a line.",
        ),
    ),
    (
        "refused",
        (
            "서버가 꺼져 있거나 포트가 다릅니다. `pg_isready -h 서버 -p 포트`로 확인하세요.",
            "The server is off or the port is another one; check with `pg_isready -h HOST -p PORT`.",
        ),
    ),
    (
        "resolve",
        (
            "서버 이름이 틀렸거나 이름 서버에 닿지 않습니다.",
            "The host name is wrong, or the name server cannot be reached.",
        ),
    ),
    (
        "timeout",
        ("서버까지 길이 막혀 있습니다(방화벽, 주소).", "Something blocks the way to the server (firewall, address)."),
    ),
)


def database(ground: Ground) -> Finding:
    """The named database, or the embedded one as far as it can be seen without starting it."""
    if ground.database_url:
        return _look_inside(ground.database_url)
    data = (ground.state / "postgres").resolve() / "data"
    if ground.running is not None and places.processes_of(data):
        return _look_inside(Cluster(ground.state).dsn("sejong"))
    try:
        kept = (data / "PG_VERSION").read_text().strip()
    except PermissionError:
        return fail(
            (f"{data}은(는) 다른 사용자의 것입니다", f"{data} belongs to another user"),
            (
                "그 사용자로 실행하거나 --state로 다른 폴더를 고르세요.",
                "Run as that user, or choose another with --state.",
            ),
        )
    except OSError:
        return ok(("첫 시작 때 만듭니다", "will be made at the first start"))
    return _compare_version(ground, kept)


def _compare_version(ground: Ground, kept: str) -> Finding:
    try:
        have = str(places.major_version(ground.pg_bin or places.wheel_programs()))
    except CityError as error:
        return fail((error.message("ko"), error.message("en")))
    if kept != have:
        return fail(
            (
                f"자료는 PostgreSQL {kept}, 실행 파일은 {have}",
                f"the data is PostgreSQL {kept}'s, the programs are {have}",
            ),
            (
                f"SEJONG_PG_BIN에 PostgreSQL {kept}의 bin 폴더를 지정하세요.",
                f"Point SEJONG_PG_BIN at PostgreSQL {kept}.",
            ),
        )
    return ok((f"PostgreSQL {kept} 자료, 꺼져 있음", f"PostgreSQL {kept} data, not running"))


def _look_inside(dsn: str) -> Finding:
    where = _without_password(dsn)
    try:
        with psycopg.connect(dsn, connect_timeout=3) as connection, connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(_QUERY, [list(EXTENSIONS)]).fetchone()
            assert row is not None
            # Asked by itself: in any other encoding the question cannot even be sent.
            korean = row["encoding"] == "UTF8" and cursor.execute("SELECT '세' ~ '[[:alpha:]]' AS it").fetchone()
    except psycopg.Error as error:
        said = " ".join(str(error).split()) or type(error).__name__
        mend = next((text for words, text in _REFUSALS if words in said), ("DSN을 확인하세요.", "Check the DSN."))
        return fail((f"{where}: {said}", f"{where}: {said}"), mend)
    return _judge(where, row, reads_korean=bool(korean and korean["it"]))


def _judge(where: str, row: dict[str, object], *, reads_korean: bool) -> Finding:
    """Whether this server and database can hold the city."""
    again: Text = (
        "`createdb -T template0 -E UTF8 --lc-ctype=C.UTF-8 이름`으로 새 데이터베이스를 만들어 쓰세요.",
        "Make and use a new one: `createdb -T template0 -E UTF8 --lc-ctype=C.UTF-8 NAME`.",
    )
    major, encoding = int(str(row["major"])), str(row["encoding"])
    if major < OLDEST_MAJOR:
        seen = (f"{where}: PostgreSQL {major}은 너무 오래됨", f"{where}: PostgreSQL {major} is too old")
        return fail(seen, (f"{OLDEST_MAJOR} 이상을 쓰세요.", f"Use {OLDEST_MAJOR} or newer."))
    if encoding != "UTF8":
        return fail((f"{where}: 문자 인코딩이 {encoding}", f"{where}: its encoding is {encoding}"), again)
    available = row["extensions"]
    assert isinstance(available, list)
    if missing := [name for name in EXTENSIONS if name not in available]:
        names = ", ".join(missing)
        return fail(
            (f"{where}: 확장 {names}이(가) 없음", f"{where}: extension {names} is missing"),
            ("서버에 postgresql-contrib를 설치하세요.", "Install postgresql-contrib on the server."),
        )
    if not row["may_create"]:
        return fail(
            (f"{where}: 스키마를 만들 권한이 없음", f"{where}: no right to create schemas"),
            ("`GRANT CREATE ON DATABASE 이름 TO 사용자`", "`GRANT CREATE ON DATABASE name TO user`"),
        )
    if not reads_korean:
        meaning = (f"{where}: 로캘이 한글을 글자로 보지 않음", f"{where}: its locale does not take Hangul for letters")
        return warn(meaning, again)
    return ok((f"{where}: PostgreSQL {major}", f"{where}: PostgreSQL {major}"))


def _without_password(dsn: str) -> str:
    """The DSN as it may be shown."""
    try:
        parts = urlsplit(dsn)
        if parts.password:
            dsn = dsn.replace(f":{parts.password}@", ":…@", 1)
    except ValueError:
        return "DSN"
    return dsn
