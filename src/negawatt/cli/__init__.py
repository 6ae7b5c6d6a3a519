"""The command line. A verb is one thin file here, imported only when it is asked for."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from types import MappingProxyType

import click

from negawatt.core.errors import NegawattError

#: Verb -> its line in the list of commands. Kept here so that listing imports no verb.
VERBS = MappingProxyType(
    {
        "optimize": "Find the variant of MODEL that spends the fewest joules.",
        "plan": "Tell when and where a job runs cleanest, and why.",
        "measure": "Run CMD and tell its energy and carbon, like `time` tells its seconds.",
        "predict": "Tell the joules per token of MODEL before running it.",
        "calibrate": "Learn what a device takes from windows measured on it, for predictions.",
        "quantise": "Round MODEL by one method in one format, and tell what that loses.",
        "prune": "Take channels, heads, blocks or tokens out, so that less is multiplied.",
        "agree": "Tell whether VARIANT decides as BASE does, and which text loses most.",
        "engines": "Tell which installed engine runs MODEL on the fewest joules for a workload.",
        "cache": "Tell what narrower key-value caches lose and take when MODEL writes.",
        "endpoint": "Tell how well and fast a server at ADDRESS serves, beside its base.",
        "explain": "Tell where the joules of requests to MODEL go, and what would make them fewer.",
        "grid": "Show the carbon intensity of ZONE in the hours ahead, or what it was.",
        "place": "Choose which machines read and which write for whom.",
        "site": "Run a site with its own solar, battery and cooling at the fewest grams.",
        "backtest": "Tell what policies would have emitted, each with what was known then.",
        "design": "Explore accelerators that would run MODEL on the fewest joules.",
        "run": "Run CMD in the cleanest hours before its deadline.",
        "queue": "Keep jobs with deadlines, and run them in clean hours by turns.",
        "report": "Show what was found: totals of a ledger, or the result of an optimisation.",
        "footprint": "Tell what an energy means outside the machine, each figure with its source.",
        "ledger": "Look into the ledger, verify and sign it, take it elsewhere.",
        "doctor": "Tell what can be measured here, what is missing and how to get it.",
        "settings": "List every setting with its value and where it came from.",
    }
)

#: What a verb leaves behind when it is interrupted; silence means nothing.
_INTERRUPTED = MappingProxyType(
    {
        "optimize": "finished steps are kept: the same command goes on from there",
        "measure": "the command it ran was interrupted too",
        "run": "the command runs on where it had begun: `negawatt run --resume` goes on with it",
        "quantise": "finished layers are kept: the same command goes on from there",
        "prune": "finished steps are kept: the same command goes on from there",
        "agree": "finished steps are kept: the same command goes on from there",
        "engines": "finished races are kept: the same command goes on from there",
        "cache": "finished engines are kept: the same command goes on from there",
        "calibrate": "finished windows are kept: the same command goes on from there",
    }
)

_INTERRUPTED_STATUS = 130  # 128 + SIGINT, as shells do


class Verbs(click.Group):
    """A group whose commands live in `negawatt.cli.<verb>.command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, most wanted first."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module; None when there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"negawatt.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="negawatt", message="%(prog)s %(version)s")
def root() -> None:
    """Make a language model do the same work on fewer joules, and prove it.

    Start with `negawatt doctor`, which tells what this machine can measure,
    then `negawatt optimize MODEL`.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    A verb's return value is its exit status when it is a whole number. Errors
    raised on purpose become one message and the exit status of their class;
    any other keeps its traceback, because it is a defect of this program.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without × or µ gets a ?
            stream.reconfigure(errors="replace")
    try:
        status = root.main(words, prog_name="negawatt", standalone_mode=False)
        sys.stdout.flush()
    except NegawattError as error:
        return _fail(error.what, error.fix, error.exit_status, words)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _fail(_sentence(error), _where_to_look(error), error.exit_code, words)
    except (click.Abort, KeyboardInterrupt):
        verb = next((word for word in words if word in VERBS), "")
        click.echo("; ".join(filter(None, ["interrupted", _INTERRUPTED.get(verb)])), err=True)
        return _INTERRUPTED_STATUS
    except BrokenPipeError:
        # The reader has left, as `| head` does. Nothing may be flushed into the
        # closed pipe when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _fail(what: str, fix: str, status: int, words: Sequence[str]) -> int:
    """Say what went wrong and what to type next; with `--json`, as an object."""
    click.echo(f"error: {what}\n  fix: {fix}", err=True)
    own = words[: words.index("--")] if "--" in words else words
    if "--json" in own:
        click.echo(json.dumps({"error": what, "fix": fix}, ensure_ascii=False))
    return status


def _sentence(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]


def _where_to_look(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see `{context.command_path if context else 'negawatt'} --help`"
