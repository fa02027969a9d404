"""The web application: access, headers, and the answers to the messages of a page."""

import io
import json
import re
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from extras import optional
from PIL import Image
from playing import training_threads, unpacked, wait_for
from processes import PATIENCE

import fastnn

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.websockets import WebSocketDisconnect

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette 1 prefers httpx2, and older versions know only httpx
    from starlette.testclient import TestClient

from fastnn.play import saves
from fastnn.play.app import MAX_PAGES, make_app
from fastnn.play.server import own_hosts
from fastnn.play.table import checked_table
from fastnn.play.token import TICKET_SECONDS, Tickets

pd = optional("pandas")
TOKEN = "a-token"
HOST = "127.0.0.1:8000"
STATIC = Path(fastnn.__file__).parent / "play" / "static"
SAME_ORIGIN = {"origin": f"http://{HOST}"}


def client(table=None, state=None, tickets=None):
    app = make_app(TOKEN, tickets or Tickets(), table, state or {}, {HOST, "localhost:8000"})
    return TestClient(app, base_url=f"http://{HOST}")


def connected(test_client, token=TOKEN, headers=SAME_ORIGIN):
    return test_client.websocket_connect(f"ws://{HOST}/training?token={token}", headers=headers)


def until(socket, kind):
    """Return the next message of a kind, or of several; "frame" is a binary one."""
    while True:
        message = socket.receive()
        if message.get("bytes") is not None:
            if kind == "frame":
                return unpacked(message["bytes"])
        elif message["type"] == "websocket.send":
            content = json.loads(message["text"])
            if content["type"] in (kind if isinstance(kind, tuple) else (kind,)):
                return content
        else:
            raise AssertionError(message)


def send(socket, kind, **message):
    socket.send_text(json.dumps({"type": kind, **message}))


