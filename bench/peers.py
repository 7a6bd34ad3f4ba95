"""What the hub is measured against: a bare ASGI answer (floor) and FastAPI with a SQLAlchemy ORM (peer)."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The least an ASGI server can answer."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


def orm() -> Any:
    """The same GET and upsert the way most services are written."""
    from fastapi import FastAPI, HTTPException
    from sqlalchemy import JSON, String
    from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class Entity(Base):
        __tablename__ = "bench_entity"
        id: Mapped[str] = mapped_column(String, primary_key=True)
        type: Mapped[str] = mapped_column(String)
        attributes: Mapped[dict[str, Any]] = mapped_column(JSON)

    engine = create_async_engine(os.environ["BENCH_ORM_URL"], connect_args={"host": os.environ["BENCH_PG_HOST"]})
    session = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def tables(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield

    app = FastAPI(lifespan=tables)

    @app.get("/entities/{entity_id}")
    async def get(entity_id: str) -> dict[str, Any]:
        async with session() as s:
            found = await s.get(Entity, entity_id)
            if found is None:
                raise HTTPException(404)
            return {"id": found.id, "type": found.type, **found.attributes}

    @app.post("/upsert")
    async def upsert(entities: list[dict[str, Any]]) -> dict[str, int]:
        async with session() as s:
            for e in entities:
                rest = {k: v for k, v in e.items() if k not in ("id", "type")}
                await s.merge(Entity(id=e["id"], type=e["type"], attributes=rest))
            await s.commit()
        return {"n": len(entities)}

    return app
