"""The management controller of this server, through `ipmitool`: `ipmi://`.

It is asked by a program that is started for each reading, once in two seconds while a window is
open, so it is asked only where the settings name it. A controller elsewhere is asked over its own
network by Redfish instead.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from negawatt.adapters.meters.address import VARIABLE, addresses
from negawatt.adapters.meters.outside import OutsideGauge, Sample
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Watts

DEVICES = (Path("/dev/ipmi0"), Path("/dev/ipmi/0"), Path("/dev/ipmidev/0"))

_LARGEST = Watts(12_000.0)  # more than a server with eight GPUs
_PATIENCE_S = 10.0
_POWER = re.compile(r"Instantaneous power reading:\s*(-?\d+) Watts")
_STATE = re.compile(r"Power reading state is:\s*(\w+)")


class IpmiGauge(OutsideGauge):
    """The power that the controller says the server takes in."""

    poll_every_s = 2.0  # a reading takes a tenth of a second, and controllers are slow


def _ask(tool: str) -> Sample:
    """One reading.

    Raises:
        MeterUnavailable: the controller may not be asked, or does not tell.
    """
    try:
        done = subprocess.run(
            [tool, "dcmi", "power", "reading"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _silent(f"ipmitool does not end ({error})") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        if "Could not open device" in done.stderr:
            raise _forbidden(said[0])
        raise _silent(said[0] if said else f"ipmitool ends with {done.returncode}")
    power, state = _POWER.search(done.stdout), _STATE.search(done.stdout)
    if power is None:
        raise _silent("ipmitool prints no instantaneous power")
    if state is not None and state[1] != "activated":
        raise _silent(f"its power measurement is {state[1]}")
    return Sample(power=int(power[1]))


def _forbidden(said: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"the controller may not be asked by this user: {said}",
        fix="until the next boot: sudo chmod g+rw /dev/ipmi0 && sudo chgrp power /dev/ipmi0\n"
        '  for good: write KERNEL=="ipmi*", GROUP="power", MODE="0660"\n'
        "  to /etc/udev/rules.d/70-ipmi.rules, join the group power, and restart",
    )


def _silent(why: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"the controller does not tell its power: {why}",
        fix="see what `sudo ipmitool dcmi power reading` says; without DCMI try redfish://",
    )


def discover(devices: tuple[Path, ...] = DEVICES) -> list[OutsideGauge]:
    """The controller, where the settings name it.

    Raises:
        MeterUnavailable: there is one that is not named, or the one named cannot be asked.
    """
    named = addresses("ipmi")
    if not named:
        if any(device.exists() for device in devices):
            raise MeterUnavailable(
                "this server has a controller that may know its power, and is not asked unbidden",
                fix=f"export {VARIABLE}=ipmi://",
            )
        return []
    tool = shutil.which("ipmitool")
    if tool is None:
        raise MeterUnavailable(
            "the controller is asked through ipmitool, which is not installed",
            fix="install it (on Debian and Ubuntu: sudo apt install ipmitool)",
        )
    gauge = IpmiGauge("ipmi:dcmi", named[0].boundary, lambda: _ask(tool), limit=_LARGEST)
    gauge.power()
    return [gauge]
