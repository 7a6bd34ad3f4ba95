"""The device simulator: a whole day's rhythm of the city's sensors, sent the way field devices would send it."""

from sejong.simulator.message import FaultRates, FaultRecord, Message
from sejong.simulator.simulation import GATEWAYS, Simulation, backfill

__all__ = ["GATEWAYS", "FaultRates", "FaultRecord", "Message", "Simulation", "backfill"]
