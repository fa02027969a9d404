"""The server: access, answers to pages, pages that are closed, Ctrl-C, and the command that starts it."""

import asyncio
import html
import http.client
import io
import json
import logging
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from contextlib import closing, contextmanager
from inspect import signature
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from playing import unpack
from processes import PATIENCE, run_python, wait_for

import fastnn
from fastnn.cli.main import main
from fastnn.play.app import MAX_PAGES
from fastnn.play.datasets import DATASETS
from fastnn.play.server import list_hosts
from fastnn.play.token import keep_token

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
client = pytest.importorskip("websockets.sync.client")

STATIC = Path(fastnn.__file__).parent / "play" / "static"
# A page that does not read for a while, however long that takes on a busy machine, keeps its connection.
CONNECTION = {"ping_interval": None} if "ping_interval" in signature(client.connect).parameters else {}
CONNECTION |= {"compression": None, "max_size": None, "open_timeout": PATIENCE}


def connect(address):
    base, _, token = address.partition("/?token=")
    where = f"{base.replace('http', 'ws')}/training?token={token}"
    return client.connect(where, origin=base, **CONNECTION).__enter__()


class SocketPage:
    """A page with a real websocket, which has started a run unless `start` is false."""

    def __init__(self, address, start=True):
        self.socket = connect(address)
        self.hello = self.until("hello")
        if start:
            self.send("start", run=1, state={})

    def send(self, kind, **message):
        self.socket.send(json.dumps({"type": kind, **message}))

    def until(self, kind):
        """Return the next message of a kind; report the frames that come before it as drawn."""
        while True:
            message = self.socket.recv(timeout=PATIENCE)
            if isinstance(message, bytes):
                header, arrays = unpack(message)
                self.send("drawn", frame=header.get("frame"), run=header.get("run"))
                if header["type"] == kind:
                    return header, arrays
            elif json.loads(message)["type"] == kind:
                return json.loads(message)

    def train_beyond(self, step):
        self.send("play")
        header, _ = self.until("frame")
        while header["step"] <= step:
            header, _ = self.until("frame")
        return header


def serve(*table, **options):
    return fastnn.playground(*table, browser=False, block=False, **options)


@pytest.fixture
def served():
    with serve() as running:
        yield running


