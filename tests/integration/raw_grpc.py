"""One gRPC call, byte by byte: for requests that no well-behaved client would send."""
import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def field(number, value):
    """A field of a protobuf message: an int as a varint, bytes or text with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def integer(data, at, bits):
    most = (1 << bits) - 1
    n = data[at] & most
    at += 1
    if n == most:
        shift = 0
        while True:
            n += (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
    return n, at


def text(data, at):
    n, end = integer(data, at, 7)
    return (b"?" if data[at] & 128 else data[end:end + n]), end + n


def headers(data):
    """Those with a literal name; the peer was told to keep no table. What is compressed is '?'."""
    found, at = {}, 0
    while at < len(data):
        first = data[at]
        if first & 0x80:
            at = integer(data, at, 7)[1]
        elif first & 0xE0 == 0x20:
            at = integer(data, at, 5)[1]
        else:
            index, at = integer(data, at, 6 if first & 0x40 else 4)
            name, at = (b"", at) if index else text(data, at)
            value, at = text(data, at)
            found[name.decode()] = value.decode()
    return found


class Call:
    def __init__(self, endpoint, path, timeout=30):
        host, port = endpoint.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.window = {0: 65535, 1: 65535}
        self.found = {}
        self.ended = False
        head = b"\x83\x86" + literal(":path", path) + literal(":authority", endpoint)
        head += literal("content-type", "application/grpc") + literal("te", "trailers")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0)) +
                            frame(HEADERS, END_HEADERS, 1, head))

    def exactly(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data

    def receive(self):
        head = self.exactly(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = self.exactly(int.from_bytes(head[:3], "big"))
        if kind == HEADERS:
            self.found.update(headers(payload))
        elif kind == WINDOW_UPDATE:
            self.window[stream] += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for i in range(0, len(payload), 6):
                key, value = struct.unpack(">HI", payload[i:i + 6])
                if key == 4:
                    self.window[1] += value - 65535
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            raise ConnectionError(f"the server says {payload!r}")
        if stream == 1 and (kind == RST_STREAM or kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended = True

    def send(self, message):
        body = b"\0" + struct.pack(">I", len(message)) + message
        while body and not self.ended:
            room = min(self.window[0], self.window[1], 16384)
            if room <= 0:
                self.receive()
                continue
            self.socket.sendall(frame(DATA, 0, 1, body[:room]))
            self.window[0] -= room
            self.window[1] -= room
            body = body[room:]
        if not self.ended:
            self.socket.sendall(frame(DATA, END_STREAM, 1))


def unary(endpoint, path, message):
    """(grpc-status, grpc-message) of one call."""
    call = Call(endpoint, path)
    try:
        call.send(message)
        while not call.ended:
            call.receive()
        return int(call.found["grpc-status"]), call.found.get("grpc-message", "")
    finally:
        call.socket.close()
