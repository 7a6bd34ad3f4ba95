"""Where things are: distances, directions and boxes on the Earth, in degrees (WGS 84) and metres."""

from __future__ import annotations

from math import asin, atan2, cos, degrees, radians, sin, sqrt

import msgspec

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth. Units: m. Source: IUGG mean radius R1 of GRS 80 / WGS 84."""


def haversine_m(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    """How far apart two places are, in metres over ground (spherical; within 0.5 % of the ellipsoid).

    Source: haversine formula, R. W. Sinnott, Sky & Telescope 68 (1984) 159.

    >>> round(haversine_m(127.2653584, 36.492771, 127.3273780, 36.620453))  # lake park to Osong station
    15240
    """
    phi1, phi2 = radians(lat1), radians(lat2)
    a = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(a)))


def bearing_deg(lon1: float, lat1: float, lon2: float, lat2: float) -> float:
    """Which way the second place lies from the first: degrees clockwise from north, 0 ≤ b < 360.

    >>> bearing_deg(127.0, 36.0, 127.0, 37.0)
    0.0
    """
    phi1, phi2, dl = radians(lat1), radians(lat2), radians(lon2 - lon1)
    angle = degrees(atan2(sin(dl) * cos(phi2), cos(phi1) * sin(phi2) - sin(phi1) * cos(phi2) * cos(dl)))
    return angle % 360.0 % 360.0  # a hair west of north is 360.0 after the first


def move_m(lon: float, lat: float, bearing: float, metres: float) -> tuple[float, float]:
    """The place reached after `metres` in the direction `bearing` (degrees from north): (lon, lat)."""
    phi, delta, theta = radians(lat), metres / EARTH_RADIUS_M, radians(bearing)
    phi2 = asin(sin(phi) * cos(delta) + cos(phi) * sin(delta) * cos(theta))
    dl = atan2(sin(theta) * sin(delta) * cos(phi), cos(delta) - sin(phi) * sin(phi2))
    return (lon + degrees(dl) + 180.0) % 360.0 - 180.0, degrees(phi2)


class BBox(msgspec.Struct, frozen=True):
    """A box between two meridians and two parallels, in degrees. Boxes across the date line are not supported."""

    west: float
    south: float
    east: float
    north: float

    def contains(self, lon: float, lat: float) -> bool:
        """Whether the place lies in the box, its edge included."""
        return self.west <= lon <= self.east and self.south <= lat <= self.north

    def intersects(self, other: BBox) -> bool:
        """Whether the boxes share at least one place."""
        return (
            self.west <= other.east
            and other.west <= self.east
            and self.south <= other.north
            and other.south <= self.north
        )

    def expand(self, metres: float) -> BBox:
        """The box grown by at least `metres` on each side."""
        dlat = degrees(metres / EARTH_RADIUS_M)
        widest = max(abs(self.south - dlat), abs(self.north + dlat))
        dlon = 180.0 if widest >= 89.0 else dlat / cos(radians(widest))
        return BBox(self.west - dlon, self.south - dlat, self.east + dlon, self.north + dlat)
