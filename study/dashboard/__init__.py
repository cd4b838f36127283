"""optuna-dashboard on a run, while it is searched or afterwards, with what its pages lack.

It shows a view, and writes nothing: neither to the study, whose only writer is the driver, nor to the run folder, which
may be one that can only be read. What is added to the study as it is stored (see `study.dashboard.view`) is made when
it is looked at: a search is no slower for it, a kill can lose and double nothing of it, runs of earlier releases have
it, and a picture is there as soon as its trial has made it. The database is read in its place, as by `status`; a copy
would be as old as its last refresh. An SQLite file is locked for what one query takes, and a search that wants to write
waits that long. Requests that change a study, to delete it, to end a trial, to write a note, are refused.

Who can open the port can read the study, but change nothing; on an address, a page of another site cannot (it would
have its own name lead here, which `only_asked_for` refuses). Pictures have names that cannot be guessed, because
optuna-dashboard lets any page of the browser ask for them.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import platform
import signal
import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, NoReturn
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna_dashboard import wsgi

from study.dashboard.pictures import Pictures
from study.dashboard.view import View
from study.record.folder import Run
from study.record.storage import open_run
from study.spec.problems import SpecError

PORT, TRIED = 8080, 20  # where no port is asked for, the first, and how many from it on
READING = ("GET", "HEAD")

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def serve(run: Run, host: str, port: int | None) -> None:
    """Serves the pages until Ctrl-C or SIGTERM, which raise SystemExit with 130 and 143; for the main thread.

    Args:
        run: of any state, but with a study.
        host: a name or an address of this machine.
        port: None is the first free one from PORT on, 0 any free one.

    Raises:
        RunError: the study cannot be opened.
        SpecError: the host is none of this machine's, or the port is taken or not allowed.
    """
    opened = open_run(run)
    pictures = Pictures(run)
    view = View(opened, pictures)
    with _listening(host, port) as server:
        server.set_app(only_asked_for(host, only_reading(wsgi(view, artifact_store=pictures))))
        _say_where(run, host, server.server_port, f"/dashboard/studies/{opened.study._study_id}")
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, _leave)
        server.serve_forever()


def _leave(signum: int, _: Any) -> NoReturn:
    raise SystemExit(128 + signum)


def only_reading(app: App) -> App:
    """The application without whatever changes something; a refusal has a reason, which the page shows."""

    def answer(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if request["REQUEST_METHOD"] in READING:
            return app({"HTTP_ACCEPT_ENCODING": "", **request}, start)  # which optuna-dashboard takes to be there
        start("405 Method Not Allowed", [("Content-Type", "application/json"), ("Allow", ", ".join(READING))])
        return [json.dumps({"reason": "this dashboard shows the study, and changes nothing in it"}).encode()]

    return answer


def only_asked_for(host: str, app: App) -> App:
    """The application for requests to this address or the machine itself, by any port, as that of a tunnel.

    On all addresses (0.0.0.0, ::) and on a name but localhost, it is for all: by what names it is reached, nobody says.
    """
    names = {"localhost", "127.0.0.1", "::1", host}
    try:
        open_to_all = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        open_to_all = host != "localhost"

    def answer(request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if open_to_all or _asked_for(request) in names:
            return app(request, start)
        start("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": f"this dashboard is at {host}, and answers to no other name"}).encode()]

    return answer


def _asked_for(request: dict[str, Any]) -> str | None:
    """The host that a request names, without its port."""
    try:
        return urlsplit(f"//{request.get('HTTP_HOST', '')}").hostname
    except ValueError:  # a bracket that is not closed
        return None


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a page that is still being sent keeps no process alive

    def __init__(self, host: str, port: int):
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]  # of IPv6, too
        super().__init__((host, port), _Quiet)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: a page asks every few seconds."""


def _listening(host: str, port: int | None) -> _Server:
    ports = range(PORT, PORT + TRIED) if port is None else [port]
    for tried in ports:
        try:
            return _Server(host, tried)
        except (socket.gaierror, UnicodeError) as error:  # the second of a host's name that cannot be
            raise SpecError("--host", [f"{host} is no name or address that is known here ({error})"]) from None
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                here = "127.0.0.1 is for this machine alone, 0.0.0.0 for others too"
                raise SpecError("--host", [f"{host} is no address of this machine; {here}"]) from None
            taken = f"{tried} on {host} cannot be listened on ({error.strerror})"
            if isinstance(error, PermissionError) or tried == ports[-1]:
                break
    raise SpecError("--port", [f"{taken}; name another, or 0 for any that is free"])


def _say_where(run: Run, host: str, port: int, page: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    here = "127.0.0.1" if host in ("0.0.0.0", "::") else shown
    print(f"{run.name}: http://{here}:{port}{page}   (Ctrl-C ends it)", flush=True)
    print(f"from elsewhere, first: ssh -L {port}:{here}:{port} {platform.node()}", flush=True)
