"""City packs: everything the platform knows about one particular city, as files a city can write itself."""

from __future__ import annotations

from sejong.kit.service import Service

SERVICE = Service(
    name="citypack",
    element="도시의 기본 자료 (모든 요소의 바탕) · the city's own data, under all elements",
    depends=("hub",),
    start="sejong.citypack.load:start",
)
