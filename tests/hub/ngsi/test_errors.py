"""The hub's refusals: standard names, statuses and two languages."""

from __future__ import annotations

import pytest

from sejong.hub.ngsi import errors
from sejong.kernel.errors import CityError

STATUS = {
    "BadRequestData": 400,
    "InvalidRequest": 400,
    "ResourceNotFound": 404,
    "NonexistentTenant": 404,
    "AlreadyExists": 409,
    "Conflict": 409,
    "OperationNotSupported": 422,
    "TooComplexQuery": 403,
    "TooManyResults": 403,
    "LdContextNotAvailable": 504,
    "InternalError": 500,
}


@pytest.mark.parametrize("name", STATUS)
def test_problem_details(name: str) -> None:
    kind = getattr(errors, name)
    error = kind(detail="speed[0]: {odd} braces")
    assert isinstance(error, CityError)
    problem = error.problem()
    assert problem.keys() == {"type", "title", "detail", "status"}
    assert problem["type"] == f"https://uri.etsi.org/ngsi-ld/errors/{name}"
    assert (problem["status"], problem["detail"]) == (STATUS[name], "speed[0]: {odd} braces")
    assert "{odd}" in error.message("ko")
    assert error.message("ko") != error.message("en")
    assert kind().detail == problem["title"]
