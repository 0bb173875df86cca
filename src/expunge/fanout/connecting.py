"""Reaching a Ray cluster, or starting one on this machine; at most one in a process."""

import logging
import os
import random
import secrets
import socket
from typing import Any

import joblib

from expunge.errors import BadInput, first_line

PATIENCE = 10.0  # seconds until an address must answer
OBJECTS = 2**28  # bytes of memory for what travels; Ray puts the rest on disk


def connect(address: str | None, jobs: int | None) -> None:
    """Connect this process to a Ray cluster, unless it is connected; Ray leaves with the process.

    Args:
        address: "host:port" of the head, "auto" for a cluster that runs on this machine, or
            "ray://host:port" of a client's server; None: what RAY_ADDRESS names, or a cluster of
            this machine alone, started for this process.
        jobs: cores of a cluster that is started; None: all.

    Raises:
        BadInput: no cluster at the address, or one of another Ray; this process is connected to
            another one.
    """
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        _require_there(address)
    elif address in (None, "local"):
        _start(jobs)
    else:
        _require_answer(address)
        try:
            _init(address)
        # Ray leaves the process where a port is open and something else listens
        except (Exception, SystemExit) as error:
            raise _unreachable(address, error) from error


def _init(address: str, **settings: Any) -> None:
    """`ray.init` without workers' prints, which break the bar, and without a trace in `random`."""
    import ray

    before = random.getstate()
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    finally:
        random.setstate(before)


def _start(jobs: int | None) -> None:
    """Start a cluster of this machine alone; BadInput where Ray cannot."""
    # Its ports are open to the network, so that Ray asks who comes for a token, which it would
    # write into the home folder. The user's own settings go before.
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _init(
            "local",
            num_cpus=jobs or joblib.cpu_count(only_physical_cores=False),
            include_dashboard=False,
            object_store_memory=OBJECTS,
        )
    except Exception as error:
        raise BadInput(
            f"Ray does not start on this machine ({first_line(error)})",
            expected="a machine where `ray start --head` works",
            fix="see the logs in Ray's temporary folder, or leave --backend out to use processes",
        ) from error


def _require_there(address: str | None) -> None:
    """Raise BadInput where this process is connected to another cluster than the one asked for."""
    import ray

    there = ray.get_runtime_context().gcs_address
    if address in (None, "auto", "local") or address.startswith("ray://"):
        return  # a client's server has another port than the head that it speaks for
    if _resolved(address) != _resolved(there):
        raise BadInput(
            f"--address {address}, and this process is connected to the Ray cluster at {there}",
            expected="one cluster a process",
            fix="call ray.shutdown() before, or leave the address out",
        )


def _require_answer(address: str) -> None:
    """Raise BadInput unless something listens: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise BadInput(
            f"--address {address}",
            expected="host:port of the cluster's head, or auto for the one on this machine",
            fix="take the address that `ray start --head` printed",
        )
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _resolved(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    try:
        return socket.gethostbyname(host), port
    except OSError:
        return host, port


def _unreachable(address: str, error: BaseException) -> BadInput:
    said = first_line(error) if isinstance(error, Exception) else "something else listens there"
    return BadInput(
        f"no Ray cluster can be reached at {address} ({said})",
        expected="the address of a running cluster with the same versions of Python and Ray",
        fix="start one with `ray start --head`, or correct --address; see docs/ray.md",
    )