# Headers by which a browser opens a websocket.
HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
HANDSHAKE["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="


def ask(address, headers=()):
    host, path = address.removeprefix("http://").split("/", 1)
    with closing(http.client.HTTPConnection(host, timeout=PATIENCE)) as connection:
        connection.request("GET", f"/{path}", headers=dict(headers))
        answer = connection.getresponse()
        return answer, b"" if answer.status == 101 else answer.read()


def test_headers_forbid_content_from_elsewhere(server):
    base = server.address.partition("/?")[0]
    for address in (server.address, f"{base}/static/main.js", f"{base}/nowhere"):
        headers = ask(address, {"Origin": "http://evil.example"})[0].headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert f"ws://127.0.0.1:{server.port}" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
        assert "access-control-allow-origin" not in headers


# Tokens, and headers of requests, that are refused.
FOREIGN = [
    *({"token": token} for token in ("", "another", "\u00e4")),
    *({"Host": host} for host in ("evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", "")),
    *({"Origin": origin} for origin in ("http://evil.example", "https://127.0.0.1:{port}", "null")),
    {"Origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("wrong", FOREIGN, ids=str)
def test_requests_from_elsewhere_are_refused(wrong, server):
    base, _, token = server.address.partition("/?token=")
    headers = {name: value.format(port=server.port) for name, value in wrong.items()}
    token = quote(headers.pop("token", token))
    answer, text = ask(f"{base}/?token={token}", headers)
    assert (answer.status, b"terminal" in text) == (403, True)
    for sent in ({"Origin": base} | headers, headers):  # a websocket without an origin is refused, too
        assert ask(f"{base}/training?token={token}", HANDSHAKE | sent)[0].status == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_requests_to_this_host_are_answered(name, server):
    host = f"{name}:{server.port}"
    headers = {"Host": host, "Origin": f"http://{host}"}
    page, _ = ask(server.address, headers)
    assert (page.status, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert ask(server.address.replace("/?", "/training?"), HANDSHAKE | headers)[0].status == 101
    assert {name, f"{name}:80"} <= list_hosts(80)  # requests to port 80 may leave it out


def test_static_files_stay_within_their_folder(server):
    static = server.address.partition("?")[0] + "static/"
    assert ask(f"{static}main.js")[0].status == 200
    for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd"):
        assert ask(static + path)[0].status == 404


REFUSED = [
    ("start", {"run": 1, "state": {"layers": [10_000], "activations": ["tanh"]}}, "layers", "from 1 to 128"),
    ("start", {"run": 1, "state": {"dataset": "painted"}}, "points", "paint"),
    ("save", {"what": "model"}, None, "start"),
]
MALFORMED = ["", "{", "[]", "3", "null", '{"type": NaN}', "[" * 100_000, b"", b"\0\1", b"{}"]


def test_frames_and_files_are_sent_and_what_is_wrong_is_reported(served, monkeypatch):
    def fail(*_):
        raise OSError("the disk is full")

    page = SocketPage(served.address, start=False)
    for kind, message, field, text in REFUSED:
        page.send(kind, **message)
        error = page.until("error")
        assert (error["field"], text in error["text"]) == (field, True), text
    for content in MALFORMED:
        page.socket.send(content)
        assert "message" in page.until("error")["text"]
    page.send("start", run=7, state={"noise": 0.1})
    assert page.until("started")["run"] == 7
    header, arrays = page.until("frame")
    assert (header["frame"], header["run"], arrays["boundary"].shape) == (0, 7, (256, 256))
    page.send("save", what="everything")
    assert "model, picture, gif" in page.until("error")["text"]
    with monkeypatch.context() as patched:
        patched.setattr("fastnn.play.session.write_script", fail)
        patched.setattr("fastnn.play.run.Run.save_model", fail)
        for kind in ("script", "save", "save"):  # after a failed save, another one is possible
            page.send(kind, what="model")
            assert "OSError: the disk is full" in page.until("error")["text"]
    page.send("save", what="picture")
    header, arrays = page.until("saved")
    assert header["name"] == "moons-2-3-2.png"
    assert arrays["content"].tobytes().startswith(b"\x89PNG")


def test_the_number_of_connected_pages_is_limited(served):
    pages = [SocketPage(served.address, start=False) for _ in range(MAX_PAGES)]
    assert str(MAX_PAGES) in json.loads(connect(served.address).recv())["text"]
    pages[0].socket.close()


def test_the_pages_files_are_small_and_name_no_address_elsewhere():
    texts = [path.read_text(encoding="utf-8") for path in STATIC.iterdir() if path.is_file()]
    assert sum(map(len, texts)) < 300_000
    assert set(re.findall(r"https?://[^\s\"'`)<>]+", "".join(texts))) == {"http://www.w3.org/2000/svg"}


def test_the_page_is_served_on_this_machine_alone_by_servers_of_different_ports(served):
    assert repr(served) == f"Playground(port={served.port})"  # which keeps the token secret
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)
    with pytest.raises(OSError, match="choose another"):
        serve(port=served.port)
    with serve() as other:  # a usual port that is in use is passed over
        assert other.port != served.port


def test_closed_pages_and_a_closed_server_end_trainings(served, monkeypatch):
    closed = []
    monkeypatch.setattr("fastnn.play.run.Run.close", lambda run: closed.append(run))
    pages = [SocketPage(served.address) for _ in range(4)]
    for page in pages:
        page.train_beyond(10)
    pages[0].socket.close()
    wait_for(lambda: len(closed) == 1)
    # A connection that breaks off without a closing handshake is a closed page, too.
    pages[1].socket.socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: len(closed) == 2)
    served.close()
    assert len(closed) == 4
    with pytest.raises(ConnectionError):
        ask(served.address)


def test_an_address_is_good_for_one_port_and_for_later_playgrounds_of_the_user():
    def token(running):
        return running.address.partition("?token=")[2]

    with serve(port=0) as first, serve(port=0) as second:
        assert len({token(first), token(second), keep_token()}) == 3
        for wrong in (token(first), keep_token()):
            assert ask(second.address.replace(token(second), wrong))[0].status == 403
    with serve(port=first.port) as running:
        assert (running.address, ask(first.address)[0].status) == (first.address, 200)


def test_the_first_message_describes_all_settings_and_data_sets_of_which_a_table_is_the_first():
    X = np.random.RandomState(0).randn(50, 4)
    with serve(X, X[:, 0] * X[:, 1]) as running:
        page = SocketPage(running.address, start=False)
        hello = page.hello
        assert (hello["version"], hello["state"]["dataset"]) == (fastnn.__version__, "table")
        page.send("start", run=1, state={**hello["state"], "x_column": "x3"})
        started = page.until("started")
        assert (started["kind"], started["inputs"]) == ("regression", ["x3", "x1"])
        page.train_beyond(50)
    assert set(hello["state"]) == set(hello["choices"])
    assert [value["name"] for value in hello["choices"]["x_column"]["values"]] == ["x0", "x1", "x2", "x3"]
    assert [data["name"] for data in hello["datasets"]] == [*DATASETS, "table"]
    for data in hello["datasets"]:
        thumbnail = np.array(data["thumbnail"])
        assert 10 <= len(thumbnail) <= 80
        assert (thumbnail >= 0).all()
        assert (thumbnail[:, :2] <= 1).all()
    X[:25, 0] = X[25:, 1] = np.nan
    with pytest.raises(ValueError, match="x0 and x1 hold fewer than two rows"):
        serve(X[:, :2], np.arange(50.0))


@pytest.mark.parametrize("token", ["mine", "a b&c", "100%25", "ä+", "x" * 2000])
def test_a_token_may_be_any_text(token):
    with serve(token=token, settings="dataset=xor&layers=4") as running:
        address, _, fragment = running.address.partition("#")
        assert (ask(address)[0].status, fragment) == (200, "dataset=xor&layers=4")
        SocketPage(address).until("frame")
    assert (token == "mine") == address.endswith("?token=mine")


def test_arguments_that_are_not_text_and_a_missing_extra_are_refused(monkeypatch):
    for name in ("token", "settings"):
        with pytest.raises(ValueError, match=f"{name} must be a"):
            serve(**{name: 5})
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"\[playground\]"):
        serve()


def test_a_playground_runs_within_an_event_loop_and_leaves_loggers_alone():
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error")]
    before = [[*logger.handlers] for logger in loggers]

    async def use():
        with serve() as running:
            assert [logger.handlers for logger in loggers] == before
            assert all(logger.propagate for logger in loggers)
            return await asyncio.to_thread(ask, running.address)

    assert asyncio.run(use())[0].status == 200


def test_the_address_is_printed_before_a_browser_in_the_terminal_opens(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written))  # it has a buffer, as a pipe has

    def open_in_terminal(address):
        assert written.getvalue().startswith(b"http://127.0.0.1:")
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_in_terminal)
    assert fastnn.playground() is None
    assert b"has ended" in written.getvalue()


