"""`crosslens serve`, which puts libraries and a model behind HTTP, and `crosslens keys`: who may ask it."""

from __future__ import annotations

import ctypes
import json as json_
import logging
import os
import re
import socket
import sys
import threading
import webbrowser
from contextlib import suppress
from dataclasses import fields, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, cast

import typer

from crosslens import app_folders
from crosslens.cli.common import Run, Terminated
from crosslens.errors import InputError, MissingExtraError
from crosslens.images.decode import Limits
from crosslens.library.library import Library
from crosslens.library.library_model import matcher_of, remembered
from crosslens.matching.matcher import Matcher
from crosslens.models.catalogue import STARTER
from crosslens.search.filter_conditions import SIZES
from crosslens.serve.config import DEFAULT_PORT, RequestLimits, ServeConfig
from crosslens.serve.security.auth import Keys, Scope
from crosslens.store.migration_target import models_of
from crosslens.towers.openvino_runtime import available_cores

if TYPE_CHECKING:
    from crosslens.serve.service import Service

_GRACE_SECONDS = 20
_ARENA_MAX = -8  # of malloc.h
_LIMIT = re.compile(r"(\w+)=(\d{1,15}(?:\.\d{1,3})?)([a-z]*)", re.IGNORECASE)
_OF_PICTURES = {"picture_bytes": "max_bytes", "picture_pixels": "max_pixels"}

Several = Optional[list[str]]  # noqa: UP045 (typer reads annotations at run time)
Folders = Optional[list[Path]]  # noqa: UP045
KeysOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--keys", metavar="FILE", help="File of API keys; else in your configuration folder."),
]
keys_app = typer.Typer(
    name="keys",
    help="API keys of the service: who may ask it, and what.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(serve)
    app.add_typer(keys_app)


def serve(  # noqa: PLR0913, PLR0917 (each is an option of the command)
    library: Annotated[
        Folders,
        typer.Option(
            "-L", "--library", help="Folder of a library; may be repeated. Else $CROSSLENS_LIBRARY."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = DEFAULT_PORT,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    data: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Where libraries lie that clients make."),
    ] = None,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Model: a name or a bundle folder; else that of the first library."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, f32, bf16, or int8 after models quantize.")] = "auto",
    decode: Annotated[str, typer.Option(help="JPEGs: auto, fast, or exact for every pixel.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or another device.")] = "auto",
    keys: KeysOption = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others than this machine in without keys.")
    ] = False,
    allow_host: Annotated[Several, typer.Option(metavar="NAME", help="Answer to this name, too.")] = None,
    allow_origin: Annotated[
        Several, typer.Option(metavar="ORIGIN", help="Let pages of this origin call it: https://…")
    ] = None,
    folder: Annotated[
        Folders, typer.Option(metavar="DIR", help="Let admins index folders below this one.")
    ] = None,
    allow_urls: Annotated[
        bool, typer.Option("--allow-urls", help="Fetch pictures that clients name by a public address.")
    ] = False,
    rate: Annotated[int, typer.Option(min=0, help="Requests a minute for each key or address; 0: any.")] = 0,
    most_waiting: Annotated[int, typer.Option(min=1, help="Inputs that may wait for the model.")] = 4096,
    patience: Annotated[float, typer.Option(min=0, help="Milliseconds that a batch waits for others.")] = 2.0,
    threads: Annotated[int, typer.Option(min=1, help="Requests that are worked on at a time.")] = 128,
    most_jobs: Annotated[int, typer.Option(min=1, help="Jobs that may wait for one library.")] = 32,
    thumbnails: Annotated[int, typer.Option(min=0, help="MiB of thumbnails that are kept in memory.")] = 128,
    limit: Annotated[
        Several,
        typer.Option(metavar="NAME=VALUE", help="A limit of requests, as upload=10gb; may be repeated."),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    access_log: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--access-log/--no-access-log", help="A line of JSON a request, to standard error."),
    ] = None,
) -> None:
    """Serve libraries and a model over HTTP, with a page to search them. Needs the serve extra."""
    how = Run(model, precision, decode, device).how
    limits, pictures = read_limits(limit or [])
    named = os.environ.get("CROSSLENS_LIBRARY")
    folders = library or [Path(named) if named else app_folders.default_library()]
    config = ServeConfig(
        host=host,
        port=port,
        libraries=tuple(path.expanduser().absolute() for path in folders),
        data=(data or app_folders.libraries()).expanduser().absolute(),
        model=model,
        how=how,
        keys=keys or app_folders.keys(),
        insecure=insecure,
        allowed_hosts=tuple(allow_host or ()),
        origins=tuple(allow_origin or ()),
        folders=tuple(path.expanduser().absolute() for path in folder or ()),
        urls=allow_urls,
        rate=rate,
        most_waiting=most_waiting,
        patience=patience / 1000,
        threads=threads,
        most_jobs=most_jobs,
        thumbnails=thumbnails << 20,
        limits=limits,
        pictures=pictures,
    )
    check_exposure(config)
    share_memory()
    shown = not sys.stderr.isatty() if access_log is None else access_log
    _start_logs(log_level, access=shown)
    run_service(config, log_level, show_page=open_)


