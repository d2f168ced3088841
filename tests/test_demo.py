"""The demo, clicked through in Chromium, with scripts and without."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal

import pytest
from demo import chips
from demo.files import gallery
from demo.recorder import Record

import harness
from harness.browser import QUIET


if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import FilePayload
    from playwright.sync_api import Locator
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
AXE = "axe-core@4.14.1"
RUN_AXE = "axe.run(document, {resultTypes: ['violations']})"
PAGES = (
    "/", "/file/shown.txt", "/cache", "/hints", "/export", "/log", "/direct", "/setup",
    "/hood/log", "/nowhere",
)  # fmt: skip
SIZES: tuple[tuple[int, Literal["light", "dark"] | None], ...] = (
    (1280, "light"),
    (390, None),
    (320, "dark"),
)
SECONDS = 30


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Server]:
    """The demo on gunicorn, with a folder of its own, for all tests here."""
    folder = tmp_path_factory.mktemp("demo")
    source = folder / "demo_app.py"
    source.write_text("from demo import create_app\napp = create_app()\n")
    environ = {
        "DEMO_INSTANCE": str(folder / "instance"),
        "PYTHONPATH": f"{folder}:{ROOT}",
        "FLASK_DEMO_EXPORT_ROWS": "20000",
    }
    # Not graceful: the browser keeps its connections.
    options = ("--graceful-timeout", "0", "--threads", "32")
    with harness.gunicorn(
        source, *options, worker="gthread", environ=environ
    ) as server:
        yield server


@pytest.fixture(params=[True, False], ids=["scripts", "no scripts"])
def page(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """A page of a browser that runs scripts, or does not."""
    with chromium.new_context(java_script_enabled=request.param) as context:
        context.set_default_timeout(SECONDS * 1000)
        yield context.new_page()


@pytest.fixture
def scripted(chromium: Browser) -> Iterator[Page]:
    """A page of a browser that runs scripts."""
    with chromium.new_context() as context:
        context.set_default_timeout(SECONDS * 1000)
        yield context.new_page()


def upload(page: Page, url: str, *names: str, content: bytes | None = None) -> None:
    """Upload files through the form, and wait until the gallery shows them."""
    page.goto(url)
    payloads: list[FilePayload] = [
        {"name": name, "mimeType": "text/plain", "buffer": content or name.encode()}
        for name in names
    ]
    page.set_input_files("input[type=file]", payloads)
    page.click("#upload button:text-is('Upload')")
    for name in names:
        page.wait_for_selector(f".files >> text={name}")


def request(
    site: harness.Server, method: str, path: str, **headers: str
) -> http.client.HTTPResponse:
    """Ask as no browser would."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=SECONDS)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers={"Accept": "text/html", **fields})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def test_files(page: Page, site: harness.Server) -> None:
    """A visitor uploads files, downloads one, deletes it, and brings it back."""
    upload(page, site.url, "one.txt", "zwei ü.txt")
    with page.expect_download() as download:
        page.click("[aria-label='Download zwei ü.txt']")
    assert download.value.suggested_filename == "zwei ü.txt"
    assert download.value.path().read_text() == "zwei ü.txt"
    page.click("[aria-label='Delete zwei ü.txt']")
    page.wait_for_selector("text=“zwei ü.txt” was deleted.")
    page.wait_for_selector(".files >> text=zwei ü.txt", state="detached")
    page.click("text=Undo")
    page.wait_for_selector(".files >> text=zwei ü.txt")
    for name in ("one.txt", "zwei ü.txt"):
        page.click(f"[aria-label='Delete {name}']")
        page.wait_for_selector(f"text=“{name}” was deleted.")


