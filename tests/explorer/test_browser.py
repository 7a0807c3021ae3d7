"""The explorer in a real browser, headless Chromium, opened from `file://` and from a web host."""

import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from urllib.parse import quote

import av
import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import yt8m
from tests.explorer.synthetic import Film, entity_rows, write_dataset
from yt8m_pipeline.accounting.counts import StageCount
from yt8m_pipeline.accounting.outcome import REJECTS
from yt8m_pipeline.accounting.reasons import Stage
from yt8m_pipeline.explorer.exploring import explore
from yt8m_pipeline.store.failures import Source
from yt8m_pipeline.store.thumbnails import Thumbnails

NEEDED = "YT8M_TESTS_NEED_CHROMIUM"
"""The environment variable with which these tests fail where they would be skipped."""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

HOSTILE = (
    '<script>window.bad = "tag"</script>',
    '"><img src=x onerror="window.bad = 1">',
    "</script><script>window.bad = 2</script>",
    "javascript:window.bad=3//",
    "'\");window.bad = 4;//\u2028\u2029<!--",
    "%3Csvg onload=window.bad=5%3E & ?q=#/../..",
    "__proto__",
    "\u202egnp.evil",
)
"""What each field is planted with."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get(NEEDED):
            pytest.fail(f"there is no Chromium, and {NEEDED} is set")
        pytest.skip("there is no Chromium; `apt-get install chromium` brings it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of 60 videos of 6 entities, one of which can be played, some with thumbnails and one damaged."""
    folder = tmp_path_factory.mktemp("site of all #1 kinds")
    films = [
        Film(
            f"film-{number}",
            ("train", "train", "validate", "test")[number % 4],
            (number % 5,) if number % 3 else (number % 5, 5),
            uri=f"film-{number}.webm",
            sound=0.9 if number == 8 else 1.0,
            seed=1 if number == 0 else number,
        )
        for number in range(60)
    ]
    entities = entity_rows(6)
    entities[4] |= {"Name": "Accordion", "WikiDescription": "A box with bellows.", "MeanRaterScore": 1}
    entities[5]["WikiDescription"] = f"It is at https://example.org/{'long' * 40}"
    rejects = [
        {"stage": "decode", "table": "videos", "id": "gone", "reason": "not_a_video", "detail": "no <b>header</b>"}
    ]
    dataset = write_dataset(
        folder / "dataset",
        films,
        entities,
        rejects=pa.Table.from_pylist(rejects, schema=REJECTS),
        accounting=[StageCount(Stage.DECODE, "videos", 60, (("not_a_video", 1),))],
    )
    for film in films[:20]:
        Thumbnails(str(folder / "features")).write(film.video_id, Source("a", 1, ""), 3, picture())
    write_film(folder / "films" / "film-0.webm")
    explore(dataset, str(folder / "site"), media_root=str(folder / "films"))
    return folder / "site"


def picture() -> bytes:
    """A JPEG of three pictures, each 40 pixels wide and 30 high."""
    encoder = av.VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 120, 30, "yuvj420p", Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.full((30, 120, 3), 99, np.uint8), format="rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for item in (frame, None) for packet in encoder.encode(item))


