"""The server: real sockets, several pages, closed pages, Ctrl-C, and the command that starts it."""

import asyncio
import html
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from playing import unpack
from processes import PATIENCE

import fastnn
from fastnn.cli.main import main
from fastnn.play.recording import Recorder
from fastnn.play.settings import MAX_SAMPLES
from fastnn.play.token import keep_token

pytest.importorskip("uvicorn")
client = pytest.importorskip("websockets.sync.client")

# A page that does not read for a while, however long that takes on a busy machine, keeps its connection.
CONNECTION = {"ping_interval": None} if "ping_interval" in signature(client.connect).parameters else {}
CONNECTION |= {"compression": None, "max_size": None, "open_timeout": PATIENCE}


class SocketPage:
    """A page with a real websocket."""

    def __init__(self, address, origin=None):
        base, _, token = address.partition("/?token=")
        self.socket = client.connect(
            f"{base.replace('http', 'ws')}/training?token={token}", origin=origin or base, **CONNECTION
        ).__enter__()
        self.hello = self.until("hello")

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
        header, _ = self.until("frame")
        while header["step"] <= step:
            header, _ = self.until("frame")
        return header


def wait_for(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"the condition does not hold after {PATIENCE} seconds"
        time.sleep(0.01)


@pytest.fixture
def served():
    with fastnn.playground(browser=False, block=False) as running:
        yield running


def test_the_page_is_served_only_with_the_token(served):
    with urllib.request.urlopen(served.address) as answer:
        assert b"<!doctype html" in answer.read().lower()
    assert served.address.startswith(f"http://127.0.0.1:{served.port}/?token=")
    assert repr(served) == f"Playground(port={served.port})"  # which keeps the token secret
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
    step = pages[1].until("frame")[0]["step"]
    assert pages[1].train_beyond(step)["step"] > step
    pages[1].socket.close()


@pytest.fixture
def closed_runs(monkeypatch):
    """Return a list to which every run is added that ends."""
    closed = []
    monkeypatch.setattr("fastnn.play.run.Run.close", lambda run: closed.append(run))
    return closed


def test_a_closed_page_ends_its_training(served, closed_runs):
    for count, close in enumerate((lambda s: s.close(), lambda s: s.socket.shutdown(socket.SHUT_RDWR)), 1):
        page = SocketPage(served.address)
        page.send("start", run=1, state={})
        page.send("play")
        page.train_beyond(100)
        # A connection that breaks off without a closing handshake is a closed page, too.
        close(page.socket)
        wait_for(lambda count=count: len(closed_runs) == count)


def test_closing_the_server_ends_all_trainings(served, closed_runs):
    pages = [SocketPage(served.address) for _ in range(3)]
    for page in pages:
        page.send("start", run=1, state={})
        page.send("play")
        page.train_beyond(10)
    served.close()
    assert len(closed_runs) == 3
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(served.address, timeout=5)


def test_closing_the_server_waits_for_no_long_step(monkeypatch, caplog):
    begun, proceed = threading.Event(), threading.Event()
    observe = Recorder.observe

    def observe_slowly(recorder):
        begun.set()
        proceed.wait(PATIENCE)
        observe(recorder)

    monkeypatch.setattr(Recorder, "observe", observe_slowly)
    with fastnn.playground(browser=False, block=False) as running:
        page = SocketPage(running.address)
        page.send("start", run=1, state={})
        page.send("step")
        assert begun.wait(PATIENCE)
    proceed.set()
    assert "Exception" not in caplog.text


def test_the_server_listens_only_on_this_machine(served):
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)


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
        assert len({token(first), token(second), keep_token()}) == 3
        for wrong in (token(first), keep_token()):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(second.address.replace(token(second), wrong))
            with caught.value as error:
                assert error.code == 403
    with fastnn.playground(browser=False, block=False, token="mine") as running:
        assert token(running) == "mine"


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
        offered = page.hello["choices"]["x_column"]["values"]
        assert [value["name"] for value in offered] == ["x0", "x1", "x2", "x3"]
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
        page.until("frame")


def test_a_playground_begins_with_the_settings_of_an_address():
    with fastnn.playground(browser=False, block=False, settings="dataset=xor&layers=4") as running:
        assert running.address.endswith("#dataset=xor&layers=4")


@pytest.mark.parametrize("wrong", [{"token": 5}, {"settings": 5}], ids=str)
def test_arguments_that_are_not_text_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a"):
        fastnn.playground(browser=False, block=False, **wrong)


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
        page.until("error")
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
        assert capsys.readouterr().out.startswith("http://127.0.0.1:")
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", open_in_terminal)
    assert fastnn.playground() is None
    assert "has ended" in capsys.readouterr().out


def test_the_browser_is_opened_by_a_file_that_only_the_user_can_read(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with fastnn.playground(block=False, token="a&b") as running:
        (address,) = opened  # other users can read it in the browser's command line
        path = Path(urllib.request.url2pathname(address.removeprefix("file:")))
        text = path.read_text()
        assert html.unescape(text.partition("url=")[2].partition('"')[0]) == running.address
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


@pytest.mark.slow
@pytest.mark.needs("pandas")
def test_the_command_reads_a_table(tmp_path):
    random = np.random.RandomState(0)
    rows = ["height,weight,colour,species"]
    rows += [f"{h:.3f},{w:.3f},red,{'cat' if h > w else 'dog'}" for h, w in random.rand(40, 2)]
    path = tmp_path / "animals.csv"
    path.write_text("\n".join(rows))
    with started(str(path), "--target", "species") as (process, address):
        page = SocketPage(address)
        offered = page.hello["choices"]["x_column"]["values"]
        assert [value["name"] for value in offered] == ["height", "weight"]
        page.send("start", run=1, state=page.hello["state"])
        assert page.until("started")["classes"] == ["cat", "dog"]
        page.socket.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


TABLES = {
    "two columns of numbers": ("name,word,y\nann,tree,a\nbob,bush,b\n", ["--target", "y"]),
    "--target": ("a,b,y\n1,2,x\n3,4,z\n", []),
    "has no column 'why'": ("a,b,y\n1,2,x\n3,4,z\n", ["--target", "why"]),
    "nothing to learn": ("a,b,y\n1,2,x\n3,4,x\n", ["--target", "y"]),
    f"{MAX_SAMPLES + 2:,} rows": ("a,b,y\n" + "1,2,x\n3,4,z\n" * (MAX_SAMPLES // 2 + 1), ["--target", "y"]),
    "there is no file": (None, ["--target", "y"]),
}


@pytest.mark.parametrize("message", TABLES)
@pytest.mark.needs("pandas")
def test_tables_that_cannot_be_learned_are_refused(message, tmp_path, capsys):
    text, arguments = TABLES[message]
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    assert main(["playground", str(path), "--no-browser", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_without_pandas_the_extra_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "table.csv").write_text("a,b,y\n1,2,x\n3,4,z\n")
    assert main(["playground", str(tmp_path / "table.csv"), "--target", "y", "--no-browser"]) == 1
    errors = capsys.readouterr().err
    assert errors == 'fastnn: reading a table needs pandas: run pip install "fastnn-numba[cli]"\n'


def test_a_target_needs_a_table(capsys):
    assert main(["playground", "--target", "y", "--no-browser"]) == 1
    assert "name the table" in capsys.readouterr().err


def test_a_missing_extra_is_named_in_the_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"\[playground\]"):
        fastnn.playground(browser=False, block=False)
