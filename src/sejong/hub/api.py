"""What other services may use of the hub."""

from sejong.hub.device_view import DeadLetter, DeviceView, Replayed, SilentDevice, Suspect
from sejong.hub.ingest import keys as device_keys
from sejong.hub.ingest.file import Progress, ingest_file
from sejong.hub.ingest.keys import DeviceUser
from sejong.hub.ingest.mapping import read_models
from sejong.hub.ingest.service import Ingest
from sejong.hub.ngsi.change import Change
from sejong.hub.ngsi.entity import expand_entity
from sejong.hub.ngsi.errors import NgsiLdError
from sejong.hub.opendata import keys as api_keys
from sejong.hub.opendata.catalogue import Catalogue, Listed, allow, looked_for
from sejong.hub.opendata.dataset import THEMES, DataSet, Place
from sejong.hub.opendata.keys import Keys
from sejong.hub.service import Hub, Step, merging_pack
from sejong.hub.view import Card, Found, Indicator, RecordView

__all__ = [
    "THEMES",
    "Card",
    "Catalogue",
    "Change",
    "DataSet",
    "DeadLetter",
    "DeviceUser",
    "DeviceView",
    "Found",
    "Hub",
    "Indicator",
    "Ingest",
    "Keys",
    "Listed",
    "NgsiLdError",
    "Place",
    "Progress",
    "RecordView",
    "Replayed",
    "SilentDevice",
    "Step",
    "Suspect",
    "allow",
    "api_keys",
    "device_keys",
    "expand_entity",
    "ingest_file",
    "looked_for",
    "merging_pack",
    "read_models",
]