def test_the_page_needs_the_token():
    test = client()
    assert test.get("/").status_code == 403
    assert test.get("/?token=another").status_code == 403
    assert test.get("/?token=ä").status_code == 403
    page = test.get(f"/?token={TOKEN}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


def test_a_ticket_opens_the_page_once():
    tickets = Tickets()
    test = client(tickets=tickets)
    path, another = (f"/open/{tickets.issue()}" for _ in range(2))
    assert test.get(path, headers={"host": "evil.example"}).status_code == 403
    answer = test.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?token={TOKEN}")
    assert answer.headers["referrer-policy"] == "no-referrer"
    for wrong in (path, "/open/guessed", "/open/", another + "x"):
        answer = test.get(wrong, follow_redirects=False)
        assert answer.status_code in (403, 404)
        assert "location" not in answer.headers
    assert "opens the page once" in test.get(path).text
    assert test.get(another).text.lower().startswith("<!doctype html")


def test_another_user_neither_opens_the_page_nor_spends_the_ticket(monkeypatch):
    tickets = Tickets()
    test = client(tickets=tickets)
    path = f"/open/{tickets.issue()}"
    with monkeypatch.context() as patch:
        patch.setattr("fastnn.play.app.is_another_users", lambda client, server: True)
        assert test.get(path, follow_redirects=False).status_code == 403
    assert test.get(path, follow_redirects=False).status_code == 303


def test_a_ticket_expires(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("fastnn.play.token.time", SimpleNamespace(monotonic=lambda: now))
    tickets = Tickets()
    early, late = tickets.issue(), tickets.issue()
    now += TICKET_SECONDS - 1
    assert tickets.redeem(early)
    now += 2
    assert not tickets.redeem(late)


def test_headers_forbid_content_from_elsewhere():
    for path in (f"/?token={TOKEN}", "/static/main.js", "/nowhere"):
        headers = client().get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "ws://127.0.0.1:8000" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:9000", "evil.example:8000", ""])
def test_foreign_hosts_are_refused(host):
    answer = client().get(f"/?token={TOKEN}", headers={"host": host})
    assert answer.status_code == 403
    assert "terminal" in answer.text
    with pytest.raises(WebSocketDisconnect), connected(client(), headers={**SAME_ORIGIN, "host": host}):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:80"])
def test_hosts_of_port_80_may_leave_the_port_out(host):
    test = TestClient(make_app(TOKEN, Tickets(), None, {}, own_hosts(80)), base_url=f"http://{host}")
    headers = {"host": host, "origin": f"http://{host}"}
    assert test.get(f"/?token={TOKEN}", headers=headers).status_code == 200
    with connected(test, headers=headers) as socket:
        assert until(socket, "hello")


def test_localhost_is_accepted_as_the_host():
    headers = {"host": "localhost:8000", "origin": "http://localhost:8000"}
    assert client().get(f"/?token={TOKEN}", headers=headers).status_code == 200
    with connected(client(), headers=headers) as socket:
        assert until(socket, "hello")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:8000", "http://127.0.0.1:8001", "null", None]
)
def test_websockets_of_foreign_origins_are_refused(origin):
    headers = {} if origin is None else {"origin": origin}
    with pytest.raises(WebSocketDisconnect), connected(client(), headers=headers):
        pass
    if origin is not None:
        assert client().get(f"/?token={TOKEN}", headers=headers).status_code == 403


@pytest.mark.parametrize("token", ["", "another", "A-TOKEN"])
def test_websockets_without_the_token_are_refused(token):
    with pytest.raises(WebSocketDisconnect), connected(client(), token):
        pass


def test_static_files_stay_within_their_folder():
    test = client()
    assert test.get("/static/main.js").status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
        assert test.get(path).status_code == 404


def test_the_first_message_describes_all_settings():
    with connected(client()) as socket:
        hello = until(socket, "hello")
    assert hello["version"] == fastnn.__version__
    assert hello["table"] is None
    assert hello["state"]["dataset"] == "moons"
    assert set(hello["state"]) == set(hello["choices"])
    names = [data["name"] for data in hello["datasets"]]
    assert names == ["moons", "circles", "spiral", "blobs", "xor", "line", "surface", "painted"]
    for data in hello["datasets"]:
        assert data["why"].endswith(".")
        assert set(data["best"]) <= set(hello["choices"])
        assert 10 <= len(data["thumbnail"]) <= 80
        for x, y, value in data["thumbnail"]:
            assert 0 <= x <= 1
            assert 0 <= y <= 1
            assert value >= 0


def test_the_first_message_describes_the_table():
    random = np.random.RandomState(0)
    X = random.randn(30, 3)
    table = checked_table(X, ["a" if x > 0 else "b" for x in X[:, 0]], "kind")
    with connected(client(table, {"dataset": "table"})) as socket:
        hello = until(socket, "hello")
        assert hello["table"] == {"columns": ["x0", "x1", "x2"], "n_rows": 30, "target": "kind"}
        assert hello["state"]["dataset"] == "table"
        assert hello["datasets"][-1]["name"] == "table"
        send(socket, "start", run=1, state=hello["state"])
        assert until(socket, "started")["classes"] == ["a", "b"]


def test_a_run_can_be_started_steered_and_downloaded():
    test = client()
    with connected(test) as socket:
        until(socket, "hello")
        send(socket, "start", run=7, state={"noise": 0.1})
        assert until(socket, "started")["run"] == 7
        header, arrays = until(socket, "frame")
        assert (header["frame"], header["run"], arrays["boundary"].shape) == (0, 7, (256, 256))
        send(socket, "view", resolution=16)
        while arrays["boundary"].shape != (16, 16):  # a frame with the next step in numbers may come before
            send(socket, "drawn", frame=header["frame"], run=7)
            header, arrays = until(socket, "frame")
        send(socket, "drawn", frame=header["frame"], run=7)
        send(socket, "step")
        while header["step"] == 0:
            header, _ = until(socket, "frame")
            send(socket, "drawn", frame=header["frame"], run=7)
        assert header["step"] == 1
        send(socket, "script")
        assert "num_passes=1" in until(socket, "script")["text"]
        for what, start, kind in (
            ("model", None, "application/octet-stream"),
            ("picture", b"\x89PNG", "image/png"),
            ("gif", b"GIF89a", "image/gif"),
        ):
            send(socket, "save", what=what)
            saved = until(socket, "saved")
            assert saved["what"] == what
            answer = test.get(saved["url"])
            assert answer.status_code == 200
            assert answer.headers["content-type"] == kind
            assert f'filename="{saved["name"]}"' in answer.headers["content-disposition"]
            assert start is None or answer.content.startswith(start)
            assert test.get(saved["url"].partition("?")[0]).status_code == 403


@pytest.mark.needs("pandas")
@pytest.mark.parametrize(
    "targets", [["$\\no$", "$y$"] * 10, np.linspace(0, 1, 20)], ids=["classes", "numbers"]
)
def test_pictures_of_columns_with_dollars_in_their_names_can_be_saved(targets):
    names = [r"$\bad$", "US$ and CA$"]
    table = checked_table(pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=names), targets)
    with connected(client(table)) as socket:
        send(socket, "start", run=1, state={"dataset": "table", "layers": [2], "activations": ["tanh"]})
        until(socket, "frame")
        for what in ("picture", "gif"):
            send(socket, "save", what=what)
            assert until(socket, ("saved", "problem")).get("what") == what


