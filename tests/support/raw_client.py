"""A client of a server that is a socket, and reads answers as they are framed."""

from __future__ import annotations

import json
import socket

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def asking(path="/openai/v1/chat/completions", body=CHAT, *, version="1.1", headers=()):
    """Return the bytes of a request."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "host: x", f"content-length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


class Client:
    """A socket that reads answers as they are framed."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self._file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def head(self):
        """Return the status and the headers of the next answer."""
        status = int(self._file.readline().split()[1])
        lines = iter(self._file.readline, b"\r\n")
        return status, dict(line.decode().strip().split(": ", 1) for line in lines)

    def chunks(self, found=None):
        """Return the chunks of a body; what is there before it breaks is in the list that is given."""
        found = [] if found is None else found
        while size := int(self._file.readline(), 16):
            chunk = self._file.read(size + 2)
            if len(chunk) < size + 2:
                raise EOFError
            assert chunk[size:] == b"\r\n"
            found.append(chunk[:size])
        assert self._file.readline() == b"\r\n"
        return found

    def body(self, size):
        """Return a body of a length."""
        found = self._file.read(size)
        if len(found) < size:
            raise EOFError
        return found

    def answer(self):
        """Return status, headers and the chunks of the next answer, or its whole body."""
        status, headers = self.head()
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, self.chunks()
        return status, headers, [self._file.read(int(headers["content-length"]) if "content-length" in headers else -1)]

    def is_at_end(self):
        """Tell whether the server has ended the connection."""
        return self._file.read(1) == b""

    def close(self):
        self._file.close()
        self.socket.close()
