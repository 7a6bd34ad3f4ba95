"""The face of the city: the shell every page stands in, the live map, search, any thing's page, and data operations.

Manifest: see `SERVICE`. The portal reads everything through `CityView` (answered by `sejong.hub.api`) and keeps
nothing of its own but a visitor's choices in a cookie.
"""

from __future__ import annotations

from sejong.kit.service import Service

SERVICE = Service(
    name="portal",
    element="every element: what residents and operators see",
    depends=("hub", "citypack"),
    routes="sejong.portal.opening:routes",
)
