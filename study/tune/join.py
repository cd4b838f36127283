"""A Ray cluster that is up already: its address is tried before Ray has it, which would wait for minutes."""

from __future__ import annotations

from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.utils import read_ray_address

from study.spec.address import AUTO, ENVIRONMENT, Head, head, wanted
from study.spec.problems import MachineError, SpecError
from study.spec.text import counted
from study.tune import probe
from study.tune.machines import alive
from study.tune.start import MARK, said

_START = "start a cluster with `ray start --head`, or say --address local for a Ray of this study's own"
_OPTION = "--address"


def join(given: str | None, **options: Any) -> None:
    """Joins a cluster and prints which.

    Args:
        given: HOST:PORT of its head, or "auto": the one that RAY_ADDRESS names, or `ray start` started on this machine;
            None is the one that RAY_ADDRESS names.
        options: of `ray.init`.

    Raises:
        SpecError: there is no Ray, or one that another study has started for itself.
        MachineError: there is one, and it cannot be joined.
    """
    address, named_by = _address(given)
    _show_token(head(address), named_by)
    try:
        ray.init(address=address, **options)
    except Exception as error:
        ray.shutdown()
        raise MachineError(
            f"the Ray cluster at {address} could not be joined: {said(error)}\n"
            f"this machine must belong to it (`ray start --address={address}`), with the same Python and Ray"
        ) from None
    machines, there = alive(), ray.cluster_resources()
    if any(MARK.items() <= node["Labels"].items() for node in machines):
        ray.shutdown()
        what = "is a Ray that another study started for itself, and that ends with it"
        raise SpecError(named_by, [f"{address} {what}; {_START}"])
    cpus, gpus = (counted(there.get(kind, 0), kind, "g") for kind in ("CPU", "GPU"))
    counts = f"{counted(len(machines), 'machine')}, {cpus}, {gpus}"
    named = "" if named_by == _OPTION else f", which {named_by} names"
    print(f"joined the Ray cluster at {address}{named}: {counts}", flush=True)


def _address(given: str | None) -> tuple[str, str]:
    """HOST:PORT, or what was given in its place; and what names it."""
    if given is not None and given != AUTO:
        return given, _OPTION
    named = wanted(None)
    if named is None or named == AUTO:
        return _started_here(), _OPTION
    head(named, ENVIRONMENT)
    return named, ENVIRONMENT


def _started_here() -> str:
    """The address of the head that `ray start` started last on this machine.

    Ray's own search, left to itself, takes any Ray that it finds a process of.
    """
    address = read_ray_address()
    if not address:
        what = (
            f"auto finds no cluster: `ray start` left no address in {get_default_ray_temp_dir()}, and RAY_ADDRESS "
            f"names none; one that was started with --temp-dir is joined by its HOST:PORT; else {_START}"
        )
        raise SpecError(_OPTION, [what])
    return address


def _show_token(there: Head, named_by: str) -> None:
    """Lets this process show its user's token where it is asked for; shown to a Ray that has none, no worker starts.

    Raises:
        SpecError: nothing answers there, or what is no Ray, or it asks for a token and there is none to show.
    """
    host, port = there
    try:
        asked = probe.asks_for_a_token(there)
    except (OSError, UnicodeError) as error:  # the second of a host's name that cannot be
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(named_by, [f"no Ray answers at {host}:{port} ({reason}); is its head up? {_START}"]) from None
    except probe.NoRayError:
        raise SpecError(named_by, [f"what answers at {host}:{port} is no Ray; {_START}"]) from None
    if asked and not maybe_enable_token_auth_if_token_available(warn_if_disabled=False):
        how = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to the one that lies in ~/.ray/auth_token of its head"
        raise SpecError(named_by, [f"the Ray at {host}:{port} asks for its token: {how}"])
