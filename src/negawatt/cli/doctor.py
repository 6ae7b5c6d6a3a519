"""`negawatt doctor`: what can be measured here, what is missing and how to get it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.core.estimate import Estimate
    from negawatt.meters.checkup import Checkup

_BAR = 32  # cells of the band's ruler
_LABEL = 19  # cells of the left column
_GB = 1e9


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool) -> None:
    """Tell what can be measured here, what is missing and how to get it.

    Looks, and changes nothing. Where a counter is missing, the command that brings it is
    printed ready to paste.

    \b
    Example:
      negawatt doctor
    """
    from negawatt import settings
    from negawatt.meters import checkup

    settings.name_meters(settings.load())
    found = checkup.examine()
    if as_json:
        from negawatt.core.codec import encode

        click.echo(json.dumps(encode(found), ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    _Screen(Console(highlight=False, soft_wrap=True), found).show()


@dataclass(frozen=True, slots=True)
class _Glyphs:
    yes: str
    no: str
    low: str
    line: str
    dot: str
    high: str


_DRAWN = _Glyphs("✓", "✗", "├", "─", "●", "┤")
_TYPED = _Glyphs("+", "x", "|", "-", "o", "|")


class _Screen:
    """The checkup on a terminal, section by section."""

    def __init__(self, console: Console, found: Checkup) -> None:
        self._console = console
        self._found = found
        self._glyphs = _TYPED if console.options.ascii_only else _DRAWN

    def show(self) -> None:
        """Print everything."""
        self._headline()
        self._energy()
        self._band()
        self._machine()
        self._software()
        self._verdict()

    def _say(self, label: str, text: str, style: str = "") -> None:
        """One row; whatever comes from outside is printed as it is, never as markup."""
        self._console.print(f"  {label:<{_LABEL - 1}} ", end="", style="bold", markup=False)
        self._console.print(text, style=style, markup=False)

    def _title(self, text: str) -> None:
        self._console.print(f"\n{text}", style="bold green")

    def _headline(self) -> None:
        machine = self._found.machine
        name = machine.cpu.name or "a CPU that does not say its name"
        self._console.print("negawatt doctor", style="bold", end="")
        self._console.print(f"  {name}, {machine.system}", style="dim", markup=False)

    def _energy(self) -> None:
        self._title("What can be measured")
        yes, no = self._glyphs.yes, self._glyphs.no
        for meter in self._found.meters:
            self._say(
                f"{yes} {meter.name}", f"{meter.boundary}, now {_range(meter.power)}", "green"
            )
        self._say(f"{yes} CPU time", "of this process and the children it waited for", "green")
        for failure in self._found.unread:
            self._say(f"{no} failing", failure, "red")
        for missing in self._found.missing:
            self._say(f"{no} {missing.adapter}", missing.reason, "yellow")
            for number, line in enumerate(missing.fix.splitlines()):
                self._say("", f"{'fix: ' if number == 0 else '     '}{line.strip()}", "cyan")

    def _band(self) -> None:
        found = self._found
        if found.measures_cpu:
            return
        self._title("What is modelled instead: CPU package and memory, your share")
        self._say("at rest", self._ruler(found.rest))
        self._say("all busy", self._ruler(found.full))
        each = found.per_cpu_second
        self._say("a CPU-second", f"adds {each.value:.2g} J ({each.low:.2g} to {each.high:.2g})")
        entry = f"facts about {found.cpu_entry}"
        certain = entry if found.cpu_known else f"{entry}: a stand-in, this CPU is not in the table"
        self._say("from", f"{certain}; {found.machine.share}")
        self._say("holds", self._coverage())

    def _coverage(self) -> str:
        """How often the truth lies between the ends, as far as that was tried."""
        if self._found.covers is None:
            return "its ends were not tried on servers with this kind of processor"
        return f"covers {self._found.covers:.0%} of servers that its fit had not seen"

    def _ruler(self, watts: Estimate) -> str:
        """An interval drawn to the scale of full power, with its numbers."""
        scale = (_BAR - 1) / self._found.full.high
        low, value, high = (round(w * scale) for w in (watts.low, watts.value, watts.high))
        cells = [" "] * _BAR
        cells[low : high + 1] = self._glyphs.line * (high - low + 1)
        cells[low], cells[high], cells[value] = (
            self._glyphs.low,
            self._glyphs.high,
            self._glyphs.dot,
        )
        return f"{''.join(cells)}  {_range(watts)}"

    def _machine(self) -> None:
        found, machine = self._found, self._found.machine
        self._title("This machine")
        self._say("threads", f"{machine.threads_usable:g} usable of {machine.threads_present}")
        for ability in found.abilities:
            if ability.present:
                self._say(ability.name, f"{self._glyphs.yes} {', '.join(ability.present)}")
            else:
                self._say(ability.name, f"{self._glyphs.no} none, done the slow way", "yellow")
        usable, present = machine.memory_usable / _GB, machine.memory_present / _GB
        self._say("memory", f"{usable:.1f} GB usable of {present:.1f} GB")
        disk = found.disk
        self._say(
            "disk",
            f"{disk.free_bytes / _GB:.0f} GB free of {disk.total_bytes / _GB:.0f} GB, {disk.folder}",
        )
        limits = machine.limits
        cpus = "no CPU limit" if limits.cpus is None else f"{limits.cpus:g} CPUs"
        memory = (
            "no memory limit"
            if limits.memory_bytes is None
            else f"{limits.memory_bytes / _GB:.1f} GB of memory"
        )
        self._say("control group", f"{cpus}, {memory}")

    def _software(self) -> None:
        self._title("Software")
        self._say(
            "versions",
            ", ".join(f"{name} {version}" for name, version in self._found.versions.items()),
        )
        for extra in self._found.extras:
            self._say(
                f"{self._glyphs.no} {extra.name}", f"lacks {', '.join(extra.lacks)}", "yellow"
            )
            self._say("", f"fix: {extra.install}", "cyan")

    def _verdict(self) -> None:
        self._title("In short")
        if self._found.measures_cpu:
            self._console.print("  Joules are measured here.")
            return
        each = self._found.per_cpu_second
        self._console.print(
            f"  Joules are modelled here: the ends of the range lie a factor of "
            f"{each.high / each.low:.0f} apart.\n"
            "  CPU-seconds are measured: which of two variants takes fewer, and by what ratio, is "
            "certain.",
            markup=False,
        )


def _range(watts: Estimate) -> str:
    return f"{watts.value:.3g} W ({watts.low:.2g} to {watts.high:.2g}, {watts.kind})"