@keys_app.command("add")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    scope: Annotated[str, typer.Option(help="read, write (and read), or admin (everything).")] = "read",
    keys: KeysOption = None,
) -> None:
    """Make a key and print it: it is told only now."""
    typer.echo(_keys(keys).add(name, cast(Scope, scope)))


@keys_app.command("list")
def list_(
    keys: KeysOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the keys: name, scope, and when each was made. A running service takes changes at once."""
    for key in _keys(keys).all():
        made = datetime.fromtimestamp(key.made).isoformat(timespec="seconds")
        row = {"name": key.name, "scope": key.scope, "made": made}
        typer.echo(json_.dumps(row) if json else "\t".join(row.values()))


@keys_app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")], keys: KeysOption = None
) -> None:
    """Take a key back."""
    _keys(keys).remove(name)


def _keys(file: Path | None) -> Keys:
    return Keys(file or app_folders.keys())


def check_exposure(config: ServeConfig) -> None:
    """Refuse to let others than this machine in without any key. Raises InputError."""
    if not (config.is_local or config.insecure or Keys(config.keys).all()):
        raise InputError(
            f"with --host {config.host} and no key, everyone who reaches this machine could use its pictures",
            "Make a key: crosslens keys add NAME; where everyone may: --insecure",
        )


def share_memory() -> None:
    """Have threads take memory from few pools (glibc): each of many would keep what pictures once needed."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another system
            ctypes.CDLL(None).mallopt(_ARENA_MAX, max(2, available_cores()))


def read_limits(given: list[str]) -> tuple[RequestLimits, Limits]:
    """Limits from lines like "upload=10gb". Raises InputError."""
    known = {field.name: field.type for field in fields(RequestLimits)}
    of_requests: dict[str, Any] = {}
    of_pictures: dict[str, int] = {}
    for line in given:
        found = _LIMIT.fullmatch(line)
        name, number, unit = found.groups() if found else ("", "", "")
        if not found or name not in {*known, *_OF_PICTURES} or unit.lower() not in {"", *SIZES}:
            names = ", ".join([*known, *_OF_PICTURES])
            raise InputError(f"{line!r} is no limit", f"Wanted NAME=VALUE, as upload=10gb; names are {names}")
        value = float(number) * SIZES.get(unit.lower(), 1)
        if name in _OF_PICTURES:
            of_pictures[_OF_PICTURES[name]] = int(value)
        else:
            of_requests[name] = value if known[name] == "float" else int(value)
    return replace(RequestLimits(), **of_requests), Limits(**of_pictures)


def chosen_matcher(config: ServeConfig) -> Matcher:
    """The model that was asked for, else that of the first library that has one, else the embedded one."""
    matcher = None if config.model is None else matcher_of(config.model, config.how)
    for folder in config.libraries if matcher is None else ():
        with Library.open(folder) as library:
            record = None if (found := library.find_database()) is None else models_of(found).serving
        if record is not None:
            matcher = remembered(folder, record, config.how)
            break
    matcher = matcher or matcher_of(STARTER, config.how)
    matcher.limits = config.pictures
    return matcher


def run_service(config: ServeConfig, log_level: str, *, show_page: bool) -> None:
    """Serve until a signal comes; then finish what was begun. Raises MissingExtraError."""
    try:
        import uvicorn

        from crosslens.serve.app import create_app
    except ImportError as error:
        raise MissingExtraError("fastapi", "serve") from error
    app = create_app(config, chosen_matcher(config))
    service = app.state.service

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                port = self.servers[0].sockets[0].getsockname()[1]
                say = partial(_say_where, service, address_of(config, port), show_page=show_page)
                threading.Thread(target=say, daemon=True).start()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.stopping.set()  # streams end, which would else be waited for
            await super().shutdown(sockets)

    how = uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        log_config=None,
        log_level="warning" if log_level == "info" else log_level,
        access_log=False,  # there is one that tells less (serve/security/middleware.py)
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    try:
        Server(how).run()
    except KeyboardInterrupt as interrupt:  # uvicorn's, after it has ended in order
        typer.echo("stopped", err=True)
        raise SystemExit(143 if Terminated.arrived else 130) from interrupt


def address_of(config: ServeConfig, port: int) -> str:
    """Where a browser on this machine finds the service."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (told apart, not listened on)
    host = everywhere.get(config.host) or (f"[{config.host}]" if ":" in config.host else config.host)
    return f"http://{host}:{port}"


def _say_where(service: Service, address: str, *, show_page: bool) -> None:
    """Once the model is warm."""
    service.ready.wait()
    typer.echo(f"crosslens is at {address}")
    for book in service.shelf.books():
        stats = book.stats()
        typer.echo(f"  {book.name}: {stats.items:,} items" if stats else f"  {book.name}: empty")
    if show_page:
        webbrowser.open(address)


def _start_logs(level: str, *, access: bool) -> None:
    if level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("--log-level is one of debug, info, warning, error")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    log = logging.getLogger("crosslens.access")
    log.propagate = False
    log.setLevel("INFO" if access else "CRITICAL")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
