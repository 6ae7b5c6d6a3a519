"""The processor of a Mac, through `powermetrics`: `apple://`.

CPU, graphics and neural engine share one package and one figure here. They are Apple's own
estimates, not a measurement of current. `powermetrics` runs as root only, and watches for a
fifth of a second for each reading, so it is started only where the settings name it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

from negawatt.adapters.meters.address import VARIABLE, addresses
from negawatt.adapters.meters.checked import number, watts
from negawatt.core.errors import MeterUnavailable
from negawatt.core.quantities import Watts

_LOOK_MS = 200
_PATIENCE_S = 10.0
_W_PER_MW = 1e-3


class AppleGauge:
    """Power of the package: CPU, graphics and neural engine."""

    poll_every_s = 1.0
    boundary = "package:0"
    limit = Watts(400.0)  # more than the largest of them draws
    name = "apple:package"
    label = "Apple's own estimate"

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def power(self) -> Watts:
        """Mean power over the last fifth of a second.

        Raises:
            MeterUnavailable: `powermetrics` fails, or tells no power.
        """
        processor = self._sample().get("processor", {})
        told = processor.get("combined_power")
        if told is None:  # older systems tell the parts alone
            parts = [processor.get(key) for key in ("cpu_power", "gpu_power", "ane_power")]
            if parts[0] is None:
                raise _failed("it tells no power; Macs with Intel processors have another form")
            told = sum(number(part, self.name) for part in parts if part is not None)
        return watts(number(told, self.name) * _W_PER_MW, self.name, whole=True)

    def _sample(self) -> dict[str, Any]:
        import plistlib
        from xml.parsers.expat import ExpatError

        asked = ["--samplers", "cpu_power", "-n", "1", "-i", str(_LOOK_MS), "-f", "plist"]
        try:
            done = subprocess.run(
                [self._tool, *asked],
                capture_output=True,
                timeout=_PATIENCE_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(str(error)) from error
        if done.returncode != 0:
            raise _failed(done.stderr.decode(errors="replace").strip() or "it ends with an error")
        try:
            # samples are separated by a zero byte
            sample: dict[str, Any] = plistlib.loads(done.stdout.strip(b"\0\n"))
        except (plistlib.InvalidFileException, ValueError, ExpatError) as error:
            raise _failed(f"it prints no property list ({error})") from error
        return sample


def _failed(why: str) -> MeterUnavailable:
    return MeterUnavailable(
        f"powermetrics does not tell what the processor draws: {why}",
        fix="see what `sudo powermetrics --samplers cpu_power -n 1` says",
    )


def discover(platform: str = sys.platform) -> list[AppleGauge]:
    """The processor of this Mac, where the settings name it; none on other machines.

    Raises:
        MeterUnavailable: it is not named, or this user may not ask.
    """
    named = addresses("apple")
    if platform != "darwin":
        return []
    if not named:
        raise MeterUnavailable(
            "this Mac can tell what its processor draws, and is not asked unbidden",
            fix=f"as root (sudo -E): export {VARIABLE}=apple://",
        )
    tool = shutil.which("powermetrics")
    if tool is None or os.geteuid() != 0:
        raise MeterUnavailable(
            "powermetrics answers root only" if tool else "powermetrics is not there",
            fix="run the same command with sudo -E",
        )
    gauge = AppleGauge(tool)
    gauge.power()
    return [gauge]
