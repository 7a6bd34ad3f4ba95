"""What other services may use of the hub."""

from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.errors import NgsiLdError
from sejong.hub.service import Hub, Step, merging_pack
from sejong.hub.view import Card, Found, Indicator, RecordView

__all__ = [
    "Card",
    "Change",
    "Found",
    "Hub",
    "Indicator",
    "NgsiLdError",
    "RecordView",
    "Step",
    "expand_entity",
    "merging_pack",
]
