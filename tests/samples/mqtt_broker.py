"""As much of an MQTT 3.1.1 broker as one subscriber meets, on this machine's own address."""

from __future__ import annotations

import contextlib
import socket
import threading

CONNECT, CONNACK, PUBLISH, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = (
    0x10, 0x20, 0x30, 0x80, 0x90, 0xC0, 0xD0, 0xE0,
)  # fmt: skip


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def packet(kind: int, body: bytes) -> bytes:
    size, length = b"", len(body)
    while True:
        length, digit = divmod(length, 128)
        size += bytes([digit | (0x80 if length else 0)])
        if not length:
            return bytes([kind]) + size + body


class Broker:
    """Keeps the last message of each topic and gives it to whoever subscribes, and each new one."""

    def __init__(self, *, user: str = "", password: str = "") -> None:
        self.user, self.password = user, password
        self.retained: dict[str, bytes] = {}
        self.readers: dict[socket.socket, str] = {}
        self.door = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self.door.getsockname()[1]}"
        self.threads = [threading.Thread(target=self._open, daemon=True)]
        self.threads[0].start()

    def publish(self, topic: str, payload: str) -> None:
        self.retained[topic] = payload.encode()
        for reader, wanted in list(self.readers.items()):
            if wanted == topic:
                reader.sendall(packet(PUBLISH, text(topic) + payload.encode()))

    def _open(self) -> None:
        while True:
            try:
                guest, _ = self.door.accept()
            except OSError:
                return  # closed
            self.threads.append(threading.Thread(target=self._serve, args=(guest,), daemon=True))
            self.threads[-1].start()

    def _serve(self, guest: socket.socket) -> None:
        with guest, guest.makefile("rb") as lines:
            while head := lines.read(1):
                length, shift = 0, 0
                while True:
                    digit = lines.read(1)[0]
                    length |= (digit & 0x7F) << shift
                    shift += 7
                    if digit < 0x80:
                        break
                if not self._answer(guest, head[0] & 0xF0, lines.read(length)):
                    break
        self.readers.pop(guest, None)

    def _answer(self, guest: socket.socket, kind: int, body: bytes) -> bool:
        if kind == CONNECT:
            known = not self.user or body.endswith(text(self.user) + text(self.password))
            guest.sendall(packet(CONNACK, bytes([0, 0 if known else 5])))
            return known
        if kind == SUBSCRIBE:
            topic = body[4 : 4 + int.from_bytes(body[2:4], "big")].decode()
            guest.sendall(packet(SUBACK, body[:2] + b"\0"))
            self.readers[guest] = topic
            if topic in self.retained:
                guest.sendall(packet(PUBLISH, text(topic) + self.retained[topic]))
        if kind == PINGREQ:
            guest.sendall(packet(PINGRESP, b""))
        return kind != DISCONNECT

    def close(self) -> None:
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()
        for reader in list(self.readers):
            with contextlib.suppress(OSError):  # it has left by itself
                reader.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)