def test_the_browser_is_opened_by_a_file_that_only_the_user_can_read(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with fastnn.playground(block=False, token="a&b") as running:
        (address,) = opened  # other users can read it in the browser's command line
        path = Path(urllib.request.url2pathname(address.removeprefix("file:")))
        assert html.unescape(path.read_text().partition("url=")[2].partition('"')[0]) == running.address
        assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


# A shell starts background processes with SIGINT ignored: restore the handler of a foreground process.
COMMAND = """
import signal, sys, threading
from fastnn.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
{}
sys.exit(main(sys.argv[1:]))
"""

# A line on standard input makes a thread other than the main one send SIGINT to itself.
SENDER = """
def send():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=send, daemon=True).start()
"""


@contextmanager
def started(*arguments, code=""):
    """Yield a process of the command, which runs `code` first, and the address that it prints."""
    command = [sys.executable, "-c", COMMAND.format(code), "playground", "--no-browser", *arguments]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("code", ["", SENDER], ids=["the main thread", "another thread"])
def test_ctrl_c_ends_the_command_whichever_thread_gets_the_signal(code):
    with started(code=code) as (process, address):
        page = SocketPage(address)
        page.train_beyond(1000)
        if code:
            process.stdin.write("now\n")
            process.stdin.flush()
        else:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert "Traceback" not in process.stderr.read()
        page.socket.close()


@pytest.mark.slow
@pytest.mark.needs("pandas")
def test_the_command_reads_a_table(tmp_path):
    rows = ["height,weight,colour,species"]
    for h, w in np.random.RandomState(0).rand(40, 2):
        rows.append(f"{h:.3f},{w:.3f},red,{'cat' if h > w else 'dog'}")
    (tmp_path / "animals.csv").write_text("\n".join(rows))
    with started(str(tmp_path / "animals.csv"), "--target", "species") as (_, address):
        page = SocketPage(address, start=False)
        offered = page.hello["choices"]["x_column"]["values"]
        assert [value["name"] for value in offered] == ["height", "weight"]
        page.send("start", run=1, state=page.hello["state"])
        assert page.until("started")["classes"] == ["cat", "dog"]
        page.socket.close()


# Errors of the command, the text of the table's file, and the arguments.
TABLES = {
    "--target": ("a,b,y\n1,2,x\n3,4,z\n", "table.csv"),
    "has no column 'why'": ("a,b,y\n1,2,x\n3,4,z\n", "table.csv", "--target", "why"),
    "nothing to learn": ("a,b,y\n1,2,x\n3,4,x\n", "table.csv", "--target", "y"),
    "there is no file": ("", "table.csv", "--target", "y"),
    "--drop and the options of reading work only with a table": ("", "--target", "y"),
    "name the table": ("", "--na", "q"),
    "only with --export": ("", "--wheel", "nope.whl"),
}


@pytest.mark.parametrize("message", TABLES)
@pytest.mark.needs("pandas")
def test_tables_that_cannot_be_learned_are_refused(message, tmp_path, monkeypatch, capsys):
    text, *options = TABLES[message]
    monkeypatch.chdir(tmp_path)
    if text:
        Path("table.csv").write_text(text)
    assert main(["playground", "--no-browser", *options]) == 1
    assert message in capsys.readouterr().err


def test_without_pandas_the_extra_is_named(tmp_path):
    (tmp_path / "table.csv").write_text("a,b,y\n1,2,x\n3,4,z\n")
    program = """
import sys
from fastnn.cli.main import main
sys.modules["pandas"], sys.stderr = None, sys.stdout
print(main(["playground", sys.argv[1], "--target", "y", "--no-browser"]))
"""
    errors = run_python(program, tmp_path / "table.csv")
    assert errors == 'fastnn: reading a table needs pandas: run pip install "fastnn-numba[playground]"\n1\n'
    with started("--port", "0", code='sys.modules["pandas"] = None') as (process, line):
        assert "http://127.0.0.1:" in line  # no table, no pandas
        process.kill()
