"""The web application: access, headers, and the answers to the messages of a page."""

import json
import re
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from playing import unpack

import fastnn

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.websockets import WebSocketDisconnect

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette 1 prefers httpx2, and older versions know only httpx
    from starlette.testclient import TestClient

from fastnn.play.app import MAX_PAGES, make_app
from fastnn.play.datasets import DATASETS
from fastnn.play.server import list_hosts
from fastnn.play.table import make_table

TOKEN = "a-token"
HOST = "127.0.0.1:8000"
STATIC = Path(fastnn.__file__).parent / "play" / "static"
SAME_ORIGIN = {"origin": f"http://{HOST}"}


def client(table=None):
    app = make_app(TOKEN, table, {HOST, "localhost:8000"})
    return TestClient(app, base_url=f"http://{HOST}")


def connected(test_client, token=TOKEN, headers=SAME_ORIGIN):
    return test_client.websocket_connect(f"ws://{HOST}/training?token={token}", headers=headers)


def until(socket, kind):
    """Return the next message of a kind; "frame" and "saved" are binary ones."""
    while True:
        message = socket.receive()
        if message.get("bytes") is not None:
            header, arrays = unpack(message["bytes"])
            if header["type"] == kind:
                return header, arrays
        elif message["type"] == "websocket.send":
            content = json.loads(message["text"])
            if content["type"] == kind:
                return content
        else:
            raise AssertionError(message)


def send(socket, kind, **message):
    socket.send_text(json.dumps({"type": kind, **message}))


@pytest.mark.parametrize("path", [f"/?token={TOKEN}", "/static/main.js", "/nowhere"])
def test_headers_forbid_content_from_elsewhere(path):
    headers = client().get(path, headers={"origin": "http://evil.example"}).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "ws://127.0.0.1:8000" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


# Tokens, and headers of requests, that are refused.
FOREIGN = [
    *({"token": token} for token in ("", "another", "A-TOKEN", "\u00e4")),
    *({"host": host} for host in ("evil.example", "127.0.0.1", "127.0.0.1:9000", "evil.example:8000", "")),
    *({"origin": origin} for origin in ("http://evil.example", f"https://{HOST}", "http://127.0.0.1:8001")),
    {"origin": "null"},
]


@pytest.mark.parametrize("wrong", FOREIGN, ids=str)
def test_requests_from_elsewhere_are_refused(wrong):
    headers = dict(wrong)
    token = headers.pop("token", TOKEN)
    answer = client().get(f"/?token={token}", headers=headers)
    assert (answer.status_code, "terminal" in answer.text) == (403, True)
    for sent in ({**SAME_ORIGIN, **headers}, headers):  # a websocket without an origin is refused, too
        with pytest.raises(WebSocketDisconnect), connected(client(), token, sent):
            pass


@pytest.mark.parametrize(
    ("host", "hosts"),
    [
        (HOST, {HOST, "localhost:8000"}),
        ("localhost:8000", {HOST, "localhost:8000"}),
        ("127.0.0.1", list_hosts(80)),  # requests to port 80 may leave it out
        ("localhost", list_hosts(80)),
        ("localhost:80", list_hosts(80)),
    ],
)
def test_requests_to_this_host_are_answered(host, hosts):
    test = TestClient(make_app(TOKEN, None, hosts), base_url=f"http://{host}")
    headers = {"host": host, "origin": f"http://{host}"}
    page = test.get(f"/?token={TOKEN}", headers=headers)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    with connected(test, headers=headers) as socket:
        assert until(socket, "hello")


def test_static_files_stay_within_their_folder():
    test = client()
    assert test.get("/static/main.js").status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
        assert test.get(path).status_code == 404


def test_the_first_message_describes_all_settings_and_data_sets():
    X = np.random.RandomState(0).randn(30, 3)
    table = make_table(X, np.where(X[:, 0] > 0, "a", "b"), "kind")
    with connected(client(table)) as socket:
        hello = until(socket, "hello")
        send(socket, "start", run=1, state=hello["state"])
        assert until(socket, "started")["classes"] == ["a", "b"]
    assert (hello["version"], hello["state"]["dataset"]) == (fastnn.__version__, "table")
    assert set(hello["state"]) == set(hello["choices"])
    assert [value["name"] for value in hello["choices"]["x_column"]["values"]] == ["x0", "x1", "x2"]
    assert [data["name"] for data in hello["datasets"]] == [*DATASETS, "table"]
    for data in hello["datasets"]:
        assert data["why"].endswith(".")
        assert set(data["best"]) <= set(hello["choices"])
        thumbnail = np.array(data["thumbnail"])
        assert 10 <= len(thumbnail) <= 80
        assert (thumbnail >= 0).all()
        assert (thumbnail[:, :2] <= 1).all()


REFUSED = [
    ("start", {"run": 1, "state": {"layers": [10_000], "activations": ["tanh"]}}, "layers", "from 1 to 128"),
    ("start", {"run": 1, "state": {"dataset": "painted"}}, "points", "paint"),
    ("save", {"what": "model"}, None, "start"),
]
MALFORMED = ["", "{", "[]", "3", "null", '{"type": NaN}', "[" * 100_000, b"", b"\0\1", b"{}"]


def test_frames_and_files_are_sent_and_what_is_wrong_is_reported(monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    with connected(client()) as socket:
        until(socket, "hello")
        for kind, message, field, text in REFUSED:
            send(socket, kind, **message)
            error = until(socket, "error")
            assert (error["field"], text in error["text"]) == (field, True), text
        for content in MALFORMED:
            socket.send_bytes(content) if isinstance(content, bytes) else socket.send_text(content)
            assert "message" in until(socket, "error")["text"]
        send(socket, "start", run=7, state={"noise": 0.1})
        assert until(socket, "started")["run"] == 7
        header, arrays = until(socket, "frame")
        assert (header["frame"], header["run"], arrays["boundary"].shape) == (0, 7, (256, 256))
        send(socket, "save", what="everything")
        assert "model, picture, gif" in until(socket, "error")["text"]
        with monkeypatch.context() as patched:
            patched.setattr("fastnn.play.session.write_script", fail)
            patched.setattr("fastnn.play.run.Run.save_model", fail)
            for kind in ("script", "save", "save"):  # after a failed save, another one is possible
                send(socket, kind, what="model")
                assert "OSError: the disk is full" in until(socket, "error")["text"]
        send(socket, "save", what="picture")
        header, arrays = until(socket, "saved")
        assert header["name"] == "moons-2-3-2.png"
        assert arrays["content"].tobytes().startswith(b"\x89PNG")


def test_the_number_of_connected_pages_is_limited():
    test = client()
    with ExitStack() as stack:
        for _ in range(MAX_PAGES):
            until(stack.enter_context(connected(test)), "hello")
        with connected(test) as socket:
            assert str(MAX_PAGES) in until(socket, "error")["text"]


def test_the_pages_files_are_small_and_name_no_address_elsewhere():
    texts = [path.read_text(encoding="utf-8") for path in STATIC.iterdir() if path.is_file()]
    assert sum(map(len, texts)) < 300_000
    assert set(re.findall(r"https?://[^\s\"'`)<>]+", "".join(texts))) == {"http://www.w3.org/2000/svg"}
