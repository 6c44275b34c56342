"""uvicorn's HTTP/1.1 protocol with bounds that hold before the application sees a request.

uvicorn with httptools bounds neither the bytes of a header, nor the time that it may take, nor how
many connections are open. It also reads ahead into a body that the application may refuse.
"""

from __future__ import annotations

import json
from asyncio import Transport
from asyncio.events import TimerHandle
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from panoweave.service.http.errors import (
    MEDIA_TYPE,
    HeaderTooLarge,
    HeaderTooSlow,
    MalformedRequest,
    ServiceError,
    TooManyConnections,
)

MAX_HEADER_BYTES: Final = 32 * 2**10  # the request line and all header fields
HEADER_TIMEOUT_S: Final = 10.0
# After a refusal, what the client still sends is discarded for a while: were the connection closed
# at once, TCP would reset it, and the client would never read the answer.
LINGER_S: Final = 2.0
_MAX_LINGER_BYTES: Final = 16 * 2**20
_MAX_PIPELINED: Final = 16


class Connections:
    """The connections of one server, of which there are at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[BoundedHttpProtocol] = set()
        # Those that are between requests or have sent a part of a header, longest first.
        self._waiting: dict[BoundedHttpProtocol, None] = {}

    def admit(self, protocol: BoundedHttpProtocol) -> bool:
        """Whether there is room. If all is taken, the connection that has waited longest for a
        whole header makes room, so that unfinished headers shut nobody out."""
        if len(self._open) >= self._most:
            if not self._waiting:
                return False
            oldest = next(iter(self._waiting))
            self.remove(oldest)
            oldest.transport.abort()
        self._open.add(protocol)
        self.wait(protocol)
        return True

    def wait(self, protocol: BoundedHttpProtocol) -> None:
        if protocol in self._open:
            self._waiting.pop(protocol, None)
            self._waiting[protocol] = None

    def work(self, protocol: BoundedHttpProtocol) -> None:
        self._waiting.pop(protocol, None)

    def remove(self, protocol: BoundedHttpProtocol) -> None:
        self._open.discard(protocol)
        self._waiting.pop(protocol, None)


def bounded_protocol(most_connections: int) -> type[BoundedHttpProtocol]:
    """The protocol class of one server."""
    shared = {"_shared": Connections(most_connections)}
    return type(BoundedHttpProtocol.__name__, (BoundedHttpProtocol,), shared)


class BoundedHttpProtocol(HttpToolsProtocol):
    _shared: ClassVar[Connections]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_header = True  # of the next request, also if nothing of it has arrived
        self._header_bytes = 0
        self._header_timer: TimerHandle | None = None
        self._linger_timer: TimerHandle | None = None
        self._lingered_bytes = 0
        self._paused_before_body = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._shared.admit(self):
            self._start_header_timer()
        else:
            self._refuse(TooManyConnections())

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.remove(self)
        for timer in (self._header_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._linger_timer is not None:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > _MAX_LINGER_BYTES:
                self.transport.abort()
            return
        while data and not self.transport.is_closing():
            if not self._in_header:
                super().data_received(data)
                return
            if self._header_timer is None:
                self._start_header_timer()
            room = MAX_HEADER_BYTES - self._header_bytes
            part, data = data[:room], data[room:]
            self._header_bytes += len(part)
            super().data_received(part)
            if self._in_header and self._header_bytes >= MAX_HEADER_BYTES:
                self._refuse(HeaderTooLarge(f"A header may have {MAX_HEADER_BYTES:,} bytes."))

    def send_400_response(self, msg: str) -> None:
        self._refuse(MalformedRequest(msg))

    def on_headers_complete(self) -> None:
        self._in_header = False
        self._stop_header_timer()
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise ValueError("too many requests before the first one's answer")  # a 400
        self._shared.work(self)
        super().on_headers_complete()
        self.cycle.transport = _ResponseTransport(self, self.cycle)  # type: ignore[assignment]
        if _announces_body(self.headers):
            # Until the application asks for it: it may refuse the request.
            self._paused_before_body = True
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_header, self._header_bytes = True, 0
        if self._paused_before_body:
            self._paused_before_body = False
            if not self.pipeline:
                self.flow.resume_reading()  # or a disconnect would not be noticed

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.pipeline or self.transport.is_closing():
            return
        if self.cycle.more_body:
            self.linger()
        elif self.cycle.response_complete:
            self._shared.wait(self)

    def linger(self) -> None:
        """Discard what the client still sends, then close."""
        if self._linger_timer is not None or self.transport.is_closing():
            return
        self._stop_header_timer()
        self._unset_keepalive_if_required()
        self._shared.wait(self)
        self._linger_timer = self.loop.call_later(LINGER_S, self.transport.abort)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._header_is_too_slow)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_is_too_slow(self) -> None:
        self._header_timer = None
        self._refuse(HeaderTooSlow(f"A header may take {HEADER_TIMEOUT_S:g} s."))

    def _refuse(self, error: ServiceError) -> None:
        """Answer without the application, unless it is answering an earlier request now."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self.transport.write(_raw_answer(error))
        self.linger()


class _ResponseTransport:
    """The transport that an answer is written to. It closes once the client has had time to read
    the answer, if the request's body was not read."""

    def __init__(self, protocol: BoundedHttpProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    def write(self, data: bytes) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        if self._cycle.more_body:
            self._protocol.linger()
        else:
            self._protocol.transport.close()


def _announces_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
        for name, value in headers
    )


def _raw_answer(error: ServiceError) -> bytes:
    body = json.dumps(error.problem()).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **error.headers,
    }
    lines = [f"HTTP/1.1 {error.status} {error.title}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
