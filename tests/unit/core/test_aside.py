"""Standard output holds the result alone, whatever C code writes there."""

from __future__ import annotations

import json
import subprocess
import sys

_PREAMBLE = """
import ctypes, json, os, sys
from negawatt.core.aside import stdout_aside
say = ctypes.CDLL(None).puts
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # a fixed program, no shell
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )


def test_what_c_and_python_write_meanwhile_goes_to_standard_error() -> None:
    done = run(
        _PREAMBLE
        + """
print("before", end=" ")
say(b"before in C")
with stdout_aside():
    say(b"chatter in C")  # held back by C: it is no terminal
    print("chatter in Python")
    os.write(1, b"chatter of a descriptor\\n")
    with stdout_aside():
        say(b"chatter further in")
    say(b"chatter further out")
print("after")
"""
    )
    assert done.stdout == "before before in C\nafter\n"
    assert done.stderr.count("chatter") == 5


def test_an_error_puts_it_back() -> None:
    done = run(
        _PREAMBLE
        + """
try:
    with stdout_aside():
        raise ValueError
except ValueError:
    print("back")
"""
    )
    assert (done.stdout, done.stderr) == ("back\n", "")


def test_a_closed_standard_output_stays_closed() -> None:
    done = run(
        _PREAMBLE
        + """
os.close(1)
with stdout_aside():
    pass
try:
    os.fstat(1)
except OSError:
    print("closed", file=sys.stderr)
"""
    )
    assert "closed" in done.stderr


def test_a_solver_that_talks_leaves_the_output_to_the_result() -> None:
    """HiGHS writes from C; made to tell all it does, nothing of it comes between."""
    done = run(
        """
import json
import numpy as np
import scipy.optimize
from negawatt.compress import assign

def loud(solve):
    def solved(*given, options=None, **named):
        return solve(*given, options=(options or {}) | {"disp": True}, **named)
    return solved

assign.milp, assign.linprog = loud(assign.milp), loud(assign.linprog)
groups = [slice(0, 2), slice(2, 4)]
loss, energy = np.array([0.0, 3.0, 0.0, 1.0]), np.array([10.0, 5.0, 10.0, 5.0])
room = assign.Room(np.array([4.0, 2.0, 4.0, 2.0]), 7.0)
picked = assign.assign(loss, energy, groups, 15.0, room).tolist()
price = assign.shadow_price(loss, energy, groups, 15.0)
print(json.dumps({"picked": picked, "price": price}))
"""
    )
    assert json.loads(done.stdout)["picked"] == [0, 3]
    assert done.stderr.count("HiGHS") >= 2  # it did talk


def test_a_command_says_its_result_alone() -> None:
    done = run(
        _PREAMBLE
        + """
import click
from negawatt.cli.optimize import progress_shown

with progress_shown({"search": 1.0}) as tell:
    tell("search", 0.5)
    say(b"chatter in C")
    print("chatter in Python")
click.echo(json.dumps({"found": 1}))
"""
    )
    assert json.loads(done.stdout) == {"found": 1}
    assert "search" in done.stderr
    assert done.stderr.count("chatter") == 2