def test_double_click(site: harness.Server) -> None:
    """The same form sent twice at once stores its file once."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="twice.txt"\r\n'
        b"\r\nthe same\r\n--b--\r\n"
    )

    def send() -> None:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        asked = urllib.request.Request(f"{site.url}/upload", body, kind)
        with urllib.request.urlopen(asked, timeout=SECONDS) as response:
            shown.append(response.read().decode())

    shown: list[str] = []
    clicks = [threading.Thread(target=send) for _ in range(2)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join(SECONDS)
    assert len(shown) == 2
    with urllib.request.urlopen(site.url, timeout=SECONDS) as response:
        names = re.findall(r"<b>(twice[^<]*)</b>", response.read().decode())
    assert names == ["twice.txt"]
    request(site, "POST", "/delete/twice.txt")


def test_panel(scripted: Page, site: harness.Server) -> None:
    """The panel shows real fields, times in the browser, and the lines of the view."""
    request(site, "POST", "/cache/purge")
    first = scripted.goto(site.url)
    assert first
    opened = scripted.locator("#hood-list .record").first
    opened.locator("summary").wait_for()
    shown = opened.inner_text()
    for name in ("cache-control", "link", "content-length", "etag"):
        assert first.headers[name] in shown
    assert "The browser: http/1.1" in shown
    listed = opened.locator(".source").text_content() or ""
    source = inspect.getsource(gallery).splitlines()
    for line in source:
        assert line in listed or '"""' in line
    marked = opened.locator("mark").all_inner_texts()
    assert any("cache_control" in line for line in marked)
    again = scripted.goto(site.url)
    assert again
    assert "hit" in again.headers["cache-status"]
    hit = scripted.locator("#hood-list .record").first
    hit.locator(".chip:has-text('view did not run')").first.wait_for()
    assert "nothing sent: the browser has it" in hit.inner_text()


def test_panel_stops_and_clears(scripted: Page, site: harness.Server) -> None:
    """Nothing is added while the panel is stopped; afterwards it is."""
    scripted.goto(site.url)
    scripted.locator("#hood-list .record").first.wait_for()
    scripted.click("#hood-follow")
    assert scripted.get_attribute("#hood-follow", "aria-pressed") == "false"
    scripted.click("#hood-clear")
    assert scripted.request.get(f"{site.url}/export").ok
    scripted.click("#hood-follow")
    scripted.wait_for_selector("#hood-list .record:has-text('/export')")


def test_panel_without_scripts(page: Page, site: harness.Server) -> None:
    """The records are a page, too, and of this browser only; cookies are not shown."""
    page.goto(f"{site.url}/setup")
    page.goto(f"{site.url}/export")
    page.goto(f"{site.url}/hood/log")
    urls = page.locator("#past .request code").all_inner_texts()
    assert urls == ["/export", "/setup"]
    assert "Cookie: …" in (page.text_content("#past") or "")


def test_measured(scripted: Page, site: harness.Server) -> None:
    """With the cache the view runs once or never; a crowd runs it once."""
    scripted.goto(site.url)
    scripted.click("[data-measure=times] button")
    with_cache, without = (
        scripted.locator("[data-measure=times] dd").nth(number) for number in (0, 1)
    )
    assert re.search(r"view ran [01] of 20", with_cache.inner_text())
    assert "view ran 20 of 20" in without.inner_text()
    scripted.goto(f"{site.url}/cache")
    scripted.click("[data-measure=crowd] button")
    with_cache, without = (
        scripted.locator("[data-measure=crowd] dd").nth(number) for number in (0, 1)
    )
    assert "view ran 1 of 50" in with_cache.inner_text()
    assert "view ran 50 of 50" in without.inner_text()


def test_cached_differently(scripted: Page, site: harness.Server) -> None:
    """Each of the cached pages says what the cache did with it."""
    scripted.goto(f"{site.url}/cache")
    for number, words in enumerate(["(hit|stored)", "", "(hit|stored)", "session"]):
        scripted.locator("[data-ask]").nth(number).click()
        said = scripted.locator(".specimens li").nth(number).locator("output")
        said.filter(has_text=re.compile(f"Cache-Status: .*{words}")).wait_for()


def test_live_and_restarted(scripted: Page, site: harness.Server) -> None:
    """Events of one tab appear in others, even after a restart, and only once."""
    gallery, log = (scripted.context.new_page() for _ in range(2))
    gallery.goto(site.url)
    log.goto(f"{site.url}/log")
    log.wait_for_selector("text=Live, newest first.")
    for number in range(2):
        upload(scripted, site.url, f"live{number}.txt")
        gallery.wait_for_selector(f".files >> text=live{number}.txt")
        log.wait_for_selector(f".log >> text=live{number}.txt")
        site.restart()
    log.wait_for_selector("text=the server had forgotten some events")
    upload(scripted, site.url, "live2.txt")
    log.wait_for_selector(".log >> text=live2.txt")
    told = re.findall(r"live(\d)\.txt was uploaded", log.inner_text(".log"))
    assert told == ["2", "1", "0"]
    log.click("#cut")
    log.wait_for_selector("text=What happens now comes later.")
    assert scripted.request.post(f"{site.url}/log", form={"text": "a word"}).ok
    log.click("#cut")
    log.wait_for_selector(".log >> text=“a word”")


