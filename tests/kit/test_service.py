"""Manifests: services start after those they need, and a wrong declaration is one clear sentence."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sejong.app import BUILT_IN, handlers_of, services
from sejong.kit import service as module
from sejong.kit.city import City
from sejong.kit.service import BrokenManifest, Service, in_start_order, outside_services, resolve


def made(name: str, *depends: str) -> Service:
    return Service(name=name, element="test", depends=depends)


def names(found: list[Service]) -> list[str]:
    return [service.name for service in found]


def test_each_starts_after_those_it_needs() -> None:
    order = names(in_start_order([made("portal", "hub", "citypack"), made("citypack", "hub"), made("hub")]))
    assert order == ["hub", "citypack", "portal"]


@given(st.permutations(["a", "b", "c", "d", "e"]), st.data())
def test_the_order_is_right_and_the_same_however_they_are_listed(listed: list[str], data: st.DataObject) -> None:
    needs = {
        name: data.draw(st.lists(st.sampled_from("abcde"[:n]), unique=True)) if n else []
        for n, name in enumerate("abcde")
    }
    order = names(in_start_order(made(name, *needs[name]) for name in listed))
    assert order == names(in_start_order(made(name, *needs[name]) for name in "abcde"))
    assert sorted(order) == sorted(listed)
    for name in order:
        assert all(order.index(needed) < order.index(name) for needed in needs[name])


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ([made("a"), made("a")], "two services are called a"),
        ([made("a", "b")], "a depends on b, which is not there"),
        ([made("a", "a")], "circle"),
        ([made("a", "b"), made("b", "c"), made("c", "a")], "circle"),
    ],
)
def test_a_wrong_declaration_is_one_sentence(listed: list[Service], says: str) -> None:
    with pytest.raises(BrokenManifest) as caught:
        in_start_order(listed)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_leads_to_its_function() -> None:
    assert resolve("sejong.kit.service:resolve") is resolve


@pytest.mark.parametrize("name", ["sejong.nowhere:x", "sejong.kit.service:nothing", "sejong.kit.service"])
def test_a_name_that_leads_nowhere_says_which(name: str) -> None:
    with pytest.raises(BrokenManifest) as caught:
        resolve(name)
    assert name in str(caught.value)


def test_home_and_folder() -> None:
    assert made("hub").home == "sejong.hub"
    assert Service(name="bikes", element="x", package="outside.bikes").home == "outside.bikes"
    assert (made("hub").folder() / "migrations").is_dir()


def test_outside_packages_bring_services(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("hub", "sejong.hub:SERVICE", "sejong.services")
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == "sejong.services" else [])
    assert names(list(outside_services())) == ["hub"]


def test_an_outside_package_that_brings_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("odd", "sejong.hub:__name__", "sejong.services")
    monkeypatch.setattr(module, "entry_points", lambda group: [point])
    with pytest.raises(BrokenManifest, match="is not a Service"):
        outside_services()


# --- the services of the house ----------------------------------------------------------------------------------


def test_the_built_in_services_start() -> None:
    assert set(names(list(BUILT_IN))) <= set(names(services()))


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_everything_a_manifest_names_is_there(service: Service) -> None:
    named = [*service.on.values(), *service.jobs.values(), *service.work]
    named += [name for name in (service.routes, service.start) if name]
    for name in named:
        assert callable(resolve(name)), name
        assert name.startswith(service.home + "."), "a service names its own functions"
    assert service.element.strip()
    assert service.folder().is_dir()


@pytest.mark.anyio
async def test_handlers_are_named_after_their_service(city: City) -> None:
    for name, (events, _) in handlers_of(city).items():
        assert name.partition(":")[0] in names(list(city.services))
        assert events
