"""Messages over a socket pair: a length and as many bytes. The trainer's end never waits, a worker's does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_HEAD = struct.Struct("!Q")
MAX_MESSAGE = 64 * 2**20  # bytes; more is a fault of the environment
_PIECE = 1 << 16
_READ_AT_ONCE = 4 * 2**20  # bytes per look, so that a flood from one worker does not keep the trainer from the others


class ChannelClosedError(ConnectionError):
    """The other end is gone."""


class OversizeError(ValueError):
    """A message is longer than is taken."""


class WaitingChannel:
    """A worker's end: `receive` waits for a whole message, and `send` until all of it is taken."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: bytes) -> None:
        """Send one message."""
        self._connection.sendall(_HEAD.pack(len(message)) + message)

    def receive(self) -> bytes:
        """The next message.

        Raises:
            ChannelClosedError: The trainer is gone.
        """
        (length,) = _HEAD.unpack(self._exactly(_HEAD.size))
        return self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            piece = self._connection.recv(min(count - len(parts), 1 << 20))
            if not piece:
                raise ChannelClosedError("the trainer has closed its end")
            parts += piece
        return bytes(parts)


class PollingChannel:
    """The trainer's end: half a message of a worker that was stopped in its middle holds nothing up."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setblocking(False)
        self._inward = bytearray()
        self._outward = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """For `selectors`."""
        return self._connection.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits to be taken by the other end."""
        return bool(self._outward)

    def send(self, message: bytes) -> None:
        """Put a message on its way."""
        self._outward += _HEAD.pack(len(message)) + message
        self.flush()

    def flush(self) -> None:
        """Write as much as the other end takes now."""
        while self._outward and not self.closed:
            try:
                sent = self._connection.send(self._outward[:_PIECE])
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                return
            del self._outward[:sent]

    def messages(self) -> Iterator[bytes]:
        """The messages that have arrived; afterwards `closed` says whether the other end is gone.

        Raises:
            OversizeError: One is announced that is longer than is taken.
        """
        taken = 0
        while not self.closed and taken < _READ_AT_ONCE:
            try:
                piece = self._connection.recv(_PIECE)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                self.closed = True
            self._inward += piece
            taken += len(piece)
        while len(self._inward) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._inward)
            if length > MAX_MESSAGE:
                raise OversizeError(f"expected a message of at most {MAX_MESSAGE:,} bytes, got one of {length:,}")
            if len(self._inward) < _HEAD.size + length:
                return
            message = bytes(self._inward[_HEAD.size : _HEAD.size + length])
            del self._inward[: _HEAD.size + length]
            yield message

    def close(self) -> None:
        """Close this end."""
        self.closed = True
        self._connection.close()
