"""The server: real sockets, several pages, closed pages, Ctrl-C, and the command that starts it."""

import asyncio
import functools
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from inspect import signature

import numpy as np
import pytest
from playing import training_threads, unpacked, wait_for
from processes import PATIENCE

import fastnn
from fastnn.cli.main import main
from fastnn.play.server import USUAL_PORTS
from fastnn.play.settings import MAX_SAMPLES
from fastnn.play.token import kept_token

pytest.importorskip("uvicorn")
client = pytest.importorskip("websockets.sync.client")

# A page that does not read for a while, however long that takes on a busy machine, keeps its connection.
WITHOUT_PINGS = {"ping_interval": None} if "ping_interval" in signature(client.connect).parameters else {}


class SocketPage:
    """A page with a real websocket."""

    def __init__(self, address, origin=None):
        base, _, token = address.partition("/?token=")
        self.socket = client.connect(
            f"{base.replace('http', 'ws')}/training?token={token}", origin=origin or base, compression=None,
            max_size=None, open_timeout=PATIENCE, **WITHOUT_PINGS,
        ).__enter__()  # fmt: skip
        self.hello = self.until("hello")

    def send(self, kind, **message):
        self.socket.send(json.dumps({"type": kind, **message}))

    def until(self, kind):
        """Return the next message of a kind; report the frames that come before it as drawn."""
        while True:
            message = self.socket.recv(timeout=PATIENCE)
            if isinstance(message, bytes):
                header, arrays = unpacked(message)
                self.send("drawn", frame=header["frame"], run=header["run"])
                if kind == "frame":
                    return header, arrays
            elif json.loads(message)["type"] == kind:
                return json.loads(message)

    def train_beyond(self, step):
        header, _ = self.until("frame")
        while header["step"] <= step:
            header, _ = self.until("frame")
        return header


@pytest.fixture
def served():
    """Yield a running playground; assert at the end that it has no training left."""
    with fastnn.playground(browser=False, block=False) as running:
        yield running
    wait_for(lambda: not training_threads())


def test_the_page_is_served_only_with_the_token(served):
    with urllib.request.urlopen(served.address) as answer:
        assert b"<!doctype html" in answer.read().lower()
    assert served.address.startswith(f"http://127.0.0.1:{served.port}/?token=")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(served.address[:-1])
    with caught.value as error:
        assert error.code == 403


def test_two_pages_train_independently(served):
    pages = [SocketPage(served.address) for _ in range(2)]
    pages[0].send("start", run=1, state={})
    pages[1].send(
        "start", run=1, state={"dataset": "spiral", "arms": 3, "layers": [4], "activations": ["relu"]}
    )
    assert pages[0].until("started")["layers_dim"] == [2, 3, 2]
    assert pages[1].until("started")["layers_dim"] == [2, 4, 3]
    pages[0].send("play")
    assert pages[0].train_beyond(5000)["step"] > 5000
    assert pages[1].until("frame")[0]["step"] == 0
    pages[1].send("play")
    assert pages[1].train_beyond(100)["step"] > 100
    pages[0].socket.close()
    wait_for(lambda: len(training_threads()) == 2)
    step = pages[1].until("frame")[0]["step"]
    assert pages[1].train_beyond(step)["step"] > step
    pages[1].socket.close()


def test_a_closed_page_ends_its_training(served):
    page = SocketPage(served.address)
    page.send("start", run=1, state={})
    page.send("play")
    page.train_beyond(100)
    wait_for(lambda: len(training_threads()) == 2)  # threads of other tests may be ending
    page.socket.close()
    wait_for(lambda: not training_threads())
    again = SocketPage(served.address)
    again.send("start", run=1, state={})
    again.until("started")
    # A connection that breaks off without a closing handshake is a closed page, too.
    again.socket.socket.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: not training_threads())


def test_closing_the_server_ends_all_trainings(served):
    pages = [SocketPage(served.address) for _ in range(3)]
    for page in pages:
        page.send("start", run=1, state={})
        page.send("play")
        page.train_beyond(10)
    served.close()
    wait_for(lambda: not training_threads())
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(served.address, timeout=5)


def test_foreign_origins_and_tokens_are_refused(served):
    from websockets.exceptions import InvalidStatus

    for address, origin in ((served.address, "http://evil.example"), (served.address + "x", None)):
        with pytest.raises(InvalidStatus) as caught:
            SocketPage(address, origin)
        assert caught.value.response.status_code == 403


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_connections_without_a_request_end_and_pages_stay(monkeypatch, sent):
    # Long enough for the page's own request on a busy machine: it must not end the page.
    monkeypatch.setattr("fastnn.play.connections.HEADER_SECONDS", 2.0)
    with fastnn.playground(browser=False, block=False) as running:
        page = SocketPage(running.address)
        with socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE) as idle:
            idle.sendall(sent)
            received = b"".join(iter(functools.partial(read, idle), b""))
        assert received.startswith(b"HTTP/1.1 403" if sent.endswith(b"\r\n\r\n") else b"")
        page.send("start", run=1, state={})
        assert page.until("started")["run"] == 1


