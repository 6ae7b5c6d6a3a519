"""Devices that answer HTTP on this machine's own address, as the real ones do on a network."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

Reply = tuple[int, dict[str, str], Any]


class Device:
    """A device with a power and a count, which a test moves; its answers are in subclasses."""

    def __init__(self, *, user: str = "", password: str = "") -> None:
        self.watts, self.joules = 80.0, 11_466_000.0  # 3.185 kWh
        self.broken = False
        self.user, self.password = user, password
        self.asked: list[str] = []
        device = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                device.asked.append(f"{self.command} {self.path}")
                headers = {key.lower(): value for key, value in self.headers.items()}
                if device.broken:
                    status, extra, content = 500, {}, None
                else:
                    status, extra, content = device.answer(self.command, self.path, headers, body)
                text = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                for key, value in {**extra, "Content-Length": str(len(text))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=lambda: self.server.serve_forever(0.005), daemon=True)
        self.thread.start()

    @property
    def place(self) -> str:
        host, port = self.server.server_address[:2]
        return f"{host}:{port}"

    def flow(self, seconds: float) -> None:
        self.joules += self.watts * seconds

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
        raise NotImplementedError

    def knows(self, headers: dict[str, str]) -> bool:
        """Basic authentication."""
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return not self.user or headers.get("authorization") == f"Basic {pair}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class FirstShelly(Device):
    """A Shelly Plug S of the first generation: whole watt-minutes."""

    valid = True

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
        if path == "/shelly":  # always answers, so that a phone can find it
            about = {"type": "SHPLG-S", "mac": "AABBCC", "auth": bool(self.user), "num_meters": 1}
            return 200, {}, about
        if not self.knows(headers):
            return 401, {"WWW-Authenticate": 'Basic realm="shelly"'}, "401 Unauthorized"
        meter = {
            "power": self.watts, "overpower": 0.0, "is_valid": self.valid, "timestamp": 1732380000,
            "counters": [80.0, 80.0, 80.0], "total": int(self.joules // 60),
        }  # fmt: skip
        return 200, {}, {"relays": [{"ison": True}], "meters": [meter], "uptime": 86400}


class LaterShelly(Device):
    """A Shelly Plus Plug S, with the Digest authentication of its generation."""

    nonce, realm = "65a5e6d2", "shellyplusplugs-aabbcc"

    def proven(self, headers: dict[str, str], path: str) -> bool:
        if not self.user:
            return True
        given = parse_keqv_list(parse_http_list(headers.get("authorization", "")[7:]))

        def digest(text: str) -> str:
            return hashlib.sha256(text.encode()).hexdigest()

        first = digest(f"{self.user}:{self.realm}:{self.password}")
        middle = f"{self.nonce}:{given.get('nc')}:{given.get('cnonce')}:auth"
        return given.get("response") == digest(f"{first}:{middle}:{digest(f'GET:{path}')}")

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
        if path == "/shelly":
            about = {"id": self.realm, "gen": 2, "app": "PlusPlugS", "auth_en": bool(self.user)}
            return 200, {}, about
        if path != "/rpc/Switch.GetStatus?id=0":
            return 404, {}, {"code": 404, "message": "No handler for that"}
        if not self.proven(headers, path):
            challenge = (
                f'Digest qop="auth", realm="{self.realm}", nonce="{self.nonce}", algorithm=SHA-256'
            )
            return 401, {"WWW-Authenticate": challenge}, ""
        status = {
            "id": 0, "source": "WS_in", "output": True, "apower": self.watts, "voltage": 230.1,
            "current": 0.348, "temperature": {"tC": 41.2, "tF": 106.2},
            "aenergy": {
                "total": round(self.joules / 3600, 3), "by_minute": [1333.3, 1333.3, 1333.3],
                "minute_ts": 1732380000,
            },
        }  # fmt: skip
        return 200, {}, status


class Tasmota(Device):
    """A plug that runs Tasmota."""

    meters = True

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
        given = parse_qs(urlsplit(path).query)
        if self.user and given.get("password") != [self.password]:
            return 200, {}, {"WARNING": "Need user=<username>&password=<password>"}
        if given.get("cmnd") != ["Status 8"]:
            return 200, {}, {"Command": "Unknown"}
        energy = {
            "TotalStartTime": "2024-01-01T00:00:00", "Total": round(self.joules / 3.6e6, 3),
            "Yesterday": 1.9, "Today": 0.4, "Power": self.watts, "ApparentPower": 85,
            "ReactivePower": 28, "Factor": 0.94, "Voltage": 230, "Current": 0.37,
        }  # fmt: skip
        sensors = {"Time": "2024-11-23T19:00:00"} | ({"ENERGY": energy} if self.meters else {})
        return 200, {}, {"StatusSNS": sensors}


class Redfish(Device):
    """A management controller; a modern one has `EnvironmentMetrics`, an older one `Power`.

    `chassis` are those it lists; all but the first lie in the first unless `apart`.
    """

    chassis = ("Self",)
    apart = False
    sessions_only = False

    def __init__(self, *, modern: bool = False) -> None:
        super().__init__(user="monitor", password="s3cret")  # noqa: S106  # of a fake
        self.modern = modern
        self.sessions: set[str] = set()

    def let_in(self, headers: dict[str, str]) -> bool:
        by_session = headers.get("x-auth-token") in self.sessions
        return by_session or (not self.sessions_only and self.knows(headers))

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
        root = "/redfish/v1"
        if path == f"{root}/SessionService/Sessions" and method == "POST":
            if body != {"UserName": self.user, "Password": self.password}:
                return 401, {}, {"error": {"code": "Base.1.0.InsufficientPrivilege"}}
            self.sessions.add("0123abcd")
            return 201, {"X-Auth-Token": "0123abcd", "Location": f"{path}/7"}, {"Id": "7"}
        if not self.let_in(headers):
            return 401, {"WWW-Authenticate": 'Basic realm="Redfish"'}, {"error": {}}
        if method == "DELETE":
            self.sessions.clear()
            return 200, {}, {}
        if path == f"{root}/Chassis":
            return 200, {}, {"Members": [{"@odata.id": f"{path}/{name}"} for name in self.chassis]}
        name, _, rest = path.removeprefix(f"{root}/Chassis/").partition("/")
        if name not in self.chassis:
            return 404, {}, {"error": {}}
        return self.resource(name, rest, f"{root}/Chassis/{name}")

    def resource(self, name: str, rest: str, home: str) -> Reply:
        if rest == "":
            inner = name != self.chassis[0] and not self.apart
            way = "EnvironmentMetrics" if self.modern else "Power"
            links = {"ContainedBy": {"@odata.id": "/redfish/v1/Chassis/Self"}} if inner else {}
            return 200, {}, {"Id": name, "Links": links, way: {"@odata.id": f"{home}/{way}"}}
        if rest == "Power" and not self.modern:
            control = {
                "MemberId": "0", "Name": "System Power Control", "PowerConsumedWatts": self.watts,
                "PowerCapacityWatts": 1600, "PowerMetrics": {"AverageConsumedWatts": 91},
            }  # fmt: skip
            return 200, {}, {"PowerControl": [control], "PowerSupplies": []}
        if rest == "EnvironmentMetrics" and self.modern:
            metrics = {
                "PowerWatts": {"Reading": self.watts},
                "EnergykWh": {"Reading": round(self.joules / 3.6e6, 3)},
                "EnergyJoules": {"Reading": self.joules},
                "TemperatureCelsius": {"Reading": 24},
            }
            return 200, {}, metrics
        return 404, {}, {"error": {}}