PROBLEMS = [
    ("start", {"run": 1, "state": {"layers": [10_000], "activations": ["tanh"]}}, "layers", "from 1 to 128"),
    ("start", {"run": 1, "state": {"dataset": "painted"}}, "points", "paint"),
    ("play", {}, None, "start"),
    ("script", {}, None, "start"),
    ("save", {"what": "model"}, None, "start"),
    ("speed", {"steps_per_second": -1}, None, "steps_per_second"),
    ("fly", {}, None, "fly"),
]


@pytest.mark.parametrize(
    ("kind", "message", "field", "text"), PROBLEMS, ids=[p[0] + str(p[2]) for p in PROBLEMS]
)
def test_problems_are_reported_and_the_connection_stays_open(kind, message, field, text):
    with connected(client()) as socket:
        send(socket, kind, **message)
        problem = until(socket, "problem")
        assert problem["field"] == field
        assert text in problem["text"]
        send(socket, "start", run=1, state={})
        until(socket, "started")
        send(socket, "save", what="everything")
        assert "model, picture, gif" in until(socket, "problem")["text"]


ODD_NUMBERS = [
    ("points", [[10**400, 0, 0], [1, 1, 1]], "point 1"),
    ("points", [[True, False, True], [1, 1, 1]], "point 1"),
    ("points", [[0, 0, 0], [1, 1, 1.5]], "point 2"),
    ("points", ["123", "456"], "point 1"),
    ("learning_rate", 10**400, "0 to 100"),
    ("learning_rate", float("1e400"), "JSON"),
    ("n_samples", 10**9, "5,000"),
]


@pytest.mark.parametrize(
    ("name", "value", "text"), ODD_NUMBERS, ids=[str(entry[1])[:24] for entry in ODD_NUMBERS]
)
def test_odd_numbers_are_refused(name, value, text):
    with connected(client()) as socket:
        send(socket, "start", run=1, state={"dataset": "painted", name: value})
        assert text in until(socket, "problem")["text"]


def test_negative_zero_is_zero():
    with connected(client()) as socket:
        send(socket, "start", run=1, state={"noise": -0.0})
        assert str(until(socket, "started")["state"]["noise"]) == "0.0"


def test_binary_messages_are_refused():
    with connected(client()) as socket:
        for content in (b"", b"\0\1", b"{}"):
            socket.send_bytes(content)
            assert "not text" in until(socket, "problem")["text"]
        send(socket, "start", run=1, state={})
        until(socket, "started")


