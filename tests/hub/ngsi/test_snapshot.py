"""The Snapshot data type. Source: CIM 009 5.2.41, 5.2.42."""

from __future__ import annotations

from typing import Any

import pytest

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.snapshot import read_snapshot, snapshot_test, status_of

SHOWN: dict[str, Any] = {
    "id": "urn:s:1",
    "type": "Snapshot",
    "snapshotPriority": 3,
    "snapshotStatus": "success",
    "createdAt": "2026-11-22T10:00:00Z",
    "expiresAt": "2026-12-22T10:00:00Z",
    "lastUsedAt": "2026-11-23T10:00:00Z",
    "endpoint": {"uri": "http://a/b"},
}


@pytest.mark.parametrize(
    ("ended", "status"),
    [
        (["success"], "success"),
        (["success", "empty"], "success"),
        (["empty", "empty"], "empty"),
        (["empty", "failure"], "partial"),
        (["success", "failure"], "partial"),
        (["failure", "failure"], "failure"),
        ([], "empty"),
    ],
)
def test_what_became_of_the_whole(ended: list[str], status: str) -> None:
    assert status_of([{"resultStatus": one} for one in ended]) == status


@pytest.mark.parametrize(
    ("q", "meant"),
    [
        ("snapshotPriority<5", True),
        ("snapshotPriority>=5", False),
        ('snapshotStatus=="success";snapshotPriority==3', True),
        ('snapshotStatus=="failure"|snapshotPriority==3', True),
        ("createdAt<2026-11-23T00:00:00Z", True),
        ("expiresAt<2026-11-23T00:00:00Z", False),
        ("lastUsedAt>2026-11-23T00:00:00Z", True),
        ('endpoint[uri]=="http://a/b"', True),
        ("receiverInfo", False),
        ("!= 3", None),
        ("colour==3", None),
        ("snapshotPriority.colour==3", None),
    ],
)
def test_q_about_snapshots(q: str, meant: bool | None) -> None:
    if meant is None:
        with pytest.raises(BadRequestData):
            snapshot_test(q)
    else:
        assert snapshot_test(q)(SHOWN) is meant


def test_what_only_the_hub_says_is_left_out() -> None:
    body = {"type": "Snapshot", "snapshotQueries": [{"type": "Query"}], "snapshotStatus": "success", "createdAt": "x"}
    assert read_snapshot(body, "create") == {"snapshotQueries": [{"type": "Query"}]}
    assert read_snapshot({"snapshotPriority": None, "endpoint": "urn:ngsi-ld:null"}, "update") == {
        "snapshotPriority": None,
        "endpoint": None,
    }
    with pytest.raises(BadRequestData):
        read_snapshot({"snapshotPriority": None}, "clone")
