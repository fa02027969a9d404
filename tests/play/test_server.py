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
    """A page with a real websocket, which has started a run unless `start` is false."""

    def __init__(self, address, start=True):
        base, _, token = address.partition("/?token=")
        self.socket = client.connect(
            f"{base.replace('http', 'ws')}/training?token={token}", origin=base, **CONNECTION
        ).__enter__()
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
        """Play, and return the header of the first frame beyond a step."""
        self.send("play")
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


def serve(*table, **options):
    return fastnn.playground(*table, browser=False, block=False, **options)


def fetch(address):
    """Return the status of a page's answer."""
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.fixture
def served():
    with serve() as running:
        yield running


def test_the_page_is_served_only_with_the_token_and_on_this_machine(served):
    with urllib.request.urlopen(served.address) as answer:
        assert b"<!doctype html" in answer.read().lower()
    assert served.address.startswith(f"http://127.0.0.1:{served.port}/?token=")
    assert repr(served) == f"Playground(port={served.port})"  # which keeps the token secret
    assert fetch(served.address[:-1]) == 403
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.2", served.port), timeout=5)
    with pytest.raises(OSError, match="choose another"):
        serve(port=served.port)


def test_two_pages_train_independently(served):
    pages = [SocketPage(served.address), SocketPage(served.address, start=False)]
    pages[1].send(
        "start", run=1, state={"dataset": "spiral", "arms": 3, "layers": [4], "activations": ["relu"]}
    )
    assert pages[0].until("started")["layers_dim"] == [2, 3, 2]
    assert pages[1].until("started")["layers_dim"] == [2, 4, 3]
    assert pages[0].train_beyond(5000)["step"] > 5000
    assert pages[1].until("frame")[0]["step"] == 0
    step = pages[1].train_beyond(100)["step"]
    pages[0].socket.close()
    assert pages[1].train_beyond(step)["step"] > step
    pages[1].socket.close()


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
    with pytest.raises(urllib.error.URLError):
        fetch(served.address)


def test_closing_the_server_waits_for_no_long_step(monkeypatch, caplog):
    begun, proceed = threading.Event(), threading.Event()
    observe = Recorder.observe

    def observe_slowly(recorder):
        begun.set()
        proceed.wait(PATIENCE)
        observe(recorder)

    monkeypatch.setattr(Recorder, "observe", observe_slowly)
    with serve() as running:
        SocketPage(running.address).send("step")
        assert begun.wait(PATIENCE)
    proceed.set()
    assert "Exception" not in caplog.text


@pytest.fixture
def usual_ports(monkeypatch):
    """Make two ports that were free the usual ones: other processes may use 8800."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [each.getsockname()[1] for each in (one, other)]
    monkeypatch.setattr("fastnn.play.server.USUAL_PORTS", ports)
    return ports


def test_an_address_is_good_for_one_port_and_for_later_playgrounds_of_the_user(usual_ports):
    def token(running):
        return running.address.partition("?token=")[2]

    with serve() as first, serve() as second:
        assert len({token(first), token(second), keep_token()}) == 3
        for wrong in (token(first), keep_token()):
            assert fetch(second.address.replace(token(second), wrong)) == 403
        assert [first.port, second.port] == usual_ports  # one that is in use is passed over
        ends = f"{min(usual_ports)} to {max(usual_ports)}"
        with pytest.raises(OSError, match=f"ports {ends} cannot be used"):
            serve()
        with serve(port=0) as third:
            assert third.port not in usual_ports
    with pytest.raises(urllib.error.URLError):
        fetch(first.address)
    with serve() as running:
        assert (running.address, fetch(first.address)) == (first.address, 200)
        SocketPage(first.address).socket.close()


def test_a_table_is_the_first_data_set():
    X = np.random.RandomState(0).randn(50, 4)
    with serve(X, X[:, 0] * X[:, 1]) as running:
        page = SocketPage(running.address, start=False)
        assert page.hello["state"]["dataset"] == "table"
        page.send("start", run=1, state={**page.hello["state"], "x_column": "x3"})
        started = page.until("started")
        assert (started["kind"], started["inputs"]) == ("regression", ["x3", "x1"])
        page.train_beyond(50)
    X[:25, 0] = X[25:, 1] = np.nan
    with pytest.raises(ValueError, match="x0 and x1 hold fewer than two rows"):
        serve(X[:, :2], np.arange(50.0))


@pytest.mark.parametrize("token", ["mine", "a b&c", "100%25", "ä+", "x" * 2000])
def test_a_token_may_be_any_text(token):
    with serve(token=token, settings="dataset=xor&layers=4") as running:
        address, _, fragment = running.address.partition("#")
        assert (fetch(address), fragment) == (200, "dataset=xor&layers=4")
        SocketPage(address).until("frame")
    assert (token == "mine") == address.endswith("?token=mine")


def test_arguments_that_are_not_text_and_a_missing_extra_are_refused(monkeypatch):
    for name in ("token", "settings"):
        with pytest.raises(ValueError, match=f"{name} must be a"):
            serve(**{name: 5})
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ImportError, match=r"\[playground\]"):
        serve()


def test_a_flood_of_messages_is_answered_when_the_page_reads(served):
    page = SocketPage(served.address)
    page.until("frame")  # the kernels are compiled
    # More answers than the buffers of the connection hold: the server stops reading meanwhile.
    n_messages, name = 20_000, "f" * 300
    sender = threading.Thread(target=lambda: [page.send(name) for _ in range(n_messages)], daemon=True)
    sender.start()
    time.sleep(0.5)
    SocketPage(served.address).until("frame")
    for _ in range(n_messages):
        page.until("error")
    page.send("start", run=2, state={})
    page.until("frame")
    sender.join()


def test_a_playground_runs_within_an_event_loop_and_leaves_loggers_alone():
    loggers = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error")]
    before = [[*logger.handlers] for logger in loggers]

    async def use():
        with serve() as running:
            assert [logger.handlers for logger in loggers] == before
            assert all(logger.propagate for logger in loggers)
            return await asyncio.to_thread(fetch, running.address)

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


TWO = "a,b,y\n1,2,x\n3,4,z\n"
# Errors of the command, the text of the table's file, and the target.
TABLES = {
    "two columns of numbers": ("name,word,y\nann,tree,a\nbob,bush,b\n", "y"),
    "--target": (TWO, None),
    "has no column 'why'": (TWO, "why"),
    "nothing to learn": ("a,b,y\n1,2,x\n3,4,x\n", "y"),
    f"{MAX_SAMPLES + 2:,} rows": ("a,b,y\n" + "1,2,x\n3,4,z\n" * (MAX_SAMPLES // 2 + 1), "y"),
    "there is no file": ("", "y"),
    "name the table": (None, "y"),
}


@pytest.mark.parametrize("message", TABLES)
@pytest.mark.needs("pandas")
def test_tables_that_cannot_be_learned_are_refused(message, tmp_path, capsys, monkeypatch):
    text, target = TABLES[message]
    path = tmp_path / "table.csv"
    if text:
        path.write_text(text)
    command = ["playground", *([] if text is None else [str(path)]), "--no-browser"]
    command += ["--target", target] if target else []
    assert main(command) == 1
    assert message in capsys.readouterr().err
    if message == "nothing to learn":
        monkeypatch.setitem(sys.modules, "pandas", None)
        assert main(command) == 1
        errors = capsys.readouterr().err
        assert errors == 'fastnn: reading a table needs pandas: run pip install "fastnn-numba[cli]"\n'