def wait_above(bar: Locator, value: float) -> None:
    """Wait until a progress bar shows more than a value."""
    deadline = time.monotonic() + SECONDS
    while bar.evaluate("bar => bar.value") <= value:
        assert time.monotonic() < deadline
        bar.page.wait_for_timeout(50)


def test_upload_paused_and_restarted(scripted: Page, site: harness.Server) -> None:
    """An upload that was paused, and whose server was restarted, arrives whole."""
    content = os.urandom(6_000_000)
    patches: list[str] = []
    scripted.on(
        "request", lambda sent: patches.extend([sent.url] * (sent.method == "PATCH"))
    )
    scripted.goto(site.url)
    slow = scripted.context.new_cdp_session(scripted)
    slow.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    slow.send(
        "Network.emulateNetworkConditions", {**limits, "uploadThroughput": 2_000_000}
    )
    payload: FilePayload = {"name": "big.bin", "mimeType": "", "buffer": content}
    scripted.set_input_files("input[type=file]", payload)
    scripted.click("#upload button:text-is('Upload')")
    bar = scripted.locator(".uploads progress")
    wait_above(bar, 0.1)
    scripted.click("[aria-label='Pause big.bin']")
    scripted.wait_for_selector("text=/Paused at [1-9]/")
    head = {"Tus-Resumable": "1.0.0"}
    offset = int(
        scripted.request.head(patches[0], headers=head).headers["upload-offset"]
    )
    assert 0 < offset < len(content)
    scripted.click("[aria-label='Resume big.bin']")
    wait_above(bar, bar.evaluate("bar => bar.value") + 0.1)
    site.restart()
    scripted.wait_for_selector("text=Stored.")
    assert len(patches) >= 3
    assert len(set(patches)) == 1
    with urllib.request.urlopen(f"{site.url}/download/big.bin") as response:
        found = hashlib.sha256(response.read()).digest()
    assert found == hashlib.sha256(content).digest()
    scripted.wait_for_selector("#hood-list .chip:has-text('linked to its name')")


def test_upload_refused(scripted: Page, site: harness.Server) -> None:
    """A file that is too large is refused before it leaves, and says so."""
    scripted.goto(site.url)
    scripted.evaluate("document.getElementById('upload').dataset.max = 3")
    payload: FilePayload = {"name": "x.txt", "mimeType": "", "buffer": b"four"}
    scripted.set_input_files("input[type=file]", payload)
    scripted.click("#upload button:text-is('Upload')")
    scripted.wait_for_selector("text=/Not sent: .* is more than/")


def test_export(scripted: Page, site: harness.Server) -> None:
    """Every format has all rows, and the progress bar follows to the last."""
    scripted.goto(f"{site.url}/export")
    found: dict[str, bytes] = {}
    for kind in ("CSV,", "JSON,", "NDJSON,", "ZIP,"):
        with scripted.expect_download() as download:
            scripted.click(f".formats a:has-text('{kind}') >> nth=0")
        found[kind] = download.value.path().read_bytes()
    scripted.wait_for_selector("text=/20,000 of 20,000 rows, the worker has/")
    lines = found["CSV,"].decode().splitlines()
    assert lines[0] == "id,name,group,amount"
    assert len(lines) == 20_001
    assert len(json.loads(found["JSON,"])["rows"]) == 20_000
    assert found["NDJSON,"].count(b"\n") == 20_000
    with zipfile.ZipFile(io.BytesIO(found["ZIP,"])) as archive:
        assert archive.read("export.csv") == found["CSV,"]


