"""Slurm's commands over a file: what the runner uses of sbatch, scontrol, squeue, scancel, sacct.

Written after Slurm 22.05 and tried beside it: the same contract runs against the real one where
that is installed. Time passes only when `FakeSlurm` lets a job end; a pending job starts at once
unless its begin lies ahead or it is held.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

Jobs = dict[str, dict[str, Any]]


def fail(text: str) -> NoReturn:
    sys.stderr.write(text + "\n")
    raise SystemExit(1)


def start(jobs: Jobs) -> None:
    for job in jobs.values():
        if job["JobState"] == "PENDING" and not job["held"] and job["begin"] <= time.time():
            job.update(JobState="RUNNING", Reason="None")


def options(words: list[str]) -> dict[str, str]:
    given = [word for word in words if word.startswith("--")]
    return {w[2:].partition("=")[0]: w.partition("=")[2] for w in given}


def sbatch(jobs: Jobs, words: list[str]) -> None:
    script = sys.stdin.read()
    if not script.startswith("#!"):
        fail("sbatch: error: This does not look like a batch script.")
    given = options(words)
    known = {"parsable", "job-name", "nodes", "comment", "chdir", "output", "begin", "requeue",
             "partition", "time", "account", "gres"}  # fmt: skip
    for name in given:
        if name not in known:
            fail(f"sbatch: unrecognized option '--{name}'")
    if given.get("partition", "all") != "all":
        fail("sbatch: error: invalid partition specified: " + given["partition"])
    begin = given.get("begin", "now").removeprefix("now").removeprefix("+")
    number = str(len(jobs) + 1)
    begins = time.time() + float(begin or 0)
    jobs[number] = {
        "JobState": "PENDING",
        "Reason": "BeginTime" if begins > time.time() else "None",
        "ExitCode": "0:0",
        "Requeue": "1",
        "Comment": given.get("comment", ""),
        "begin": begins,
        "held": False,
        "script": script,
    }
    sys.stdout.write(f"{number}\n")


def scontrol(jobs: Jobs, words: list[str]) -> None:
    act, number = words[0], words[-1]
    job = jobs.get(number)
    if job is None:
        fail("slurm_load_jobs error: Invalid job id specified")
    state = job["JobState"]
    ended = state not in {"PENDING", "RUNNING", "SUSPENDED"}
    if act == "show":
        shown = {k: v for k, v in job.items() if k[0].isupper()}
        words = [f"JobId={number}", *[f"{name}={value}" for name, value in shown.items()]]
        sys.stdout.write(" ".join(words) + "\n")
    elif ended:
        fail(f"Job/step already completing or completed for job {number}")
    elif act == "hold":
        job.update(held=True, Reason="JobHeldUser")
    elif act == "release":
        job.update(held=False, Reason="None")
    elif act == "suspend":
        if state == "PENDING":
            fail(f"Job is pending execution for job {number}")
        if Path(sys.argv[0]).with_name("no-operator").exists():
            fail(f"Access/permission denied for job {number}")
        job.update(JobState="SUSPENDED")
    elif act == "resume":
        job.update(JobState="RUNNING")
    elif act == "requeuehold":
        job.update(JobState="PENDING", Reason="JobHeldUser", held=True)
    else:
        fail(f"invalid keyword: {act}")


def squeue(jobs: Jobs, words: list[str]) -> None:
    given = options(words)
    for number, job in jobs.items():
        if given.get("states") == "all" or job["JobState"] in {"PENDING", "RUNNING", "SUSPENDED"}:
            sys.stdout.write(f"{number}|{job['Comment'] or '(null)'}\n")


def scancel(jobs: Jobs, words: list[str]) -> None:
    job = jobs.get(words[-1])
    if job is None:
        fail(f"scancel: error: Kill job error on job id {words[-1]}: Invalid job id specified")
    if job["JobState"] in {"PENDING", "RUNNING", "SUSPENDED"}:
        job.update(JobState="CANCELLED", ExitCode="0:15")


def sacct(jobs: Jobs, words: list[str]) -> None:
    fail("Slurm accounting storage is disabled")


def main() -> None:
    command, place = Path(sys.argv[0]).name, Path(sys.argv[0]).with_name("jobs.json")
    with place.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        jobs = json.loads(file.read() or "{}")
        start(jobs)
        try:
            globals()[command](jobs, sys.argv[1:])
            start(jobs)
        finally:
            file.seek(0)
            file.truncate()
            json.dump(jobs, file)


if __name__ == "__main__":
    main()
