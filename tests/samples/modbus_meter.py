"""A meter on pymodbus's own server, on this machine's own address."""

from __future__ import annotations

import asyncio
import threading

from pymodbus.client import ModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

#: Registers, as in the map of an Eastron meter: float32, the high word first.
POWER, ENERGY, COUNT = 12, 342, 400


class ModbusMeter:
    """Unit 1, with power in watts, and energy in kWh and in hundredths of a watt-hour."""

    def __init__(self) -> None:
        self.watts, self.joules, self.broken = 80.0, 11_466_000.0, False
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        self.ready.wait(5)

    def flow(self, seconds: float) -> None:
        self.joules += self.watts * seconds

    def values(self) -> dict[int, list[int]]:
        kinds, make = ModbusTcpClient.DATATYPE, ModbusTcpClient.convert_to_registers
        return {
            POWER: make(self.watts, kinds.FLOAT32),
            ENERGY: make(self.joules / 3.6e6, kinds.FLOAT32),
            COUNT: make(int(self.joules / 36), kinds.UINT32),
        }

    async def _answer(
        self, code: int, start: int, address: int, count: int, registers: list[int], new: object
    ) -> ExcCodes | None:
        if self.broken:
            return ExcCodes.DEVICE_FAILURE
        for place, words in self.values().items():
            for offset, word in enumerate(words):
                registers[place - start + offset] = word
        return None

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._run())
        self.loop.close()

    async def _run(self) -> None:
        block = SimData(0, count=500, values=0, datatype=DataType.REGISTERS)
        device = SimDevice(1, simdata=[block], action=self._answer)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await self.server.listen()
        self.port = self.server.transport.sockets[0].getsockname()[1]
        self.stopped = asyncio.Event()
        self.ready.set()
        await self.stopped.wait()
        await self.server.shutdown()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join(5)
