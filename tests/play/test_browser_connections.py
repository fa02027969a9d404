"""Connections of the playground's page in Chromium: foreign pages, two tabs, a server that stops."""

import http.client
import http.server
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest
from processes import PATIENCE
from visitors import NEEDS_CHROMIUM, expect, visiting

import fastnn

pytestmark = NEEDS_CHROMIUM

# Let a test hold the messages for which `holds` returns true, and hand a page messages of its own.
LATE_MESSAGES = """
window.sockets = [];
window.held = [];
window.holds ??= () => false;
window.release = () => {
    window.holds = () => false;
    for (const pass of window.held.splice(0)) pass();
};
const Native = window.WebSocket;
window.WebSocket = class extends Native {
    constructor(address) {
        super(address);
        window.sockets.push(this);
    }
    set onmessage(handler) {
        window.receive = (message) => handler({ data: JSON.stringify(message) });
        super.onmessage = (event) => {
            const message = typeof event.data === "string" ? JSON.parse(event.data) : { type: "frame" };
            if (window.holds(message)) window.held.push(Object.assign(() => handler(event), message));
            else handler(event);
        };
    }
};
"""


@pytest.fixture(scope="module")
def late_tab(browser):
    """Return a page whose messages tests may hold."""
    page = browser.new_page()
    page.add_init_script(LATE_MESSAGES)
    return page


@pytest.fixture
def late(late_tab):
    """Return a visitor whose messages a test may hold."""
    with visiting(late_tab) as visitor:
        yield visitor


@pytest.fixture
def greeted(visitors, server):
    """Return a visitor to whom the server's first message comes late."""
    visitor = visitors()
    visitor.page.add_init_script("window.holds = ({ type }) => type === 'hello'")
    visitor.page.add_init_script(LATE_MESSAGES)
    visitor.page.goto(server.address)
    visitor.wait("() => window.held?.length === 1")
    return visitor


