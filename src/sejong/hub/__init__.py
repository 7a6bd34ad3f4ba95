"""The hub: the one living record of the city, as NGSI-LD entities with their history."""

from sejong.kit.service import Service

SERVICE = Service(
    name="hub",
    element="data-driven operation",
    routes="sejong.hub.web:routes",
    start="sejong.hub.start:start",
    work=("sejong.hub.start:take_readings",),
    jobs={
        "hub.ensure_months": "sejong.hub.jobs:ensure_months",
        "hub.trim_changes": "sejong.hub.jobs:trim_changes",
        "hub.trim_values": "sejong.hub.jobs:trim_values",
        "hub.remove_expired": "sejong.hub.jobs:remove_expired",
        "hub.remove_expired_copies": "sejong.hub.jobs:remove_expired_copies",
    },
    periodic={
        "hub.ensure_months": "7 3 * * *",
        "hub.trim_changes": "17 * * * *",
        "hub.trim_values": "43 4 * * *",
        "hub.remove_expired": "* * * * *",
        "hub.remove_expired_copies": "* * * * *",
    },
)
