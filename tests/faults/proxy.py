"""A TCP proxy between one client process and a server: it cuts, holds back, and swallows the answer of a COMMIT."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine
from typing import Any

CHUNK = 2**16
Address = str | tuple[str, int]  # the path of a Unix socket, or host and port


class Loop:
    """An event loop in a thread of its own, for all proxies."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.servers: list[asyncio.Server] = []
        self.connections: set[asyncio.StreamWriter] = set()  # of all proxies
        self._thread = threading.Thread(target=self.loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def stop(self) -> None:
        if self.loop.is_closed():
            return
        self.run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _end(self) -> None:
        for server in self.servers:
            server.close()
        for writer in self.connections:
            writer.transport.abort()
        await asyncio.sleep(0.2)  # each connection ends by itself once it is reset


class Proxy:
    """One listening port that leads to one server."""

    def __init__(self, loop: Loop, target: Address, host: str = "127.0.0.1") -> None:
        self._loop, self._target = loop, target
        self._connections: set[asyncio.StreamWriter] = set()
        self._open: asyncio.Event
        self._lose_commit = False
        self._refuse_with: int | None = None
        self._delay = 0.0
        self.lost_commits = 0
        self.port: int = loop.run(self._start(host))

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.loop.call_soon_threadsafe(self._cut)

    def hold(self, held: bool) -> None:
        """Hold every byte back, as a network that drops packets does, or let them through again."""
        self._loop.loop.call_soon_threadsafe(self._open.clear if held else self._open.set)

    def lose_commit(self, lose: bool) -> None:
        """Swallow the answer of the next COMMIT, and reset its connection once the server has answered."""
        self._lose_commit = lose

    def refuse(self, status: int | None) -> None:
        """Answer every HTTP request with this status, instead of the server; None: no longer."""
        self._refuse_with = status
        self.cut()  # what is open leads to the server

    def delay(self, seconds: float) -> None:
        """Hold every piece back for so long."""
        self._delay = seconds

    async def _start(self, host: str) -> int:
        self._open = asyncio.Event()
        self._open.set()
        server = await asyncio.start_server(self._serve, host, 0)
        self._loop.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse_with is not None:
            await self._refuse(reader, writer, self._refuse_with)
            return
        try:
            await self._open.wait()
            match self._target:
                case str(path):
                    upstream = await asyncio.open_unix_connection(path)
                case (host, port):
                    upstream = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        doomed = asyncio.Event()
        self._connections |= {writer, upstream[1]}
        self._loop.connections |= {writer, upstream[1]}
        out = asyncio.ensure_future(self._pump(reader, upstream[1], doomed, requests=True))
        back = asyncio.ensure_future(self._pump(upstream[0], writer, doomed, requests=False))
        await asyncio.wait({out, back}, return_when=asyncio.FIRST_COMPLETED)
        for task in (out, back):
            task.cancel()
        for end in (writer, upstream[1]):
            end.transport.abort()
        self._connections -= {writer, upstream[1]}
        self._loop.connections -= {writer, upstream[1]}

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, doomed: asyncio.Event, requests: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await self._open.wait()
                await asyncio.sleep(self._delay)
                if requests and self._lose_commit and b"COMMIT" in data:
                    self._lose_commit = False
                    doomed.set()
                elif not requests and doomed.is_set():
                    self.lost_commits += 1
                    return  # the server has committed; nobody hears of it
                sink.write(data)
                await sink.drain()

    @staticmethod
    async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: int) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            if length := re.search(rb"(?i)content-length: *(\d+)", head):
                await reader.readexactly(int(length[1]))  # else the client is reset before it reads the answer
            writer.write(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            await writer.drain()
        writer.close()

    def _cut(self) -> None:
        for writer in self._connections:
            writer.transport.abort()