def test_errors_are_reported_and_the_connection_stays_open(monkeypatch):
    def broken(run):
        raise OSError("the disk is full")

    monkeypatch.setattr("fastnn.play.app.script_of", broken)
    monkeypatch.setitem(saves._MAKERS, "model", (broken, ".fastnn", "text/plain"))
    with connected(client()) as socket:
        send(socket, "start", run=1, state={})
        until(socket, "started")
        send(socket, "script")
        assert "OSError: the disk is full" in until(socket, "problem")["text"]
        for _ in range(2):  # after a failed save, another one is possible
            send(socket, "save", what="model")
            assert "OSError: the disk is full" in until(socket, "problem")["text"]
        send(socket, "save", what="picture")
        until(socket, "saved")


@pytest.fixture
def slow_save(monkeypatch):
    """Make an animation wait: yield an event set when it begins, and the event that it waits for."""
    begun, proceed = threading.Event(), threading.Event()

    def slow(run):
        begun.set()
        assert proceed.wait(PATIENCE)
        return b"GIF89a"

    monkeypatch.setitem(saves._MAKERS, "gif", (slow, ".gif", "image/gif"))
    yield begun, proceed
    proceed.set()


def test_a_page_draws_and_is_steered_while_a_file_is_saved(slow_save):
    begun, proceed = slow_save
    with connected(client()) as socket:
        send(socket, "start", run=1, state={})
        until(socket, "frame")
        send(socket, "save", what="gif")
        assert begun.wait(PATIENCE)
        send(socket, "save", what="gif")
        assert "wait" in until(socket, "problem")["text"]
        send(socket, "drawn", frame=0, run=1)
        send(socket, "step")
        while until(socket, "frame")[0]["step"] != 1:
            pass
        proceed.set()
        assert until(socket, "saved")["what"] == "gif"


def test_a_page_that_is_closed_while_a_file_is_saved_ends_its_training(slow_save):
    begun, _ = slow_save
    with connected(client()) as socket:
        send(socket, "start", run=1, state={})
        until(socket, "frame")
        send(socket, "play")
        send(socket, "save", what="gif")
        assert begun.wait(PATIENCE)
        assert training_threads()
    wait_for(lambda: not training_threads())


@pytest.mark.parametrize("number", ["99", "-1", "1e3", "9" * 5000, "%00", "x"])
def test_unknown_downloads_are_not_found(number):
    assert client().get(f"/download/{number}?token={TOKEN}").status_code == 404


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"type": NaN}', "[" * 100_000])
def test_messages_other_than_json_objects_are_refused(text):
    with connected(client()) as socket:
        socket.send_text(text)
        assert "message" in until(socket, "problem")["text"]
        send(socket, "start", run=1, state={})
        until(socket, "started")


def test_an_animation_of_a_regression_shows_its_values():
    test = client()
    with connected(test) as socket:
        send(socket, "start", run=1, state={"dataset": "surface"})
        until(socket, "started")
        header = until(socket, "frame")[0]
        for _ in range(3):
            send(socket, "epoch")
        while header["epoch"] < 3:
            send(socket, "drawn", frame=header["frame"], run=1)
            header = until(socket, "frame")[0]
        send(socket, "save", what="gif")
        with Image.open(io.BytesIO(test.get(until(socket, "saved")["url"]).content)) as film:
            assert film.n_frames >= 2
            colours = film.convert("RGB").getcolors(1 << 24)
            assert len(colours) > 50
        send(socket, "save", what="picture")
        assert test.get(until(socket, "saved")["url"]).content.startswith(b"\x89PNG")


def test_the_number_of_connected_pages_is_limited():
    from contextlib import ExitStack

    test = client()
    with ExitStack() as stack:
        for _ in range(MAX_PAGES):
            until(stack.enter_context(connected(test)), "hello")
        with connected(test) as socket:
            assert str(MAX_PAGES) in until(socket, "problem")["text"]


def test_the_pages_files_are_small_and_load_nothing_from_elsewhere():
    files = [path for path in STATIC.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    for path in files:
        text = path.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`)<>]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), path.name
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", page)