def test_broken_export(site: harness.Server) -> None:
    """An export that breaks does not look complete."""
    scripted = f"{site.url}/export/00000000-0000-4000-8000-000000000000.csv?break=1"
    with (
        urllib.request.urlopen(scripted) as response,
        pytest.raises((http.client.IncompleteRead, ConnectionError), match=r"."),
    ):
        response.read()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/delete/x", {"Origin": "http://evil.example"}, 403),
        ("POST", "/delete/x", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("POST", "/uploads", {"Sec_Fetch_Site": "same-site"}, 403),
        ("GET", "/", {"Host": "evil.example"}, 400),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/file/gone.txt", {}, 404),
        ("GET", "/file/..%2f..%2fsecret.txt", {}, 404),
        ("POST", "/delete/gone.txt", {}, 404),
        ("POST", "/restore/0/gone.txt", {}, 410),
        ("GET", "/shared/forged", {}, 410),
        ("POST", "/upload", {}, 400),
    ],
)
def test_refused(
    site: harness.Server, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Requests of other sites and for missing files are refused."""
    assert request(site, method, path, **headers).status == status


def test_errors_help(page: Page, site: harness.Server) -> None:
    """An error is a page of the site that says what to do."""
    response = page.goto(f"{site.url}/file/gone.txt")
    assert response
    assert response.status == 404
    assert "There is no file “gone.txt”." in page.inner_text("main")
    page.click("text=To the files")
    assert page.url == f"{site.url}/"


def test_shared_link(page: Page, site: harness.Server) -> None:
    """A link downloads its file for anybody, and is not shown in the panel."""
    upload(page, site.url, "shown.txt")
    page.goto(f"{site.url}/file/shown.txt")
    page.click("text=Make a link")
    link = page.get_attribute("a[href*='/shared/']", "href") or ""
    assert page.request.get(link).body() == b"shown.txt"
    page.goto(f"{site.url}/hood/log")
    assert "/shared/…" in page.inner_text("#past")
    assert link.rpartition("/")[2] not in page.content()


def test_accessible(scripted: Page, site: harness.Server) -> None:
    """axe-core finds nothing on any page, and none is wider than a phone."""
    axe = harness.node_packages(AXE) / "node_modules" / "axe-core" / "axe.min.js"
    upload(scripted, site.url, "shown.txt")
    problems: list[Any] = []
    for path in PAGES:
        scripted.goto(f"{site.url}{path}")
        scripted.locator("#hood-list .record").first.wait_for()
        scripted.evaluate(axe.read_text())
        for width, scheme in SIZES:
            scripted.set_viewport_size({"width": width, "height": 800})
            wide = scripted.evaluate("document.documentElement.scrollWidth")
            problems += [(path, width, wide)] * (wide > width)
            if scheme is not None:
                scripted.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                found = scripted.evaluate(RUN_AXE)["violations"]
                problems += [
                    (path, width, scheme, one["id"], one["nodes"][0]["html"])
                    for one in found
                ]
    assert problems == []


def test_keyboard(scripted: Page, site: harness.Server) -> None:
    """Everything is reached by keys: the skip links, the form, the panel's records."""
    scripted.goto(site.url)
    scripted.locator("#hood-list .record").first.wait_for()
    focused = "document.activeElement.textContent.trim()"
    scripted.keyboard.press("Tab")
    assert scripted.evaluate(focused) == "To the page"
    scripted.keyboard.press("Tab")
    assert "Under the hood" in scripted.evaluate(focused)
    scripted.keyboard.press("Enter")
    assert scripted.url.endswith("#hood")
    for _ in range(10):
        scripted.keyboard.press("Tab")
        if scripted.evaluate("document.activeElement.matches('.record summary')"):
            break
    before = scripted.evaluate("document.activeElement.parentElement.open")
    scripted.keyboard.press("Enter")
    after = scripted.evaluate("document.activeElement.parentElement.open")
    assert before != after
    scripted.goto(f"{site.url}/log")
    scripted.focus("#text")
    scripted.keyboard.type("by keys")
    scripted.keyboard.press("Enter")
    scripted.wait_for_selector(".log >> text=“by keys”")


def test_chips() -> None:
    """A record is put in words that a person understands."""
    record = Record("id", "visitor", "GET", "/", "HTTP/1.1", [])
    record.status, record.sent = "200 OK", 3_374_135
    record.answer = [("Cache-Status", "flask-webcache; hit; ttl=26")]
    texts = [chip.text for chip in chips.chips(record)]
    assert texts == ["Flask sent 3.4 MB", "cache hit, 26 s left", "view did not run"]
    record.front = {"file": "/_files/a", "bytes": "83700"}
    record.answer, record.sent = [], 0
    texts = [chip.text for chip in chips.chips(record)]
    assert texts == ["nginx sent 83.7 kB", "Flask sent 0 B"]


@contextlib.contextmanager
def command(directory: Path, *options: str) -> Iterator[tuple[str, list[str]]]:
    """Run ``python -m demo`` until its end; yield its address, and what it says."""
    port = harness.free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "demo", "--port", str(port), *options],
        cwd=ROOT,
        env={**os.environ, "DEMO_INSTANCE": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        try:
            for line in process.stdout:
                said.append(line)
                if "spki" in line or ("http" in line and "--http2" not in options):
                    break
            (url,) = re.findall(r"https?://[\d.:]+", "".join(said))
            yield url, said
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(SECONDS) == 0, rest
        assert rest.strip() == "Stopped."


def test_command_behind_nginx(scripted: Page, tmp_path: Path) -> None:
    """A front sends the files, as the panel says; Ctrl-C stops all with a tab open."""
    harness.require("nginx", "apt-get install nginx-light")
    with command(tmp_path, "--nginx") as (url, _):
        upload(scripted, url, "one.txt")
        assert scripted.request.get(f"{url}/download/one.txt").text() == "one.txt"
        sent = scripted.locator("#hood-list .record:has-text('/download/one.txt')")
        sent.locator("text=nginx sent 7 B").wait_for()
        sent.locator("summary").click()
        assert "X-Accel-Redirect: /_files/one.txt" in sent.inner_text()
        scripted.click("[data-measure=threads] button")
        held = scripted.locator("[data-measure=threads] dd")
        assert "30 threads held by 30 clients" in held.nth(0).inner_text()
        assert "0 threads held by 30 clients" in held.nth(1).inner_text()


def test_command_over_http2(chromium: Browser, tmp_path: Path) -> None:
    """Over HTTP/2 the browser uses what the 103 named."""
    harness.require("caddy", "apt-get install caddy")
    harness.require("openssl", "apt-get install openssl")
    with command(tmp_path, "--http2") as (url, said):
        (trust,) = re.findall(r"--ignore-certificate\S+", said[-1])
        with trusting(chromium, trust) as page:
            hinted = []
            # A browser may have asked for a file just before its hint came.
            for _ in range(5):
                page.goto(f"{url}/hints/visit/with")
                page.wait_for_selector("#visit[data-hinted]")
                hinted.append(page.get_attribute("#visit", "data-hinted"))
                if hinted[-1] == "2":
                    break
            assert hinted[-1] == "2", hinted
            page.wait_for_selector("#hood-list .chip:has-text('103 after')")
            page.goto(f"{url}/hints/visit/without")
            page.wait_for_selector("#visit[data-hinted='0']")
            page.goto(f"{url}/hints")
            early = page.locator("#visits tr:has-text('the 103') td").all_inner_texts()
            assert early[0] != "–"
            assert early[1] == "–"


@contextlib.contextmanager
def trusting(chromium: Browser, option: str) -> Iterator[Page]:
    """Run another browser, which trusts a certificate."""
    program = harness.require("chromium", "apt-get install chromium")
    other = chromium.browser_type.launch(executable_path=program, args=[*QUIET, option])
    try:
        page = other.new_page()
        page.set_default_timeout(SECONDS * 1000)
        yield page
    finally:
        other.close()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the demo with S3."""
    with command(tmp_path_factory.mktemp("s3"), "--s3") as (url, _):
        yield url


def test_command_with_s3(page: Page, s3: str) -> None:
    """A browser sends a file to S3 itself, and comes back to the gallery."""
    page.goto(s3)
    page.click("nav >> text=Direct upload")
    page.fill("input[name=name]", "photo of us.txt")
    page.click("text=Ask for permission")
    sent: FilePayload = {"name": "x", "mimeType": "text/plain", "buffer": b"there"}
    page.set_input_files("input[type=file]", sent)
    page.click("text=Upload to S3")
    link = page.locator("[aria-label^='Download photo of us']").first
    address = f"{s3}{link.get_attribute('href')}"
    assert page.request.get(address).body() == b"there"
