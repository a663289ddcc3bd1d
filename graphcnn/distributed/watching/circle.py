"""Whom a watcher is connected with: the leader of its machine, or those that it leads, and other machines."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

from graphcnn.distributed.watching.links import Link, Said

CONNECTING = 20.0
"""Seconds in which leaders of other machines must be reached."""
_TAKING_OVER = 0.5
"""Seconds in which another leader must answer, where that of rank 0's machine does not."""


class Circle:
    """The connections of a watcher.

    introduction: which rank it watches, and where. name: of all watchers on this machine. lifeline: a pipe
    that ends with the rank. above: the one that decides, or tells the one that does; None where this one
    does. members: those that this one leads, and branches: leaders of other machines, with how they
    introduced themselves. table: where leaders are, once ranks have told each other. place: where this
    machine's is.
    """

    def __init__(
        self, selector: selectors.BaseSelector, introduction: Said, name: str, lifeline: int
    ) -> None:
        self._selector, self._introduction = selector, introduction
        self._name, self._lifeline = name, lifeline
        self.above: Link | None = None
        self.members: dict[Link, Said] = {}
        self.branches: dict[Link, Said] = {}
        self.is_leader = False
        self.table: Said | None = None
        self.place: Said | None = None
        self._strangers: set[Link] = set()
        self._early: dict[Link, Said] = {}
        self._found: list[Link | None] = []
        self._kept: list[socket.socket] = []

    def find_leader(self) -> None:
        """Lead this machine's watchers, or find out who does: whoever has taken the name."""
        while self.above is None and not self.is_leader:
            if not sys.platform.startswith("linux"):
                self._lead(None)
                return
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                local.bind(self._name)
            except OSError:
                local.close()
                self._follow()
            else:
                self._lead(local)

    def _follow(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(self._name)
        except OSError:  # it is about to listen, or has just ended
            connection.close()
            time.sleep(0.005)
            return
        self.above = self._added(Link(connection))
        self.above.send_with(self._introduction | {"kind": "member"}, [self._lifeline])

    def _lead(self, local: socket.socket | None) -> None:
        self.is_leader = True
        remote = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
        if remote.family == socket.AF_INET6:
            remote.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        remote.bind(("", 0))
        for listener in (local, remote):
            if listener is not None:
                listener.listen(1024)
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ)
        host, port = self._introduction["host"], remote.getsockname()[1]
        self.place = {"kind": "place", "host": host, "addresses": _addresses(), "port": port}

    def take_last_name(self) -> bool:
        """Return whether this is the first watcher on its machine that asks: where the leader is gone."""
        self._kept.append(socket.socket(socket.AF_UNIX))
        try:
            self._kept[-1].bind(self._name + "-last")
        except OSError:
            return False
        return True

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            if _is_of_other_user(connection):
                connection.close()
            else:
                self._strangers.add(self._added(Link(connection)))

    def is_stranger(self, link: Link) -> bool:
        return link in self._strangers

    def meet(self, link: Link, said: Said) -> bool:
        """Take how a stranger introduces itself; return whether it belongs here."""
        is_local = link.connection.family not in (socket.AF_INET, socket.AF_INET6)
        if said["kind"] == "branch" and self.table is None:  # the own rank has not told the secret yet
            self._early[link] = said
            return False
        if said["kind"] == "member" and is_local:
            self.members[link] = said
            link.send(self.place or {"kind": "place"})
        elif said["kind"] == "branch" and self.table and said.get("token") == self.table["token"]:
            self.branches[link] = said
            link.send({"kind": "welcome"})
        else:
            self.drop(link)
            return False
        self._strangers.discard(link)
        return True

    def know_table(self, table: Said) -> dict[Link, Said]:
        """Take where all leaders are, and look for that of rank 0's machine. Return who came before."""
        self.table = table
        center = table["places"][0]
        if self.is_leader and not self._is_own(center):
            threading.Thread(
                target=lambda: self._found.append(self._connected(center, CONNECTING)), daemon=True
            ).start()
        early, self._early = self._early, {}
        return early

    def found_center(self) -> Link | None:
        """Return the link to the leader of rank 0's machine, once, when it is there."""
        link = self._found.pop() if self._found else None
        return None if link is None else self._added(link)

    def successor(self) -> Link | None:
        """Return a link to the leader that decides when that of rank 0's machine is gone; None for this."""
        assert self.table is not None
        for place in self.table["places"][1:]:
            if self._is_own(place):
                return None
            link = self._connected(place, _TAKING_OVER)
            if link is not None:
                return self._added(link)
        return None

    def _connected(self, place: Said, seconds: float) -> Link | None:
        assert self.table is not None
        end = time.monotonic() + seconds
        ranks = [each["ranks"] for each in self.table["places"] if self._is_own(each)]
        for address in place["addresses"]:
            try:
                rest = min(2.0, max(0.1, end - time.monotonic()))
                connection = socket.create_connection((address, place["port"]), rest)
            except OSError:
                continue
            link = Link(connection)
            link.send(
                self._introduction | {"kind": "branch", "token": self.table["token"], "ranks": ranks[0]}
            )
            while link.is_open and time.monotonic() < end:
                if any(said["kind"] == "welcome" for said in link.receive()):
                    return link
                time.sleep(0.01)
            link.close()
        if seconds == CONNECTING:
            who = f"the watcher of rank {self._introduction['rank']} on {self._introduction['host']}"
            why = (
                f"cannot reach that of rank 0 on {place['host']}: a firewall? What befalls one is not told to"
            )
            os.write(2, f"\ngraphcnn: {who} {why} the other but by MPI\n".encode())
        return None

    def _is_own(self, place: Said) -> bool:
        assert self.place is not None
        return bool(place["port"] == self.place["port"] and place["host"] == self.place["host"])

    def _added(self, link: Link) -> Link:
        self._selector.register(link, selectors.EVENT_READ)
        return link

    def drop(self, link: Link) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link)
        self._strangers.discard(link)
        self._early.pop(link, None)
        link.close()

    def below(self) -> Iterator[Link]:
        yield from self.members
        yield from self.branches

    def remote(self) -> Iterator[Link]:
        yield from self.branches
        if self.is_leader and self.above is not None:
            yield self.above


def _addresses() -> list[str]:
    """Return under which names and addresses others may reach this machine, the likeliest first."""
    names = [os.environ.get(name, "") for name in ("PMI_HOSTNAME", "PMIX_HOSTNAME", "SLURMD_NODENAME")]
    found = [*names, socket.gethostname()]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # nothing is sent: it only asks which way it would go
        found.append(probe.getsockname()[0])
    with contextlib.suppress(OSError):
        found += socket.gethostbyname_ex(socket.gethostname())[2]
    return list(dict.fromkeys(filter(None, found)))


def _is_of_other_user(connection: socket.socket) -> bool:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or connection.family != socket.AF_UNIX:
        return False
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, 12))
    return bool(user != os.getuid())