class Elsewhere(http.server.SimpleHTTPRequestHandler):
    """Serve a page of another origin."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><link rel=icon href=data:,>")

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    """Yield the address of a page of another origin."""
    foreign = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=foreign.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{foreign.server_port}/"
    foreign.shutdown()
    thread.join()
    foreign.server_close()


def test_a_foreign_page_is_refused_even_with_the_token(tab, server, elsewhere):
    tab.goto(elsewhere)
    parts = urlsplit(server.address)
    answer = tab.evaluate(
        """address => new Promise((resolve) => {
            const socket = new WebSocket(address);
            let got = "nothing";
            socket.onmessage = () => { got = "a message"; };
            socket.onclose = () => resolve(got);
        })""",
        f"ws://{parts.netloc}/training?{parts.query}",
    )
    assert answer == "nothing"
    readable = tab.evaluate(
        "address => fetch(address).then(() => 'readable', () => 'refused')", server.address
    )
    assert readable == "refused"
    tab.goto("about:blank")


def test_foreign_hosts_and_wrong_tokens_are_refused(server):
    parts = urlsplit(server.address)

    def status(path, host):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    with_token = f"/?{parts.query}"
    assert status(with_token, parts.netloc) == 200
    assert status(with_token, f"localhost:{parts.port}") == 200
    assert status(with_token, "evil.example") == 403
    assert status("/?token=guessed", parts.netloc) == 403
    assert status("/", parts.netloc) == 403


def test_two_tabs_train_independently(visitor, visitors, server):
    first = visitor.visit(server, "speed=5")
    second = visitors().visit(server, "dataset=circles&layers=5")
    first.page.keyboard.press("Space")
    first.wait_for_step(20)
    assert second.step == 0
    assert second.widths == [2, 5, 2]
    second.page.keyboard.press("s")
    second.wait_for_step(1)
    first.page.keyboard.press("Space")
    assert second.step == 1


def test_a_page_reconnects_to_a_server_that_was_restarted(visitor):
    # Port 0 gives one that no other test takes in the meantime, as it would take one of the usual ports.
    running = fastnn.playground(browser=False, block=False, port=0)
    try:
        page = visitor.visit(running, "dataset=xor&layers=4&speed=13").page
        page.keyboard.press("Space")
        visitor.wait_for_step(5)
    finally:
        running.close()
    page.wait_for_selector("#lost:not([hidden])")
    assert "stopped" in page.inner_text("#lost")
    assert page.get_attribute("#play", "aria-label") == "Play"
    page.click("#reconnect")
    page.wait_for_timeout(300)
    assert page.is_visible("#reconnect")

    again = fastnn.playground(browser=False, block=False, port=running.port)
    try:
        visitor.change(lambda: page.click("#reconnect"))
        assert page.is_hidden("#lost")
        assert visitor.widths == [2, 4, 2]
        page.keyboard.press("s")
        visitor.wait_for_step(1)
    finally:
        page.goto("about:blank")
        again.close()
    # The browser itself logs the connections that failed.
    visitor.errors = [error for error in visitor.errors if "WebSocket connection" not in error]


X = np.random.RandomState(0).randn(60, 3)


@pytest.mark.parametrize("table", [(), (X, X[:, 0] > X[:, 2])], ids=["data sets", "table"])
def test_a_copied_address_opens_the_same_run_after_a_restart(visitor, table):
    addresses, pictures, port = [], [], 0
    page = visitor.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for is_first in (True, False):
        with fastnn.playground(*table, browser=False, block=False, port=port) as running:
            port = running.port
            page.goto(running.address if is_first else addresses[0])
            visitor.wait_for_frame()
            if is_first:
                visitor.change(lambda: page.click(".dice"))
            page.click("#save")
            page.click("#copy-address")
            expect(page.locator("#notices")).to_contain_text("copied")
            addresses.append(page.evaluate("navigator.clipboard.readText()"))
            for step in (1, 2, 3):
                page.click("#epoch")
                visitor.wait_for_step(step)
            pictures.append(visitor.pixels())
            page.goto("about:blank")
    assert "seed=1" in addresses[0]
    assert addresses[0] == addresses[1]
    np.testing.assert_array_equal(*pictures)


def test_an_address_of_a_data_set_means_the_same_beside_a_table(visitor):
    with fastnn.playground(X, X[:, 0] > X[:, 2], browser=False, block=False) as running:
        visitor.visit(running, "dataset=moons")
        assert visitor.widths == [2, 3, 2]
        assert visitor.fragment == "dataset=moons"
        visitor.change(lambda: visitor.page.evaluate("location.hash = ''"))
        assert visitor.widths == [2, 8, 8, 2]
        assert "dataset=table" in visitor.fragment
        assert "layers=8,8" in visitor.fragment


def test_what_is_pressed_before_the_servers_first_message_does_nothing(greeted):
    page = greeted.page
    for key in ("Space", "s", "r", "+", "v"):
        page.keyboard.press(key)
    page.click("#more-layers")
    page.click("#play")
    page.evaluate("window.release()")
    greeted.wait_for_frame(1)
    assert page.get_attribute("#play", "aria-label") == "Play"
    assert (greeted.step, greeted.widths) == (0, [2, 3, 2])
    page.keyboard.press("Space")
    greeted.wait_for_step(5)
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_a_page_without_a_place_at_the_server_says_so(greeted):
    page = greeted.page
    text = "16 pages train already: close one of them"
    page.evaluate("message => window.receive(message)", {"type": "problem", "field": None, "text": text})
    expect(page.locator("#problems")).to_contain_text(text)


def test_a_page_that_connects_twice_keeps_one_connection(late, server):
    page = late.visit(server).page
    page.evaluate("window.sockets[0].close()")
    page.wait_for_selector("#lost:not([hidden])")
    page.evaluate("() => { for (const _ of [1, 2]) document.getElementById('reconnect').click(); }")
    late.wait_for_frame(2)
    late.wait("() => window.sockets.map(({ readyState }) => readyState).join() === '3,3,1'")


def test_the_end_of_a_run_that_is_being_replaced_does_not_pause_the_new_one(late, server):
    page = late.visit(server, "passes=5&speed=13").page
    page.evaluate("() => { window.holds = () => true; }")
    page.keyboard.press("Space")
    late.wait("() => window.held.some(({ type }) => type === 'ended')")
    page.evaluate("location.hash = 'speed=5'")
    late.wait("() => window.held.some(({ type, run }) => type === 'started' && run === 2)")
    page.evaluate("window.release()")
    late.wait_for_frame(2)
    late.wait_for_step(5)
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_a_run_is_shown_whose_successor_is_refused(late, server):
    page = late.visit(server, "n_samples=50").page
    page.evaluate("() => { window.holds = () => true; }")
    page.locator("input[name=dataset][value=circles]").check()
    page.fill("#field-noise", "7")
    page.keyboard.press("Enter")
    late.wait("() => window.held.some(({ type }) => type === 'problem')")
    page.evaluate("window.release()")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    late.wait_for_frame(2)
    page.click("#play")
    late.wait_for_step(5)
    assert late.run == 2
    assert page.inner_text("#test-count") == "10 test"
    page.click("#next-sample")  # does nothing without samples
    assert page.inner_text("#sample-name") == "sample 2"


def test_samples_that_have_not_come_yet_are_not_lost_by_painting(late, server):
    page = late.visit(server, "n_samples=50").page
    late.use_tool("2")
    page.evaluate("() => { window.holds = ({ type }) => type === 'frame'; }")
    page.locator("input[name=dataset][value=circles]").check()
    late.wait("() => window.held.length > 0")  # the run has started, and its first frame is held
    page.mouse.click(*late.spot(0.9, 0.9))
    page.evaluate("window.release()")
    late.wait_for_frame(2)
    late.change(lambda: page.mouse.click(*late.spot(0.9, 0.9)))
    assert late.run == 3
    counts = [int(page.inner_text(f"#{part}-count").split()[0]) for part in ("train", "test")]
    assert sum(counts) == 51


def test_a_run_that_is_replaced_or_goes_on_leaves_no_message_of_its_compilation(late, server):
    page = late.visit(server).page
    busy = page.locator("#notices .busy")

    def report(is_busy):
        page.evaluate(
            "message => window.receive(message)", {"type": "compiling", "run": late.run, "busy": is_busy}
        )

    report(True)
    expect(busy).to_be_visible()
    expect(busy).to_contain_text("Compiling")
    late.change(lambda: page.locator("input[name=dataset][value=circles]").check())
    expect(busy).to_have_count(0)
    report(True)
    page.fill("#field-noise", "7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    report(False)
    expect(busy).to_have_count(0)
    report(True)
    late.change(lambda: page.evaluate("location.hash = 'dataset=painted&points='"))
    expect(busy).to_have_count(0)
