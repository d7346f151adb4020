"""The store at which the hosts of a training meet, kept for all trainings of this process."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import TCPStore
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

from lafs_pipeline.runtime.errors import LafsError
from lafs_pipeline.runtime.network import is_local
from lafs_pipeline.runtime.places import Hosts

ANSWER = timedelta(seconds=60)
"""How long the store may take for one answer."""
LAUNCHES = "lafs/launches"


@dataclass
class Meeting:
    """Where the hosts of this launch meet.

    Attributes:
        here: whether this process serves the store.
        own_address: of this host, as the others reach it.
        launches: number of the last launch that this process took part in.
        handler: of that launch.
        lost: set when the store no longer answers.
    """

    store: TCPStore
    here: bool
    own_address: str = ""
    launches: int = 0
    handler: RendezvousHandler | None = None
    lost: bool = False


_meetings: dict[tuple[str, int], Meeting] = {}


@contextmanager
def meeting(hosts: Hosts, own_address: str, timeout_seconds: float) -> Iterator[Meeting]:
    """The rendezvous of the next launch, the same one on every host; closed for all at the end.

    The host of the store numbers the launches, so that the trainings of a pipeline follow each other and a
    host that was started anew joins the one that the others wait in.

    Args:
        hosts: which of how many hosts this is, and where the store is: on host 0, or where the numbers are
            not given on the host that has its address.
        own_address: of this host, as the others reach it.
        timeout_seconds: how long to wait for the store and for the hosts.

    Raises:
        LafsError: when the store cannot be opened or does not answer.
    """
    address = (hosts.address, hosts.port)
    meeting = _meetings.pop(address, None) or _open(hosts, timeout_seconds)
    if meeting.here:
        meeting.launches = meeting.store.add(LAUNCHES, 1)
    else:
        _wait_for_launch(meeting, hosts, timeout_seconds)
    meeting.own_address = hosts.address if meeting.here else own_address
    name = f"lafs-{meeting.launches}"
    parameters = RendezvousParameters(
        "c10d",
        "",
        name,
        hosts.count,
        hosts.count,
        local_addr=meeting.own_address,
        join_timeout=max(1, round(timeout_seconds)),
    )
    meeting.handler = create_handler(meeting.store, C10dRendezvousBackend(meeting.store, name), parameters)
    try:
        yield meeting
    finally:
        if not meeting.lost and meeting.handler.shutdown() and hosts.count > 1:
            _meetings[address] = meeting


def _open(hosts: Hosts, timeout_seconds: float) -> Meeting:
    host, port = hosts.address, hosts.port
    if hosts.number == 0 or (hosts.number is None and is_local(host)):
        try:
            return Meeting(TCPStore(host, port, is_master=True, timeout=ANSWER), here=True)
        except RuntimeError as error:
            if hosts.number == 0:
                raise LafsError(
                    f"the rendezvous {host}:{port} cannot be opened here ({str(error).splitlines()[0]}); "
                    "choose another port"
                ) from error
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            # TCPStore would wait where no signal reaches it.
            socket.create_connection((host, port), timeout=5).close()
            return Meeting(TCPStore(host, port, is_master=False, timeout=ANSWER), here=False)
        except (OSError, RuntimeError):
            time.sleep(0.5)
    raise LafsError(
        f"the rendezvous {host}:{port} did not answer for {timeout_seconds:g} s; start the host that it "
        "names, and check address, port and firewall"
    )


def _wait_for_launch(meeting: Meeting, hosts: Hosts, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        number = meeting.store.add(LAUNCHES, 0)
        if number > meeting.launches:
            meeting.launches = number
            return
        time.sleep(0.2)
    raise LafsError(
        f"the host of the rendezvous {hosts.address}:{hosts.port} did not begin the next training within "
        f"{timeout_seconds:g} s; see its output"
    )
