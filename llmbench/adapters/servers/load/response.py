"""The bytes of an HTTP/1.1 response as they come, each piece of its body with its time."""

from __future__ import annotations

from llmbench import limits

HEAD_BYTES = 1 << 16  # of a response, before its body
END = b"[DONE]"


class Broken(Exception):
    """What a server sends is no HTTP, or has no end."""


class Response:
    """One response. `pieces`: (time in ns, bytes of the body). `keeps`: whether the connection can
    be used again once it is done. `says_end`: whether its last line says that nothing follows.
    """

    def __init__(self) -> None:
        self.status = 0
        self.pieces: list[tuple[int, bytes]] = []
        self.is_done = self.keeps = self.says_end = False
        self.last = 0  # when something came, in ns
        self._buffer = bytearray()
        self._is_chunked, self._left = False, -1  # bytes of the body, or of the chunk; -1: unknown
        self._size = 0

    def feed(self, data: bytes, at: int) -> None:
        """Take what has arrived. Raises Broken."""
        self.last = at
        self._size += len(data)
        if self._size > limits.SERVER_BYTES:
            raise Broken("the server's answer has no end")
        self._buffer += data
        while not self.status or self.status < 200:
            if not self._take_head():
                return
        if self._is_chunked:
            self._take_chunks(at)
        else:
            self._take_plain(at)

    def close(self) -> bool:
        """The connection was closed. Return whether the response is whole."""
        if self.status >= 200 and not self._is_chunked and self._left == -1:
            self.is_done = True
        return self.is_done or self.says_end

    def _take_head(self) -> bool:
        """Read the head, if it is whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_BYTES:
                raise Broken("the head of the server's answer has no end")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        del self._buffer[: end + 4]
        parts = first.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            raise Broken("the server does not answer in HTTP")
        self.status = int(parts[1][:4])
        self._read_fields(lines, is_old=parts[0] == b"HTTP/1.0")
        return True

    def _read_fields(self, lines: list[bytes], is_old: bool) -> None:
        pairs = (line.partition(b":") for line in lines)
        fields = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
        self.keeps = fields.get(b"connection") != b"close" and not is_old
        self._is_chunked = b"chunked" in fields.get(b"transfer-encoding", b"")
        length = fields.get(b"content-length", b"")
        self._left = int(length[:12]) if length.isdigit() and not self._is_chunked else -1
        if not self._is_chunked and self._left == -1:
            self.keeps = False

    def _take_plain(self, at: int) -> None:
        self._add(bytes(self._buffer), at)
        if self._left >= 0:
            self._left -= len(self._buffer)
            self.is_done = self._left <= 0
        self._buffer.clear()

    def _take_chunks(self, at: int) -> None:
        """Take whole chunks, and of the last one what is there."""
        buffer, found = self._buffer, bytearray()
        while not self.is_done:
            if self._left > 0:  # of a chunk, the line's end behind it counted
                if len(buffer) < self._left:
                    break
                found += buffer[: self._left - 2]
                del buffer[: self._left]
                self._left = -1
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > HEAD_BYTES:
                    raise Broken("the server's chunks have no size")
                break
            self._take_size(bytes(buffer[:end]))
            del buffer[: end + 2]
        self._add(bytes(found), at)

    def _take_size(self, line: bytes) -> None:
        if self._left == 0:  # after the last chunk: fields, and an empty line
            self.is_done = not line
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise Broken("the server's chunks have no size") from None
        self._left = size + 2 if size else 0

    def _add(self, data: bytes, at: int) -> None:
        if data:
            self.pieces.append((at, data))
            self.says_end = data.rstrip().endswith(END)