def read(connection):
    """Return bytes from a connection; none if it has ended, also without a closing handshake."""
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_the_server_listens_only_on_this_machine(served):
    assert served._socket.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_refused():
    with (
        fastnn.playground(browser=False, block=False) as running,
        pytest.raises(OSError, match="choose another"),
    ):
        fastnn.playground(browser=False, block=False, port=running.port)


@pytest.fixture
def usual_ports(monkeypatch):
    """Make two ports that were free the usual ones: other processes may use 8800."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
    monkeypatch.setattr("fastnn.play.server.USUAL_PORTS", ports)
    return ports


def test_the_usual_port_is_8800():
    assert (USUAL_PORTS[0], USUAL_PORTS[1]) == (8800, 8801)
    assert "8800" in fastnn.playground.__doc__


def test_an_address_opens_a_later_playground_of_the_same_user(usual_ports):
    with fastnn.playground(browser=False, block=False) as running:
        address = running.address
        assert running.port == usual_ports[0]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)
    with fastnn.playground(browser=False, block=False):
        assert urllib.request.urlopen(address).status == 200
        SocketPage(address).socket.close()


def test_a_token_is_good_for_one_port(usual_ports):
    def token(running):
        return running.address.partition("?token=")[2]

    with (
        fastnn.playground(browser=False, block=False) as first,
        fastnn.playground(browser=False, block=False) as second,
    ):
        assert len({token(first), token(second), kept_token()}) == 3
        for wrong in (token(first), kept_token()):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(second.address.replace(token(second), wrong))
            with caught.value as error:
                assert error.code == 403
    with fastnn.playground(browser=False, block=False, token="mine") as running:
        assert token(running) == "mine"


def test_the_representation_keeps_the_token_secret(served):
    assert repr(served) == f"Playground(port={served.port})"


def test_a_usual_port_that_is_in_use_is_passed_over(usual_ports):
    with fastnn.playground(browser=False, block=False) as first:
        with fastnn.playground(browser=False, block=False) as second:
            assert [first.port, second.port] == usual_ports
            with pytest.raises(
                OSError, match=f"ports {min(usual_ports)} to {max(usual_ports)} cannot be used"
            ):
                fastnn.playground(browser=False, block=False)
        with fastnn.playground(browser=False, block=False, port=0) as third:
            assert third.port not in usual_ports


def test_a_table_is_the_first_data_set():
    random = np.random.RandomState(0)
    X = random.randn(50, 4)
    with fastnn.playground(X, X[:, 0] * X[:, 1], browser=False, block=False) as running:
        page = SocketPage(running.address)
        assert page.hello["state"]["dataset"] == "table"
        assert page.hello["table"]["columns"] == ["x0", "x1", "x2", "x3"]
        page.send("start", run=1, state={**page.hello["state"], "x_column": "x3"})
        started = page.until("started")
        assert (started["kind"], started["inputs"]) == ("regression", ["x3", "x1"])
        page.send("play")
        page.train_beyond(50)


def test_a_table_without_complete_rows_is_refused():
    X = np.random.RandomState(0).randn(20, 2)
    X[:10, 0] = X[10:, 1] = np.nan
    with pytest.raises(ValueError, match="x0 and x1 hold fewer than two rows"):
        fastnn.playground(X, np.arange(20.0), browser=False, block=False)


@pytest.mark.parametrize("token", ["a b&c", "100%25", "ä+", "x" * 2000])
def test_a_token_may_be_any_text(token):
    with fastnn.playground(browser=False, block=False, token=token) as running:
        assert urllib.request.urlopen(running.address).status == 200
        page = SocketPage(running.address)
        page.send("start", run=1, state={})
        page.send("save", what="model")
        base = running.address.partition("/?")[0]
        assert urllib.request.urlopen(base + page.until("saved")["url"]).status == 200


def test_a_token_must_be_text():
    with pytest.raises(ValueError, match="token must be a str"):
        fastnn.playground(browser=False, block=False, token=5)


def test_a_flood_of_messages_is_answered_when_the_page_reads(served):
    page = SocketPage(served.address)
    page.send("start", run=1, state={})
    page.until("frame")  # the kernels are compiled
    # More answers than the buffers of the connection hold: the server stops reading meanwhile.
    n_messages, name = 20_000, "f" * 300
    sender = threading.Thread(target=lambda: [page.send(name) for _ in range(n_messages)], daemon=True)
    sender.start()
    time.sleep(0.5)
    other = SocketPage(served.address)
    other.send("start", run=1, state={})
    other.until("frame")
    for _ in range(n_messages):
        page.until("problem")
    page.send("start", run=2, state={})
    page.until("frame")
    sender.join()


def test_the_handlers_of_uvicorns_loggers_do_not_change():
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error")]
    before = [[*logger.handlers] for logger in loggers]
    with fastnn.playground(browser=False, block=False):
        assert [logger.handlers for logger in loggers] == before
        assert all(logger.propagate for logger in loggers)


def test_a_playground_runs_within_an_event_loop():
    async def use():
        with fastnn.playground(browser=False, block=False) as running:
            return await asyncio.to_thread(lambda: urllib.request.urlopen(running.address).status)

    assert asyncio.run(use()) == 200


def test_the_address_is_printed_before_a_browser_in_the_terminal_opens(monkeypatch, capsys):
    def open_in_terminal(address):
        assert capsys.readouterr().out.strip().partition("?")[0] == address.partition("open/")[0]
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_in_terminal)
    assert fastnn.playground() is None
    assert "has ended" in capsys.readouterr().out


def test_the_browser_is_opened(monkeypatch):
    opened, clients = [], []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("fastnn.play.app.is_another_users", lambda client, server: clients.append(client))
    with fastnn.playground(block=False) as running:
        (address,) = opened
        secret = running.address.partition("?token=")[2]
        assert secret not in address  # other users can read the browser's command line
        request = urllib.request.Request(address, headers={"X-Forwarded-For": "192.0.2.1"})
        with urllib.request.urlopen(request) as answer:
            assert answer.url == running.address
            assert answer.status == 200
        assert clients[0][0] == "127.0.0.1"  # a header does not say who asks
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address)
        with caught.value as error:
            assert error.code == 403


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
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(code), "playground", "--no-browser", *arguments], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.slow
def test_ctrl_c_ends_the_command_while_pages_train():
    with started() as (process, address):
        page = SocketPage(address)
        page.send("start", run=1, state={})
        page.send("play")
        page.train_beyond(1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert "Traceback" not in process.stderr.read()
        page.socket.close()


@pytest.mark.slow
def test_ctrl_c_ends_the_command_whichever_thread_gets_the_signal():
    with started(code=SENDER) as (process, address):
        assert address.startswith("http://")
        process.stdin.write("now\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0


# No finder of modules finds pandas.
WITHOUT_PANDAS = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *places: None if name == "pandas" else found(name, *places)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", [pytest.param("", marks=pytest.mark.needs("pandas")), WITHOUT_PANDAS], ids=["pandas", "none"]
)
def test_the_command_reads_a_table(tmp_path, code):
    random = np.random.RandomState(0)
    rows = ["height,weight,colour,species"]
    rows += [f"{h:.3f},{w:.3f},red,{'cat' if h > w else 'dog'}" for h, w in random.rand(40, 2)]
    path = tmp_path / "animals.csv"
    path.write_text("\n".join(rows))
    with started(str(path), "--target", "species", code=code) as (process, address):
        page = SocketPage(address)
        assert page.hello["table"] == {"columns": ["height", "weight"], "n_rows": 40, "target": "species"}
        page.send("start", run=1, state=page.hello["state"])
        assert page.until("started")["classes"] == ["cat", "dog"]
        page.socket.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("name,word,y\nann,tree,a\nbob,bush,b\n", ["--target", "y"], "two columns of numbers"),
        ("a,b,y\n1,2,x\n3,4,z\n", [], "--target"),
        ("a,b,y\n1,2,x\n3,4,z\n", ["--target", "why"], "has no column 'why'"),
        ("a,b,y\n1,2,x\n3,4,x\n", ["--target", "y"], "nothing to learn"),
    ],
)
@pytest.mark.parametrize("pandas", [pytest.param(True, marks=pytest.mark.needs("pandas")), False])
def test_tables_that_cannot_be_learned_are_refused(
    text, arguments, message, pandas, tmp_path, capsys, monkeypatch
):
    if not pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert main(["playground", str(path), "--no-browser", *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("pandas", [pytest.param(True, marks=pytest.mark.needs("pandas")), False])
def test_a_file_that_does_not_exist_is_named(pandas, tmp_path, capsys, monkeypatch):
    if not pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    path = tmp_path / "flowers.csv"
    assert main(["playground", str(path), "--target", "species", "--no-browser"]) == 1
    assert capsys.readouterr().err == f"fastnn: there is no file {path}\n"


@pytest.mark.parametrize("pandas", [pytest.param(True, marks=pytest.mark.needs("pandas")), False])
def test_tables_with_too_many_rows_are_refused(pandas, tmp_path, capsys, monkeypatch):
    if not pandas:
        monkeypatch.setitem(sys.modules, "pandas", None)
    path = tmp_path / "large.csv"
    n_rows = MAX_SAMPLES + 2
    path.write_text("a,b,y\n" + "1,2,x\n3,4,z\n" * (n_rows // 2))
    assert main(["playground", str(path), "--target", "y", "--no-browser"]) == 1
    assert f"{n_rows:,} rows" in capsys.readouterr().err


def test_a_target_needs_a_table(capsys):
    assert main(["playground", "--target", "y", "--no-browser"]) == 1
    assert "name the table" in capsys.readouterr().err


def test_a_missing_extra_is_named_in_the_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"\[playground\]"):
        fastnn.playground(browser=False, block=False)
