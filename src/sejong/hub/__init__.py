"""The hub: the one living record of the city, as NGSI-LD entities with their history."""

from sejong.kit.service import Service

SERVICE = Service(
    name="hub",
    element="data-driven operation",
    routes="sejong.hub.web:routes",
    start="sejong.hub.start:start",
    restored=("sejong.hub.store.entities:FORGET_CHANGES",),
    work=("sejong.hub.start:take_readings",),
    jobs={
        "hub.ensure_months": "sejong.hub.jobs:ensure_months",
        "hub.trim_changes": "sejong.hub.jobs:trim_changes",
        "hub.trim_values": "sejong.hub.jobs:trim_values",
        "hub.remove_expired": "sejong.hub.jobs:remove_expired",
        "hub.roll_up": "sejong.hub.jobs:roll_up",
        "hub.keep_promises": "sejong.hub.jobs:keep_promises",
        "hub.measure_data_sets": "sejong.hub.jobs:measure_data_sets",
        "hub.trim_notifications": "sejong.hub.jobs:trim_notifications",
        "hub.trim_contexts": "sejong.hub.jobs:trim_contexts",
        "hub.remove_expired_registrations": "sejong.hub.jobs:remove_expired_registrations",
        "hub.remove_expired_copies": "sejong.hub.jobs:remove_expired_copies",
    },
    periodic={
        "hub.ensure_months": "7 3 * * *",
        "hub.trim_changes": "17 * * * *",
        "hub.trim_values": "43 4 * * *",
        "hub.remove_expired": "* * * * *",
        "hub.roll_up": "*/5 * * * *",
        "hub.keep_promises": "37 3 * * *",
        "hub.measure_data_sets": "*/2 * * * *",
        "hub.trim_notifications": "27 * * * *",
        "hub.trim_contexts": "37 4 * * *",
        "hub.remove_expired_registrations": "* * * * *",
        "hub.remove_expired_copies": "* * * * *",
    },
)
