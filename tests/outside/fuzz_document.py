#!/usr/bin/env python3
"""Lets Schemathesis, a fuzzer of others, hold the OpenAPI document against a server on each engine.

It makes requests of the document, right and wrong ones, and fails with every 5xx and with every answer whose status,
headers, type or body the document does not tell, with every wrong request that is taken, with every method that is
there and not documented, and with every operation that answers without a good token. `schemathesis.toml` says which
of its checks do not apply, and why. The number of requests is bounded; with the same seed they are the same.

Needs the program (`cargo build`) and a mongod (the tests keep one in `target/mongod`):

    python3 -m venv /tmp/fuzzer && /tmp/fuzzer/bin/pip install schemathesis pymongo
    /tmp/fuzzer/bin/python tests/outside/fuzz_document.py --examples 100 --seed 1
"""

import argparse
import contextlib
import pathlib
import subprocess
import sys

from server import PROGRAM, ROOT, mongod, running

ENGINES = ["embedded", "replica-set", "lone-mongod"]
LONGEST_RUN_SECONDS = 900


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--engine", choices=ENGINES, action="append", help="all of them, if none is named")
    arguments.add_argument("--examples", type=int, default=100, help="requests made of each operation, at most")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--program", default=PROGRAM, type=pathlib.Path)
    arguments.add_argument("--mongod", default=ROOT / "target/mongod/mongod", type=pathlib.Path)
    arguments = arguments.parse_args()
    failed = [engine for engine in arguments.engine or ENGINES if not fuzz(engine, arguments)]
    sys.exit(f"not as documented on: {', '.join(failed)}" if failed else 0)


def fuzz(engine, arguments):
    print(f"## {engine}", flush=True)
    with contextlib.ExitStack() as running_until_the_end:
        settings = {}
        if engine != "embedded":
            database = mongod(arguments.mongod, replica_set=engine == "replica-set")
            settings["MONGO_URL"] = running_until_the_end.enter_context(database)
        server = running_until_the_end.enter_context(running(arguments.program, **settings))
        command = [
            pathlib.Path(sys.executable).with_name("schemathesis"),
            f"--config-file={ROOT / 'schemathesis.toml'}",
            "run",
            f"{server.url}/api-docs/openapi.json",
            f"--header=Authorization: Bearer {server.token}",
            f"--max-examples={arguments.examples}",
            f"--seed={arguments.seed}",
            "--continue-on-failure",
            "--no-color",
        ]
        return subprocess.run(command, timeout=LONGEST_RUN_SECONDS).returncode == 0


if __name__ == "__main__":
    main()
