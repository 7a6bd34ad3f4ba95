"""Why the city's own database does not run, said so that a person can mend it."""

from __future__ import annotations

from sejong.kernel.errors import CityError


class DatabaseError(CityError):
    """The city's own database cannot run."""

    status = 503
    ko = "내장 데이터베이스를 시작하지 못했습니다: {why} 기록: {log}"
    en = "The embedded database did not start: {why} Log: {log}"


class DatabaseInUse(DatabaseError):
    """Another running city has this database open."""

    ko = (
        "이 데이터베이스는 이미 실행 중인 다른 세종(프로세스 {pid})이 쓰고 있습니다: {state}. 그쪽을 끝내거나 "
        "--state로 다른 폴더를 고르세요."
    )
    en = (
        "Another running sejong (process {pid}) has this database open: {state}. Stop it, or choose another "
        "folder with --state."
    )


class DatabaseBinariesMissing(DatabaseError):
    """There is no PostgreSQL to run."""

    ko = (
        "PostgreSQL 실행 파일을 찾을 수 없거나 실행할 수 없습니다({where}): {why} `uv sync`를 다시 하거나 "
        "SEJONG_PG_BIN에 PostgreSQL의 bin 폴더를, 또는 SEJONG_DATABASE_URL에 다른 데이터베이스를 지정하세요."
    )
    en = (
        "The PostgreSQL programs are missing or cannot run ({where}): {why} Run `uv sync` again, point "
        "SEJONG_PG_BIN at a PostgreSQL bin folder, or point SEJONG_DATABASE_URL at another database."
    )


class DatabaseOfOtherVersion(DatabaseError):
    """The stored data was written by another major version of PostgreSQL."""

    ko = (
        "{data}의 자료는 PostgreSQL {found}의 것인데 실행 파일은 {have}입니다. SEJONG_PG_BIN에 PostgreSQL "
        "{found}의 bin 폴더를 지정해 쓰거나 그것으로 pg_dump한 뒤 새 --state 폴더에 옮기세요. 자료는 그대로 "
        "두었습니다."
    )
    en = (
        "The data in {data} was written by PostgreSQL {found}, but the programs are version {have}. Point "
        "SEJONG_PG_BIN at PostgreSQL {found} and use it, or pg_dump with it and restore into a new --state "
        "folder. The data was left untouched."
    )


class DatabaseTooOld(DatabaseError):
    """The chosen PostgreSQL is older than the city needs."""

    ko = "PostgreSQL {have}은 너무 오래되었습니다. {oldest} 이상이 필요합니다: {where}"
    en = "PostgreSQL {have} is too old; {oldest} or newer is needed: {where}"


class DatabaseDiskFull(DatabaseError):
    """There is no room left for the database."""

    ko = (
        "디스크에 자리가 없습니다: {where} (남은 공간 {free_mb} MB). 공간을 비우거나 --state로 다른 디스크를 "
        "고르고 다시 시작하세요. 저장된 자료는 손상되지 않았습니다."
    )
    en = (
        "The disk is full: {where} ({free_mb} MB free). Free some space or choose another disk with --state, "
        "then start again. What was stored is not damaged."
    )


class DatabaseFolderUnusable(DatabaseError):
    """The state folder cannot hold a database for this user."""

    ko = (
        "데이터베이스 폴더를 쓸 수 없습니다: {where} ({why}). 이 폴더의 주인으로 실행하거나, chown으로 주인을 "
        "바꾸거나, --state로 다른 폴더를 고르세요."
    )
    en = (
        "The database folder cannot be used: {where} ({why}). Run as its owner, change its owner with chown, or "
        "choose another folder with --state."
    )
