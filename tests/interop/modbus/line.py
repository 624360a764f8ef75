"""Two Modbus RTU devices on the line argv[1], by pymodbus. A line on standard input is answered with what they have."""

import asyncio
import json
import logging
import sys

from pymodbus import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

COIL, HOLDING = 1, 3
GHOST = 19


def device(number, temperature):
    coils = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    discrete = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
    holding = [0] * 100
    holding[16] = 40
    inputs = [0] * 100
    inputs[4] = temperature & 0xFFFF
    # 230.5 as f32, the higher half first; 65538 as u32, the lower half first.
    inputs[30:32] = [0x4366, 0x8000]
    inputs[40:42] = [2, 1]
    registers = [[SimData(0, values=values, datatype=DataType.REGISTERS)] for values in (holding, inputs)]
    return SimDevice(number, simdata=(coils, discrete, *registers))


def silence(sending, data):
    """Nobody answers for a device that is not there: pymodbus 3.16 does, whatever `ignore_missing_devices` says."""
    return b"" if sending and data[:1] == bytes([GHOST]) else data


async def main():
    logging.getLogger("pymodbus_internal").setLevel(logging.CRITICAL + 1)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
    server = ModbusSerialServer(
        [device(17, -50), device(18, 215)],
        framer=FramerType.RTU,
        port=sys.argv[1],
        # A pseudo-terminal has no parity, and pyserial insists on what it asked for.
        baudrate=19200,
        trace_packet=silence,
    )
    await server.serve_forever(background=True)
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        there = {}
        for number in (17, 18):
            async def has(function, first, count):
                return await server.context.async_getValues(number, function, first, count)

            there[number] = {
                "setpoint": (await has(HOLDING, 16, 1))[0],
                "limit": list(await has(HOLDING, 20, 2)),
                "relay": int((await has(COIL, 3, 1))[0]),
            }
        print(json.dumps(there), flush=True)


asyncio.run(main())
