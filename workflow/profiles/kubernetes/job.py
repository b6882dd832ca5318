#!/usr/bin/env python3
"""Submit, watch and cancel Kubernetes jobs for Snakemake, by kubectl. Standard library only.

job.py submit --cpus N --memory-mb N --minutes N --gpus N SCRIPT    prints the name of the job
job.py status NAME                                                  prints running, success or failed
job.py NAME ...                                                     cancels jobs
"""

import argparse
import os
import string
import subprocess
import sys


def kubectl(*arguments, **options):
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, **options)


def manifest(template, asked, root):
    """The job as YAML: the template with its variables filled in."""
    lines = [line for line in template.splitlines(keepends=True) if asked.gpus or "$gpus" not in line]
    return string.Template("".join(lines)).substitute(
        script=os.path.abspath(asked.script),
        root=root,
        cpus=asked.cpus,
        memory_mb=asked.memory_mb,
        seconds=60 * asked.minutes,
        gpus=asked.gpus,
    )


def submit(arguments):
    parser = argparse.ArgumentParser()
    for name in ("cpus", "memory-mb", "minutes", "gpus"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("script")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "job.yaml"), encoding="utf-8") as file:
        text = manifest(file.read(), parser.parse_args(arguments), os.getcwd())
    done = kubectl("create", "-f", "-", "-o", "jsonpath={.metadata.name}", input=text)
    if done.returncode:
        sys.exit(f"job.py: expected kubectl to create a job, got: {done.stderr.strip()}")
    print(done.stdout.strip())


def status(name):
    done = kubectl("get", "job", name, "-o", "jsonpath={.status.succeeded}/{.status.failed}")
    if done.returncode:
        # A server that does not answer now may do so later; a job that is gone will not come back.
        print(done.stderr.strip(), file=sys.stderr)
        print("failed" if "NotFound" in done.stderr else "running")
        return
    succeeded, _, failed = done.stdout.strip().partition("/")
    print("success" if succeeded not in ("", "0") else "failed" if failed not in ("", "0") else "running")


def main(arguments):
    if arguments[:1] == ["submit"]:
        submit(arguments[1:])
    elif arguments[:1] == ["status"]:
        status(arguments[1])
    else:
        sys.exit(kubectl("delete", "job", "--wait=false", "--ignore-not-found", *arguments).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
