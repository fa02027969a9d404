"""Connections of the playground's page in Chromium: foreign pages, two tabs, a server that stops."""

import http.client
import http.server
import os
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

import pytest
from processes import PATIENCE
from visitors import NEEDS_CHROMIUM

import fastnn

pytestmark = NEEDS_CHROMIUM


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


def test_a_foreign_page_is_refused_even_with_the_token(browser, server, elsewhere):
    context = browser.new_context()
    page = context.new_page()
    page.goto(elsewhere)
    parts = urlsplit(server.address)
    answer = page.evaluate(
        """address => new Promise((resolve) => {
            const socket = new WebSocket(address);
            let got = "nothing";
            socket.onmessage = () => { got = "a message"; };
            socket.onclose = () => resolve(got);
        })""",
        f"ws://{parts.netloc}/training?{parts.query}",
    )
    assert answer == "nothing"
    readable = page.evaluate(
        "address => fetch(address).then(() => 'readable', () => 'refused')", server.address
    )
    assert readable == "refused"
    context.close()


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


def test_two_tabs_train_independently(visitors, server):
    first = visitors().visit(server, "speed=5")
    second = visitors().visit(server, "dataset=circles&layers=5")
    first.page.keyboard.press("Space")
    first.wait_for_step(20)
    assert second.step == 0
    assert second.widths == [2, 5, 2]
    second.page.keyboard.press("s")
    second.wait_for_step(1)
    first.page.keyboard.press("Space")
    assert second.step == 1


def test_a_page_reconnects_to_a_server_that_was_restarted(visitors):
    running = fastnn.playground(browser=False, block=False, token="secret")
    visitor = visitors()
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

    again = fastnn.playground(browser=False, block=False, token="secret", port=running.port)
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


def test_the_page_says_that_kernels_are_being_compiled(visitor, tmp_path):
    command = [sys.executable, "-m", "fastnn", "playground", "--no-browser"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            page = visitor.page
            page.goto(f"{address}#layers=4&batch_norm=1&dropout=0.1")
            page.wait_for_selector("#notices .busy")
            assert "Compiling" in page.inner_text("#notices")
            visitor.wait_for_frame()
            page.keyboard.press("s")
            visitor.wait_for_step(1)
            page.wait_for_selector("#notices .busy", state="detached")
            page.goto("about:blank")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
