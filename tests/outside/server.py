"""A server of a script's own: the program that was built, on a free port, with data that go away with it."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/debug/viveka-sync"
CLIENT = "64b0000000000000000000c1"
SECRET = "a-secret-for-tests-only-0123456789abcdef"
PATIENCE_SECONDS = 60


class Server:
    """A server that listens at `url`, and a token for it."""

    def __init__(self, url, token):
        self.url = url
        self.token = token


@contextlib.contextmanager
def running(program=PROGRAM, **settings):
    """Starts a server, with these settings beside the usual ones, and ends it in the end."""
    with tempfile.TemporaryDirectory() as directory:
        usual = {"HOST": "127.0.0.1", "PORT": "0", "DATA_DIR": f"{directory}/data", "LOG_FORMAT": "json"}
        environment = os.environ | usual | {"JWT_SECRET": SECRET} | settings
        log = pathlib.Path(directory) / "log"
        with process([program], log, env=environment) as child:
            address = wait_for(lambda: listening_at(log), child, log)
            command = [program, "token", "--client", CLIENT]
            minted = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            yield Server(f"http://{address}", minted.stdout.strip())


@contextlib.contextmanager
def mongod(program, replica_set):
    """Starts a MongoDB, of one member or alone, and gives its connection string."""
    import pymongo

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        log = pathlib.Path(directory) / "log"
        command = [program, f"--dbpath={directory}", f"--port={port}", "--bind_ip=127.0.0.1"]
        with process(command + (["--replSet=rs0"] if replica_set else []), log) as child:
            admin = pymongo.MongoClient(port=port, directConnection=True, serverSelectionTimeoutMS=PATIENCE_SECONDS * 1000).admin
            if replica_set:
                member = {"_id": 0, "host": f"127.0.0.1:{port}"}
                admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
            wait_for(lambda: admin.command("hello")["isWritablePrimary"], child, log)
            yield f"mongodb://127.0.0.1:{port}/fuzzer" + ("?replicaSet=rs0" if replica_set else "")


@contextlib.contextmanager
def process(command, log, **options):
    with open(log, "w") as written:
        child = subprocess.Popen(command, stdout=written, stderr=written, **options)
        try:
            yield child
        finally:
            child.terminate()
            child.wait(PATIENCE_SECONDS)


def wait_for(ready, child, log):
    late = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < late and child.poll() is None:
        if found := ready():
            return found
        time.sleep(0.05)
    sys.exit(f"{child.args[0]} does not start:\n{log.read_text()}")


def listening_at(log):
    for line in log.read_text().splitlines():
        fields = json.loads(line)["fields"]
        if fields.get("message") == "listening":
            return fields["address"]
    return None
