"""Connections of the playground's page in Chromium: a server that stops, late messages."""

import numpy as np
import pytest
from visitors import NEEDS_CHROMIUM, expect, visiting

import fastnn

pytestmark = NEEDS_CHROMIUM

# Let a test hold the messages for which `holds` returns true, and hand a page messages of its own.
LATE_MESSAGES = """
window.sockets = [];
window.held = [];
window.holds = location.hash.includes("greeted") ? ({ type }) => type === "hello" : () => false;
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
HOLD_ALL = "() => { window.holds = () => true; }"


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


def test_a_page_reconnects_to_a_server_that_was_restarted_and_says_that_it_began_anew(visitor):
    # Port 0 gives one that no other test takes in the meantime, as it would take one of the usual ports.
    with fastnn.playground(browser=False, block=False, port=0) as running:
        page = visitor.visit(running, "dataset=xor&layers=4&speed=13").page
        visitor.press("Space")
        visitor.wait_for_step(5)
    expect(page.locator("#lost")).to_contain_text("stopped")
    assert not visitor.is_playing
    page.click("#reconnect")
    page.wait_for_timeout(300)
    assert page.is_visible("#reconnect")
    with fastnn.playground(browser=False, block=False, port=running.port):
        visitor.change(lambda: page.click("#reconnect"))
        assert page.is_hidden("#lost")
        expect(page.locator("#notices")).to_contain_text("Connected again. The training has begun anew")
        assert visitor.widths == [2, 4, 2]
        visitor.press("s")
        visitor.wait_for_step(1)
        page.goto("about:blank")
    # The browser itself logs the connections that failed.
    visitor.errors = [error for error in visitor.errors if "WebSocket connection" not in error]


X = np.random.RandomState(0).randn(60, 3) * [2, 0.001, 1000] + [2000, 0, 1.7e9]
# Keep the texts that are drawn beside the plane.
KEEP_TEXTS = """() => {
    window.texts = [];
    const fill = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
        if (this.canvas.id === "points") window.texts.push(text);
        return fill.call(this, text, ...place);
    };
}"""


def test_a_table_has_its_names_and_units_and_is_one_data_set_of_several(visitor):
    labels = np.where(X[:, 0] > 2000, "after", "before")
    with fastnn.playground(X, labels, browser=False, block=False, port=0) as running:
        page = visitor.visit(running).page
        assert page.inner_text("#classes-legend").split() == ["after", "before"]
        page.evaluate(KEEP_TEXTS)
        for column, expected in (("x2", {"x2", "1700000000"}), ("x1", {f"{chr(0x2212)}0.001", "0.001"})):
            visitor.change(lambda column=column: page.select_option("#field-y_column", column))
            assert expected <= {*page.evaluate("window.texts")}
        # An address may name another data set; the table is the first.
        visitor.go_to("dataset=moons")
        assert (visitor.widths, visitor.fragment) == ([2, 3, 2], "dataset=moons")
        visitor.go_to("")
        assert visitor.state["dataset"] == "table"
        page.goto("about:blank")


def test_what_is_pressed_before_the_servers_first_message_does_nothing(late, server):
    page = late.page
    page.goto(f"{server.address}#greeted=")
    late.wait("() => window.held.length === 1")
    late.press("Space", "s", "r", "+", "v")
    page.click("#more-layers")
    page.click("#play")
    text = "16 pages train already: close one of them"
    page.evaluate("message => window.receive(message)", {"type": "error", "field": None, "text": text})
    expect(page.locator("#problems")).to_contain_text(text)
    page.evaluate("window.release()")
    late.wait_for_frame(1)
    assert (late.is_playing, late.step, late.widths) == (False, 0, [2, 3, 2])
    late.press("Space")
    late.wait_for_step(5)
    assert late.is_playing


def test_a_page_that_connects_twice_keeps_one_connection(late, server):
    page = late.visit(server).page
    page.evaluate("window.sockets[0].close()")
    page.wait_for_selector("#lost:not([hidden])")
    page.evaluate("() => { for (const _ of [1, 2]) document.getElementById('reconnect').click(); }")
    late.wait_for_frame(2)
    late.wait("() => window.sockets.map(({ readyState }) => readyState).join() === '3,3,1'")


def test_messages_about_runs_that_are_being_replaced_come_late(late, server):
    page = late.visit(server, "passes=5&speed=13").page
    page.evaluate(HOLD_ALL)
    late.press("Space")
    late.wait("() => window.held.some(({ type }) => type === 'ended')")
    page.evaluate("location.hash = 'speed=5'")
    late.wait("() => window.held.some(({ type, run }) => type === 'started' && run === 2)")
    page.evaluate("window.release()")
    late.wait_for_frame(2)
    late.wait_for_step(5)
    assert late.is_playing  # the end of the first run does not pause the second
    late.press("Space")
    # A run is shown whose successor is refused.
    page.evaluate(HOLD_ALL)
    page.locator("input[name=dataset][value=circles]").check()
    late.type_into("#field-noise", "7")
    late.wait("() => window.held.some(({ type }) => type === 'error')")
    page.evaluate("window.release()")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    late.wait_for_frame(3)
    assert (late.run, late.n_points) == (3, 200)
    # Samples that have not come yet are not lost by painting.
    late.use_tool("2")
    page.evaluate("() => { window.holds = ({ type }) => type === 'frame'; }")
    page.evaluate("location.hash = 'dataset=circles&n_samples=50'")
    late.wait("() => window.held.length > 0")  # the run has started, and its first frame is held
    page.mouse.click(*late.spot(0.9, 0.9))
    page.click("#next-sample")  # does nothing without samples
    page.evaluate("window.release()")
    late.wait_for_frame(5)
    late.change(lambda: page.mouse.click(*late.spot(0.9, 0.9)))
    assert (late.run, late.n_points) == (6, 51)
