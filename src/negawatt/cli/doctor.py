"""`negawatt doctor`: what can be measured here, what is missing and how to get it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.core.estimate import Estimate
    from negawatt.meters.checkup import Checkup
    from negawatt.meters.inventory import Missing

_BAR = 26  # cells of the band's ruler
_LABEL = 17  # cells of the left column
_GB = 1e9
_LARGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
#: What is there to be pasted, up to the end of the line or of the clause.
_COMMAND = re.compile(r"\b(?:chmod|export|pip install|sudo|write)\s.+?(?=; |$)", re.MULTILINE)
_GLUE = "\N{NO-BREAK SPACE}"  # stands for the spaces of a command while a text is broken


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
    more: str


_DRAWN = _Glyphs("✓", "✗", "├", "─", "●", "┤", "…")
_TYPED = _Glyphs("+", "x", "|", "-", "o", "|", "...")


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

    def _say(self, label: str, text: str, style: str = "", *, whole: bool = False) -> None:
        """One row, or a few; whatever comes from outside is printed as it is, never as markup.

        Rows end where the terminal does. A command in them is not broken, so that it can be
        pasted; nor is anything when `whole` is set.
        """
        head = f"  {label:<{_LABEL - 1}} "
        self._console.print(head, end="", style="bold", markup=False)
        if not whole:
            text = "\n".join(self._wrapped(text, len(head), _LABEL + 2)) or text
        self._console.print(text, style=style, markup=False)

    def _wrapped(self, text: str, begins: int, indent: int) -> list[str]:
        """Rows of a text whose first one begins in some column, and the others in another."""
        from textwrap import wrap

        glued = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), text)
        rows = wrap(
            glued,
            max(self._console.width, 2 * _LABEL),
            initial_indent=" " * begins,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        rows = [row.replace(_GLUE, " ") for row in rows]
        return [row[begins:] if number == 0 else row for number, row in enumerate(rows)]

    def _fix(self, text: str) -> None:
        """What to do, line by line."""
        begins = _LABEL + 2 + len("fix: ")
        for number, line in enumerate(text.splitlines()):
            head = "fix: " if number == 0 else "     "
            rows = self._wrapped(line.strip(), begins, begins)
            self._say("", head + "\n".join(rows), "cyan", whole=True)

    def _fitting(self, names: str) -> str:
        """Names as far as the left column holds them."""
        room = _LABEL - 4  # a mark and a space before them, a space after
        if len(names) <= room:
            return names
        first, _, _ = names[: room - len(self._glyphs.more)].rpartition(", ")
        return f"{first}, {self._glyphs.more}" if first else names

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
            self._say(f"{no} {self._fitting(missing.adapter)}", missing.reason, "yellow")
            self._fix(missing.fix)

    def _band(self) -> None:
        found = self._found
        if found.measures_cpu:
            return
        self._title("What is modelled instead: CPU package and memory, your share")
        self._say("at rest", self._ruler(found.rest), whole=True)
        self._say("all busy", self._ruler(found.full), whole=True)
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
        self._title("This machine and its software")
        self._say("usable", self._room())
        able = [one for one in found.abilities if one.present]
        told = (f"{one.name} ({one.present[0]})" for one in able)  # the best comes first
        if able:
            self._say(f"{self._glyphs.yes} fast at", ", ".join(told))
        for ability in found.abilities:
            if not ability.present:
                self._say(f"{self._glyphs.no} {ability.name}", "none, done the slow way", "yellow")
        self._large_pages(machine.large_pages)
        limits = machine.limits
        if limits.cpus is None and limits.memory_bytes is None:
            return
        cpus = "no CPU limit" if limits.cpus is None else f"{limits.cpus:g} CPUs"
        memory = (
            "no memory limit"
            if limits.memory_bytes is None
            else f"{limits.memory_bytes / _GB:.1f} GB of memory"
        )
        self._say("control group", f"{cpus}, {memory}")

    def _large_pages(self, given: str) -> None:
        """Whether weights can lie where a token waits least for them; nothing off Linux."""
        if given == "never":
            told = "the system gives none, so engines take longer for a token"
            self._say(f"{self._glyphs.no} large pages", told, "yellow")
            self._fix(f"sudo sh -c 'echo madvise > {_LARGE_PAGES}'")
        elif given:
            self._say(
                f"{self._glyphs.yes} large pages", "taken for weights by llama.cpp and OpenVINO"
            )

    def _room(self) -> str:
        """Threads, memory and disk, each of what there is."""
        machine, disk = self._found.machine, self._found.disk
        return (
            f"{machine.threads_usable:g} of {machine.threads_present} threads,"
            f" {machine.memory_usable / _GB:.1f} of {machine.memory_present / _GB:.1f} GB memory,"
            f" {disk.free_bytes / _GB:.0f} of {disk.total_bytes / _GB:.0f} GB disk"
        )

    def _software(self) -> None:
        self._say(
            "versions",
            ", ".join(f"{name} {version}" for name, version in self._found.versions.items()),
        )
        extras = self._found.extras
        single = [  # one that is made of others lacks nothing more than they do
            one
            for one in extras
            if not set(one.lacks)
            <= {n for other in extras if other is not one for n in other.lacks}
            or not any(set(other.lacks) < set(one.lacks) for other in extras)
        ]
        if len(single) == 1:
            self._say(f"{self._glyphs.no} {single[0].name}", f"lacks {', '.join(single[0].lacks)}")
            self._fix(single[0].install)
        elif single:
            names = [one.name for one in single]
            self._say(f"{self._glyphs.no} extras", f"not installed: {', '.join(names)}", "yellow")
            self._fix(f"those you want, as in pip install 'negawatt[{names[0]}]'")

    def _verdict(self) -> None:
        self._title("In short")
        if self._found.measures_cpu:
            self._console.print("  Joules are measured here.")
            return
        each = self._found.per_cpu_second
        self._console.print(
            f"  Joules are modelled: the ends of the range lie a factor of "
            f"{each.high / each.low:.0f} apart.\n"
            "  CPU-seconds are measured: which of two variants takes fewer is certain.",
            markup=False,
        )
        better = [one for one in self._found.missing if _tells_cpu(one)]
        if better:
            fix, _, _ = better[0].fix.splitlines()[0].strip().partition("; ")
            head = "  To do better: "
            rows = self._wrapped(fix, len(head), len(head))
            self._console.print(head + "\n".join(rows), style="cyan", markup=False)


def _tells_cpu(missing: Missing) -> bool:
    """True when what is missing would count the processor's energy, and not a plug's or a GPU's."""
    return bool(
        {"rapl", "perf_event", "hwmon", "apple", "battery"} & {*missing.adapter.split(", ")}
    )


def _range(watts: Estimate) -> str:
    return f"{watts.value:.3g} W ({watts.low:.2g} to {watts.high:.2g}, {watts.kind})"