def write_film(path: Path) -> None:
    path.parent.mkdir()
    with av.open(path, "w") as container:
        stream = container.add_stream("libvpx", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for number in range(10):
            pixels = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


class Visit:
    """A page of the browser, and whatever went wrong in it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address, self.faults, self.requests = page, address, list[str](), list[str]()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self.requests.append(request.url))

    def go(self, place: str) -> Page:
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}#/{place}")
        self.page.wait_for_selector("main[aria-busy=false]")
        return self.page


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


@pytest.fixture(params=["file", "http"])
def visit(request: pytest.FixtureRequest, page: Page, site: Path) -> Iterator[Visit]:
    """The site, opened both ways; in the end nothing has gone wrong, and nobody else was asked."""
    with serving(site.parent) as host:
        root = f"file://{quote(str(site.parent))}" if request.param == "file" else host
        visit = Visit(page, f"{root}/site/index.html")
        yield visit
        assert visit.faults == []
        assert all(url.startswith((root, "about:")) for url in visit.requests), visit.requests


class serving:  # noqa: N801
    """A web host of the standard library, which lives as long as the block."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


def until(page: Page, expression: str) -> None:
    """Waits until something is so. Playwright's own waiting evaluates texts in the page, which its policy forbids."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never so: {expression}")


def rows(page: Page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def test_entities_are_searched_filtered_and_sorted(visit: Visit) -> None:
    page = visit.go("")
    expect(page.get_by_role("heading", level=1)).to_have_text("Entities")
    assert len(rows(page)) == 6
    page.get_by_role("searchbox").fill("accord")
    expect(page.locator("tbody th a")).to_have_text(["Accordion"])
    page.get_by_role("searchbox").fill("BELLOWS")
    expect(page.locator("tbody th")).to_contain_text(["A box with bellows."])
    page.get_by_role("searchbox").fill("/m/3")
    expect(page.locator("tbody th a")).to_have_text(["Thing 3"])
    page.reload()
    expect(page.locator("tbody th a")).to_have_text(["Thing 3"])
    page.get_by_role("searchbox").fill("nothing like this")
    expect(page.locator("main")).to_contain_text("No entity fits.")
    page.get_by_role("searchbox").fill("")
    page.get_by_label("Sort by").select_option("name")
    expect(page.locator("tbody th a").first).to_have_text("Accordion")
    page.get_by_role("button", name=re.compile("Vertical 2")).click()
    expect(page.locator("tbody th a")).to_have_text(["Thing 2", "Thing 5"])
    assert "vertical=Vertical+2" in page.url
    assert "sort=name" in page.url


def test_links_lead_from_an_entity_to_its_videos_and_back(visit: Visit) -> None:
    page = visit.go("")
    page.get_by_role("link", name="Accordion").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Accordion")
    expect(page.get_by_role("link", name="https://example.org/4")).to_have_attribute("rel", "noopener noreferrer")
    expect(page.get_by_role("row", name="test")).to_contain_text("withheld")
    page.get_by_role("link", name=re.compile("^validate")).click()
    expect(page.get_by_role("link", name=re.compile("^validate"))).to_have_attribute("aria-current", "true")
    page.locator(".card").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("film-14")
    page.locator("dd").get_by_role("link", name="Accordion").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Accordion")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("film-14")


def test_a_video_has_its_facts_and_similar_videos(visit: Visit) -> None:
    page = visit.go("video/film-8")
    facts = page.locator("dl")
    expect(facts).to_contain_text("90.0 % of its frames are sound")
    expect(facts).to_contain_text("0:13 (12.5 s)")
    expect(facts).to_contain_text("h264, 1280 × 720, 24 frames per second, 2.50 MB")
    expect(facts).to_contain_text("1,016")
    assert page.locator(".strip img").evaluate("image => image.naturalWidth") == 120
    page = visit.go("video/film-0")
    expect(page.locator(".card").first).to_contain_text("film-1")
    expect(page.locator(".card").first).to_contain_text("near-duplicate · 1")
    page = visit.go("video/film-3")
    expect(page.locator("dl")).to_contain_text("withheld")
    page = visit.go("video/film-30")
    expect(page.locator(".strip")).to_contain_text("There are no pictures of this video.")


def test_a_picture_is_one_frame_in_its_own_aspect(visit: Visit) -> None:
    page = visit.go("videos/train")
    box = page.locator(".card .window").first
    expect(box).to_be_visible()
    until(page, "document.querySelector('.card .window').style.width")
    width, height = box.evaluate("box => [box.getBoundingClientRect().width, box.getBoundingClientRect().height]")
    assert width / height == pytest.approx(40 / 30, rel=0.02)


def test_a_video_plays_in_the_page_when_it_is_asked_to(visit: Visit) -> None:
    page = visit.go("video/film-0")
    assert not any(url.endswith(".webm") for url in visit.requests)
    page.get_by_role("button", name="Play the video here").click()
    until(page, "document.querySelector('video')?.currentTime > 0.2")


def test_a_video_that_is_gone_is_told(page: Page, site: Path) -> None:
    visit = Visit(page, f"file://{quote(str(site))}/index.html")
    visit.go("video/film-1").get_by_role("button", name="Play the video here").click()
    expect(page.locator(".problem")).to_contain_text("The browser cannot reach or play the video")


def test_a_rejected_id_is_explained(visit: Visit) -> None:
    page = visit.go("rejected")
    expect(page.get_by_role("row", name=re.compile("^decode"))).to_contain_text("not a video: 1")
    page.get_by_role("searchbox").fill("gone")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Answer for gone")).to_contain_text("no <b>header</b>")
    page.get_by_role("searchbox").fill("film-3")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("region")).to_contain_text("The dataset has the video film-3.")


def test_an_id_that_is_nowhere_is_told(page: Page, site: Path) -> None:
    visit = Visit(page, f"file://{quote(str(site))}/index.html")
    expect(visit.go("video/unheard-of").locator("main")).to_contain_text("Nothing with the id unheard-of")
    expect(visit.go("entity/unheard-of").locator("main")).to_contain_text("There is no entity unheard-of")
    expect(visit.go("videos/none").locator("main")).to_contain_text("There is no partition none")
    expect(visit.go("nowhere").locator("main")).to_contain_text("There is no page nowhere")
    expect(visit.go("video/%E0%A4%A").locator("main")).to_contain_text("There is no page")


def test_the_map_is_used_with_the_keyboard(visit: Visit) -> None:
    page = visit.go("map")
    expect(page.locator("main")).to_contain_text("60 of 60 videos")
    page.locator("canvas").focus()
    for key in ("+", "+", "ArrowLeft", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".chosen .card")).to_have_count(1)
    chosen = page.locator(".chosen .card").get_attribute("title")
    expect(page.get_by_role("status")).to_contain_text(f"{chosen}")
    assert "zoom=2.25" in page.url
    page.reload()
    expect(page.locator(".chosen .card")).to_have_attribute("title", f"{chosen}")
    page.locator("canvas").focus()
    page.keyboard.press("0")
    assert "zoom" not in page.url


def test_numbers_of_an_address_that_are_out_of_bounds_are_brought_back(page: Page, site: Path) -> None:
    visit = Visit(page, f"file://{quote(str(site))}/index.html")
    assert len(rows(visit.go("?rows=0.5"))) == len(rows(visit.go("?rows=-5"))) == 6
    visit.go("map?x=1e999&y=-1e999&zoom=1e999").get_by_role("button", name="Zoom out").click()
    expect(page).to_have_url(re.compile(r"#/map\?x=9&y=-9&zoom=266\.6667$"))


def test_the_map_is_used_with_the_mouse(visit: Visit) -> None:
    page = visit.go("map?by=partition")
    page.get_by_role("searchbox").fill("accordion")
    expect(page.locator("main")).to_contain_text("9 of 60 videos fit")
    page.get_by_role("button", name=re.compile("^validate")).click()
    expect(page.locator("main")).to_contain_text("3 of 60 videos fit")
    page.get_by_role("searchbox").fill("film-14")
    place = page.evaluate(POINT, "film-14")
    page.mouse.move(*place)
    expect(page.locator(".tip")).to_contain_text("film-14")
    page.mouse.click(*place)
    expect(page.locator(".chosen .card")).to_have_attribute("title", "film-14")
    before = page.url
    page.mouse.down()
    page.mouse.move(place[0] + 50, place[1] + 30, steps=3)
    page.mouse.up()
    page.mouse.wheel(0, -400)
    expect(page).not_to_have_url(before)
    until(page, "location.hash.includes('zoom=')")
    page.locator(".chosen .card").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("film-14")


POINT = """async (id) => {
  const rows = await new Promise((found) => {
    const before = window.yt8m;
    window.yt8m = (name, value) => { window.yt8m = before; found(value); };
    const script = document.createElement("script");
    script.src = "data/map/0.js";
    document.head.append(script);
  });
  const [x, y] = rows.find((row) => row[0] === id).slice(5);
  const box = document.querySelector("canvas").getBoundingClientRect();
  const side = Math.min(box.width, box.height) * 0.47;
  return [box.left + box.width / 2 + x * side, box.top + box.height / 2 - y * side];
}"""
"""Where a video is on the screen, by the data and the first view of the map."""


def test_all_is_reached_by_the_keyboard(visit: Visit) -> None:
    page = visit.go("")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("accord")
    expect(page.locator("tbody th a")).to_have_text(["Accordion"])
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Accordion":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert page.title().startswith("Accordion")


PLACES = ("", "entity/%2Fm%2F4", "entity/%2Fm%2F5", "videos/test", "video/film-0", "map", "rejected?id=gone", "about")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_screen_or_faint(browser: Browser, site: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    visit = Visit(context.new_page(), f"file://{quote(str(site))}/index.html")
    for place in PLACES:
        page = visit.go(place)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, place
        assert page.evaluate(LEAST_CONTRAST) >= 4.5, place
        assert page.evaluate(UNNAMED) == [], place
    context.close()


def test_no_report_is_wider_than_a_phone(browser: Browser, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", labels=(0,))], entity_rows(1))
    assert yt8m("report", dataset, "--output", str(tmp_path / "report")).returncode == 0
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto((tmp_path / "report" / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.close()


LEAST_CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("body *")].filter((element) => element.offsetParent
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  return Math.min(...texts.map((element) => {
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
    return (pair[1] + 0.05) / (pair[0] + 0.05);
  }));
}"""
"""The least contrast of a text with its ground, as WCAG 2.2 §1.4.3 computes it."""

UNNAMED = """() => [...document.querySelectorAll("a, button, input, select, canvas, video")].filter((element) =>
  !(element.textContent.trim() || element.getAttribute("aria-label") || element.labels?.length))
  .map((element) => element.outerHTML)"""
"""What can be used and has no name that a screen reader could say (WCAG 2.2 §4.1.2)."""


def planted(folder: Path) -> str:
    """The dataset with a script in every field that strangers write."""
    films = [
        Film(f"{text} {number}", "train", (number,), uri=text, codec=text, seed=number)
        for number, text in enumerate(HOSTILE)
    ]
    names = ("KnowledgeGraphId", "Name", "WikiUrl", "WikiDescription", "Vertical1", "Specificity")
    entities = [dict.fromkeys(names, text) for text in HOSTILE]
    rejects = [
        {"stage": "read", "table": "videos", "id": f"{text} gone", "reason": text, "detail": text} for text in HOSTILE
    ]
    accounting = [StageCount(Stage.READ, "videos", 1, ((text, 1),)) for text in HOSTILE]
    table = pa.Table.from_pylist(rejects, schema=REJECTS)
    return write_dataset(folder / "<b>&amp;dataset", films, entities, rejects=table, accounting=accounting)


def hostile_places() -> Sequence[str]:
    ids = [quote(text, safe="") for text in HOSTILE]
    videos = [f"video/{quote(f'{text} {number}', safe='')}" for number, text in enumerate(HOSTILE)]
    places = ["", "map", "about", "videos/train", "rejected", *videos]
    for name in ids:
        places += [
            f"entity/{name}",
            f"?q={name}",
            f"map?q={name}&at={name}",
            f"rejected?id={name}%20gone",
            f"{name}/{name}",
        ]
    return places


def test_no_text_of_strangers_is_ever_run(page: Page, tmp_path: Path) -> None:
    explore(planted(tmp_path), str(tmp_path / "site"), media_root=str(tmp_path / "films"))
    visit = Visit(page, f"file://{quote(str(tmp_path))}/site/index.html")
    for place in hostile_places():
        visit.go(place)
        assert page.evaluate("window.bad") is None, place
        assert page.locator("main script, main svg, main [onerror], main [onload]").count() == 0, place
        hrefs = page.evaluate("[...document.querySelectorAll('[href]')].map((one) => one.getAttribute('href'))")
        assert all(re.match(r"#/|\.\.?/|https?://|(style\.css|icon\.svg)$", href) for href in hrefs), hrefs
    visit.go(f"video/{quote(HOSTILE[0] + ' 0', safe='')}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE[0] + " 0")
    visit.go(f"rejected?id={quote(HOSTILE[2] + ' gone', safe='')}")
    expect(page.get_by_role("region")).to_contain_text(HOSTILE[2])
    assert visit.faults == []


def test_the_policy_forbids_scripts_in_the_page(page: Page, site: Path) -> None:
    visit = Visit(page, f"file://{quote(str(site))}/index.html")
    visit.go("")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.bad = 1\">')")
    page.evaluate(
        "const one = document.createElement('script'); one.text = 'window.bad = 2'; document.body.append(one)"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.bad") is None
    assert any("Content Security Policy" in fault for fault in visit.faults)


def test_a_site_with_withheld_labels_says_so_on_every_page(page: Page, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [Film("a", "test", (0,))], [{"Name": "One"}])
    explore(dataset, str(tmp_path / "site"), with_withheld=True)
    visit = Visit(page, f"file://{tmp_path}/site/index.html")
    for place in ("", "video/a", "map"):
        expect(visit.go(place).get_by_role("alert")).to_contain_text("Do not publish it")


def test_nothing_is_shown_of_ratings_and_verticals_that_nobody_gave(page: Page, tmp_path: Path) -> None:
    films = [Film("a", labels=(0,), codec=None), Film("b", "validate", labels=(0,), seed=1)]
    explore(
        write_dataset(tmp_path / "dataset", films, [{"Name": "dog", "KnowledgeGraphId": "dog"}]), str(tmp_path / "site")
    )
    visit = Visit(page, f"file://{tmp_path}/site/index.html")
    text = visit.go("").locator("main").inner_text()
    assert "1 entity" in text
    assert not [word for word in ("vertical", "Rater score", "Specificity", "rater score") if word in text]
    assert text.count("dog") == 1
    expect(visit.go("map").locator("select")).to_have_value("partition")
    assert "vertical" not in visit.page.locator("select").inner_text()
    expect(visit.page.locator("ul.chips")).to_contain_text("validate")
    assert "File" not in visit.go("video/a").locator("dl").inner_text()
    assert visit.faults == []


@pytest.mark.parametrize("count", [0, 1])
def test_the_smallest_datasets_can_be_looked_at(page: Page, tmp_path: Path, count: int) -> None:
    films, entities = [Film("only", labels=())][:count], [{"Name": "One"}][:count]
    explore(write_dataset(tmp_path / "dataset", films, entities), str(tmp_path / "site"))
    visit = Visit(page, f"file://{tmp_path}/site/index.html")
    for place in ("", "videos/train", "videos/test", "map", "rejected", "about", "video/only", "entity/0"):
        expect(visit.go(place).get_by_role("heading", level=1)).not_to_contain_text("cannot be shown")
