"""The portal in a real browser: it draws, it lives, it listens."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from .conftest import PHONE, Open, Watch, settled

BIKE = "urn:ngsi-ld:BikeHireDockingStation:demo:SJ_00001"
COUNT = re.compile(r"[\d,]+개 보임")

GROUND_COLOURS = """() => new Promise(done => {
  const { map } = document.getElementById('map').island;
  map.once('render', () => {
    const gl = map.getCanvas().getContext('webgl2'), w = gl.drawingBufferWidth, h = gl.drawingBufferHeight;
    const words = new Uint32Array(w * h), seen = new Map();
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(words.buffer));
    for (let i = 0; i < words.length; i += 7) seen.set(words[i], (seen.get(words[i]) ?? 0) + 1);
    done([...seen].filter(([, n]) => n > w * h / 35000).length);
  });
  map.triggerRepaint();
})"""
FLEET_COLOURS = """() => {
  const { fleet } = document.getElementById('map').island, { gl } = fleet;
  fleet.paint();
  const w = gl.drawingBufferWidth, h = gl.drawingBufferHeight, bytes = new Uint8Array(w * h * 4);
  gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
  const near = (i, at) => [0, 1, 2].every(k => Math.abs(bytes[i + k] - fleet.palette[at * 3 + k] * 255) < 3);
  const counts = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < bytes.length; i += 4) {
    if (bytes[i + 3] > 250) for (let s = 1; s < 6; s++) counts[s] += near(i, s);
  }
  return counts;
}"""
PLACE_OF = """(id) => {
  const { fleet, map } = document.getElementById('map').island, at = fleet.slots.get(id) * 6 + 2;
  const { west, north, step } = fleet.grid, x = west + fleet.shorts[at] * step, y = north + fleet.shorts[at + 1] * step;
  const lat = Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180 / Math.PI;
  const place = map.project([(x - 0.5) * 360, lat]), box = map.getCanvas().getBoundingClientRect();
  return [box.x + place.x, box.y + place.y];
}"""


def live(page: Page) -> None:
    settled(page)
    expect(page.locator("#live-state")).to_have_attribute("data-state", "live")


def send(page: Page, name: str, value: float, entity_id: str = BIKE) -> None:
    """A reading arrives from somewhere else."""
    answer = page.request.get(f"/demo/set?id={quote(entity_id)}&name={name}&value={value}")
    assert answer.ok


def test_the_map_draws_the_ground_and_the_living_things(visit: Open) -> None:
    page = visit("/?layer=bike&layer=bus&layer=parking")
    live(page)
    expect(page.locator("#live-state")).to_contain_text("실시간")
    page.wait_for_function("() => document.getElementById('map').island.fleet.count > 50")
    assert page.evaluate(GROUND_COLOURS) >= 4
    unknown, good, fair, bad, *_ = page.evaluate(FLEET_COLOURS)
    assert good > 200
    assert fair > 50
    assert bad > 3
    assert unknown == 0


def test_buses_move_without_a_reload(visit: Open) -> None:
    page = visit("/?layer=bus")
    live(page)
    places = "() => [...document.getElementById('map').island.fleet.shorts.slice(0, 36)].join()"
    page.wait_for_function("() => document.getElementById('map').island.fleet.count === 6")
    before = page.evaluate(places)
    page.wait_for_function(f"(before) => ({places})() !== before", arg=before)


def test_a_point_on_the_map_can_be_chosen_and_let_go(visit: Open) -> None:
    page = visit("/?layer=parking")
    live(page)
    page.wait_for_function("() => document.getElementById('map').island.fleet.count === 5")
    number = page.evaluate("() => document.getElementById('map').island.fleet.numbers[2]")
    x, y = page.evaluate(PLACE_OF, number)
    page.mouse.click(x + 3, y - 3)
    pop = page.locator("#pop")
    expect(pop).to_be_visible()
    expect(pop.locator("a")).to_contain_text("공영주차장")
    page.keyboard.press("Escape")
    expect(pop).to_be_hidden()


def test_layers_switch_points_legend_list_and_address(visit: Open) -> None:
    page = visit("/")
    live(page)
    page.wait_for_function("() => document.getElementById('map').island.fleet.count === 63")
    page.get_by_label("자전거", exact=True).uncheck()
    page.wait_for_function("() => document.getElementById('map').island.fleet.count === 15")
    expect(page.locator("#nearby")).not_to_contain_text("어울링")
    expect(page.locator("dt[data-legend=bike]")).to_be_hidden()
    assert "layer=bike" not in page.url
    page.reload()
    expect(page.get_by_label("자전거", exact=True)).not_to_be_checked()


def test_roads_take_the_colour_of_their_flow(visit: Open) -> None:
    page = visit("/?layer=road")
    live(page)
    page.wait_for_function("() => document.getElementById('map').island.flows.get(3630000001) === 2")


def test_the_map_says_when_the_line_breaks_and_comes_back(visit: Open, watch: Watch) -> None:
    lines: list[WebSocketRoute] = []

    def wire(route: WebSocketRoute) -> None:
        lines.append(route)
        route.connect_to_server()

    page = visit("/", before=lambda page: page.route_web_socket("**/live", wire))
    live(page)
    lines[0].close()
    expect(page.locator("#live-state")).to_have_attribute("data-state", "lost")
    expect(page.locator("#said")).to_have_text("연결이 끊겼습니다. 다시 잇는 중")
    expect(page.locator("#live-state")).to_have_attribute("data-state", "live")
    expect(page.locator("#said")).to_have_text("실시간")
    assert len(lines) == 2


def test_an_entity_page_lives(visit: Open) -> None:
    page = visit(f"/e/{BIKE}")
    value = page.locator('[data-attr="availableBikeNumber"] .big')
    expect(value).to_have_text(re.compile(r"\d+"))
    length = "() => document.querySelector('[data-chart]').data?.[0].length"
    page.wait_for_function(f"() => ({length})() > 200")
    points = page.evaluate(length)
    before = page.url
    send(page, "availableBikeNumber", 17)
    expect(value).to_have_text("17")
    page.wait_for_function(f"(n) => ({length})() > n - 2", arg=points)
    page.wait_for_function("() => document.querySelector('[data-chart]').data[1].at(-1) === 17")
    assert page.url == before


def test_another_span_changes_only_the_chart(visit: Open) -> None:
    page = visit(f"/e/{BIKE}")
    page.evaluate("() => (window.same = true)")
    page.get_by_role("link", name="1시간").click()
    expect(page.locator("#range-1h")).to_have_attribute("aria-current", "true")
    page.wait_for_function("() => document.querySelector('[data-chart]').data?.[0].length < 30")
    assert page.evaluate("() => window.same")
    assert "range=1h" in page.url
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator("#range-1h")).to_be_focused()


def test_the_call_can_be_copied(visit: Open) -> None:
    page = visit(f"/e/{BIKE}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="복사").click()
    expect(page.locator("#said")).to_have_text("복사했습니다")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("curl 'http")
    assert BIKE in copied


def test_search_answers_while_one_types(visit: Open) -> None:
    page = visit("/find")
    page.evaluate("() => (window.same = true)")
    box = page.get_by_label("찾을 말")
    box.press_sequentially("호수공원", delay=10)
    expect(page.locator("#found")).to_have_text("1곳을 찾았습니다")
    expect(box).to_be_focused()
    assert page.evaluate("() => window.same")
    assert "%ED%98%B8" in page.url
    page.locator("#results a.go").first.click()
    expect(page.locator("h1")).to_have_text("세종호수공원")


def test_a_kind_and_a_page_can_be_chosen(visit: Open) -> None:
    page = visit("/find")
    page.get_by_label("종류").select_option("BikeHireDockingStation")
    expect(page.locator("#found")).to_have_text("48곳을 찾았습니다")
    page.get_by_role("link", name="다음").click()
    expect(page.locator("#results [aria-current=page]")).to_have_text("2")
    assert "page=2" in page.url


def test_near_me_asks_the_device_and_sorts(visit: Open) -> None:
    place = {"longitude": 127.278, "latitude": 36.489}
    page = visit("/find?type=OffStreetParking", geolocation=place, permissions=["geolocation"])
    page.get_by_role("button", name="내 주변").click()
    expect(page.locator("#found")).to_contain_text("가까운 순서")
    expect(page.locator("#results .name").first).to_have_text("나성동 공영주차장 5")


def test_results_stand_on_a_map_too(visit: Open) -> None:
    page = visit("/find?type=OffStreetParking&view=map")
    settled(page)
    page.wait_for_function("() => document.querySelector('[data-map=points]').island.fleet.count === 5")
    expect(page.locator("#results .line")).to_have_count(5)


def test_the_language_switches_and_stays(visit: Open) -> None:
    page = visit("/find?q=어울링")
    page.get_by_role("link", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("h1")).to_have_text("Find")
    expect(page.locator("#q")).to_have_value("어울링")
    page.goto("/about")
    expect(page.locator("h1")).to_have_text("About")


def test_looks_apply_at_once_and_stay(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.get_by_role("button", name="화면 설정").click()
    with page.expect_response("**/prefs"):
        page.get_by_label("선명하게").check()
    expect(page.locator("html")).to_have_attribute("data-theme", "contrast")
    page.wait_for_function("() => document.getElementById('map').island.fleet.halo.every(part => part === 0)")
    page.keyboard.press("Escape")
    expect(page.locator("#view")).to_be_hidden()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "contrast")


def test_operators_pick_and_replay(visit: Open) -> None:
    page = visit("/ops/data")
    page.get_by_role("link", name="NotJson").click()
    expect(page.locator("#letters")).to_contain_text("15건이 기다립니다")
    page.locator(".tick input").first.check()
    page.get_by_role("button", name="고른 것 다시 보내기").click()
    expect(page.locator("#replayed")).to_have_text("다시 보낸 결과: 0건 들어감, 1건은 아직 알아듣지 못함")


def test_the_keyboard_is_enough(visit: Open) -> None:
    page = visit("/")
    settled(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="본문 바로가기")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("자전거", exact=True)).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_label("자전거", exact=True)).not_to_be_checked()
    page.locator(".maplibregl-canvas").focus()
    centre = "() => document.getElementById('map').island.map.getCenter().lng"
    before = page.evaluate(centre)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"(before) => ({centre})() > before", arg=before)


def no_webgl(page: Page) -> None:
    page.add_init_script(
        "const old = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
        "  return kind.startsWith('webgl') ? null : old.call(this, kind, ...more); };"
    )


def test_without_webgl_the_lists_and_charts_remain(visit: Open, watch: Watch) -> None:
    page = visit("/", before=no_webgl)
    expect(page.get_by_text("이 브라우저에서는 지도를 그릴 수 없습니다")).to_be_visible()
    expect(page.locator("#nearby .line").first).to_be_visible()
    other = visit(f"/e/{BIKE}", before=no_webgl)
    expect(other.locator("#chart canvas")).to_be_visible()
    watch.wrong = [line for line in watch.wrong if "WebGL" not in line]


def test_without_scripts_everything_can_be_read_and_sent(visit: Open) -> None:
    page = visit("/", java_script_enabled=False)
    expect(page.get_by_text("지도는 스크립트가 켜져 있어야 보입니다")).to_be_visible()
    expect(page.locator("#nearby .line").first).to_be_visible()
    for name in ("자전거", "버스", "도로 소통", "공기·날씨"):
        page.get_by_label(name, exact=True).uncheck()
    page.locator("#layers").get_by_role("button", name="적용").click()
    expect(page.locator("#nearby .line")).to_have_count(5)
    page.locator("#seek").fill("호수공원")
    page.locator("#seek").press("Enter")
    expect(page.locator("#found")).to_have_text("1곳을 찾았습니다")
    page.locator("#results a.go").first.click()
    expect(page.locator("h1")).to_have_text("세종호수공원")
    page.goto(f"/e/{BIKE}")
    page.get_by_text("표로 보기").click()
    expect(page.get_by_role("table")).to_be_visible()
    page.get_by_role("button", name="화면 설정").click()
    page.get_by_label("어둡게").check()
    page.locator("#view").get_by_role("button", name="적용").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.url.endswith(BIKE)
    page.goto("/ops/data")
    page.get_by_role("button", name="고른 것 다시 보내기").click()
    expect(page.locator("#replayed")).to_be_visible()


def test_ages_grow_while_a_page_stays_open(visit: Open) -> None:
    page = visit("/find?type=OffStreetParking", before=lambda page: page.clock.install())
    first = page.locator("time[data-age]").first
    before = first.inner_text()
    page.clock.fast_forward("05:00")
    expect(first).not_to_have_text(before)
    expect(first).to_have_text(re.compile(r"^([5-9]|\d\d)분 전$"))


@pytest.mark.parametrize("path", ["/", "/find", "/find?view=map", f"/e/{BIKE}", "/ops/data", "/about", "/nope"])
def test_nothing_overflows_a_small_screen(visit: Open, watch: Watch, path: str) -> None:
    sizes: dict[str, Any] = {"viewport": {"width": 320, "height": 640}, "language": "en"}
    page = visit(path, **sizes)
    for size in ("2", "5"):
        page.evaluate("(size) => (document.documentElement.dataset.size = size)", size)
        wide = page.evaluate("""() => {
            const limit = document.documentElement.clientWidth;
            return [document.documentElement.scrollWidth - limit, [...document.querySelectorAll('.nav a')].filter(
                a => a.scrollWidth > a.clientWidth + 1).length];
        }""")
        assert wide == ([0, 0] if size == "2" else [0, wide[1]]), size
    watch.wrong = [line for line in watch.wrong if "404" not in line]


def test_the_bottom_bar_of_a_phone_is_the_top_bar_of_a_desk(visit: Open) -> None:
    page = visit("/", viewport=PHONE)
    bar = page.locator(".nav").bounding_box()
    assert bar
    assert bar["y"] + bar["height"] == pytest.approx(844, abs=1)
    assert all((link.bounding_box() or {"height": 0})["height"] >= 44 for link in page.locator(".nav a").all())
    page.set_viewport_size({"width": 1440, "height": 900})
    bar = page.locator(".nav").bounding_box()
    assert bar
    assert bar["y"] < 64
