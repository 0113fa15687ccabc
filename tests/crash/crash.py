"""Kills the real server with -9 in the middle of its work, again and again, and checks that nothing it acknowledged is
lost or doubled: messages, receipts, ring outcomes, attachments; and that every stream is numbered 1, 2, 3 ... without a gap.

    python3 tests/crash/crash.py --binary target/debug/switchboard --cycles 20 [--database postgres://..]

Needs the standard library only (and `psql` for PostgreSQL). Everything happens on 127.0.0.1, in a folder of its own.
"""

import argparse
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid


class Refused(Exception):
    """The server answered, but not with success."""


class Server:
    def __init__(self, binary, folder, database):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.binary, self.folder, self.process = binary, folder, None
        self.environment = {
            **os.environ,
            "SWITCHBOARD__HTTP__LISTEN": f"127.0.0.1:{self.port}",
            "SWITCHBOARD__SERVER__DATA_DIR": os.path.join(folder, "data"),
            "SWITCHBOARD__DATABASE__URL": database,
        }

    def admin(self, *arguments):
        output = subprocess.run(
            [self.binary, "admin", *arguments], env=self.environment, check=True, capture_output=True, text=True
        )
        return [json.loads(line) for line in output.stdout.splitlines()]

    def start(self):
        log = open(os.path.join(self.folder, "log"), "a")
        self.process = subprocess.Popen(
            [self.binary, "serve"], env=self.environment, stdout=subprocess.DEVNULL, stderr=log
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        sys.exit("the server did not become ready; see " + os.path.join(self.folder, "log"))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def request(self, method, path, token=None, body=None, kind="application/json"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"authorization": token} if token else {}
            if body is not None:
                headers["content-type"] = kind
                if not isinstance(body, bytes):
                    body = json.dumps(body).encode()
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def call(self, *arguments, **named):
        status, body = self.request(*arguments, **named)
        if status != 200:
            raise Refused(f"{arguments[0]} {arguments[1]}: {status} {body[:200]!r}")
        return json.loads(body) if body else None


class Ledger:
    """What was acknowledged."""

    def __init__(self):
        self.lock = threading.Lock()
        self.messages, self.read, self.rings, self.files = {}, {}, {}, {}


def send(server, ledger, person, stop):
    while not stop.is_set():
        key, text = str(uuid.uuid4()), uuid.uuid4().hex
        body = {"type": "Text", "username": "x", "uuid": key, "metadata": {"message": text}}
        reply = server.call("POST", "/api/v1r1/workbox/messages", person["thread"], body)
        with ledger.lock:
            ledger.messages[key] = (reply["id"], text)


def read(server, ledger, person, stop):
    while not stop.is_set():
        reply = server.call("POST", "/api/v1r1/workbox/messages/-1/last_read_message", person["thread"], {})
        with ledger.lock:
            before = ledger.read.get(person["id"], 0)
            ledger.read[person["id"]] = max(before, reply["last_read_message_id"] or 0)
        time.sleep(0.01)


def ring(server, ledger, caller, callee, stop):
    contact = {"contact_tokens": [callee["token"]]}
    session = server.call("POST", "/api/v1/sessions", caller["token"], contact)
    own = server.call("GET", f"/api/v1/sessions/{session['id']}", callee["token"])["token"]
    while not stop.is_set():
        rung = server.call("POST", "/api/v1r1/session/video", session["token"], {})
        for request in rung["request_ids"]:
            answer = {"request_id": request, "reason": 0}
            server.call("POST", "/api/v1r1/session/video/decline", own, answer)
            with ledger.lock:
                ledger.rings[request] = "declined"


def attach(server, ledger, person, stop):
    while not stop.is_set():
        content = random.randbytes(random.randint(1, 60_000))
        border = uuid.uuid4().hex
        fields = {"name": "a.bin", "mime_type": "application/octet-stream"}
        form = "".join(
            f'--{border}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        form += f'--{border}\r\ncontent-disposition: form-data; name="attachment"; filename="a.bin"\r\n\r\n'
        body = form.encode() + content + f"\r\n--{border}--\r\n".encode()
        kind = f"multipart/form-data; boundary={border}"
        reply = server.call("POST", "/api/v1r1/workbox/attachments", person["thread"], body, kind=kind)
        with ledger.lock:
            ledger.files[reply["id"]] = hashlib.sha256(content).digest()


def run_until_killed(work, problems):
    try:
        work()
    except OSError:
        pass  # The server was killed: what it did not answer is not in the ledger.
    except Exception as error:  # noqa: BLE001
        problems.append(repr(error))


def rows(database, query):
    if database.startswith("sqlite://"):
        with sqlite3.connect(database.removeprefix("sqlite://")) as connection:
            return [[str(value) for value in row] for row in connection.execute(query)]
    output = subprocess.run(
        ["psql", database, "-At", "-F", "|", "-c", query], check=True, capture_output=True, text=True
    )
    return [line.split("|") for line in output.stdout.splitlines()]


def verify(server, database, ledger, people, thread):
    stored = {}
    uuids = "lower(hex(uuid))" if database.startswith("sqlite") else "replace(uuid::text, '-', '')"
    for key, number, metadata in rows(database, f"select {uuids}, id, metadata from message"):
        assert key not in stored, f"message {key} is there twice"
        stored[key] = (int(number), json.loads(metadata)["message"])
    for key, told in ledger.messages.items():
        assert stored.get(key.replace("-", "")) == told, f"acknowledged message {key} is {stored.get(key)}, not {told}"
    for person, mark in ledger.read.items():
        query = f"select read_id from participant where conversation_id = {thread} and person_id = {person}"
        assert int(rows(database, query)[0][0]) >= mark, f"the read mark of {person} fell behind {mark}"
    ids = "lower(hex(id))" if database.startswith("sqlite") else "replace(id::text, '-', '')"
    states = dict(rows(database, f"select {ids}, state from ring"))
    for request, outcome in ledger.rings.items():
        assert states.get(request.replace("-", "")) == outcome, f"ring {request} is {states.get(request)}"
    gaps = rows(
        database,
        "select s.name, s.head, count(e.seq), coalesce(max(e.stream_offset), 0), coalesce(min(e.stream_offset), 1) "
        "from stream s left join event e on e.stream_id = s.id group by s.id, s.name, s.head",
    )
    for name, head, count, last, first in gaps:
        assert head == count == last and first == "1", f"{name}: head {head}, {count} events, {first} to {last}"
    for file, digest in random.sample(sorted(ledger.files.items()), min(5, len(ledger.files))):
        shown = server.call("GET", f"/api/v1r1/workbox/attachments/{file}", people[0]["thread"])
        path = "/" + shown["signed_url"].split("/", 3)[3]
        status, content = server.request("GET", path)
        assert status == 200 and hashlib.sha256(content).digest() == digest, f"attachment {file} is not what was sent"
    return len(stored)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = options.database or f"sqlite://{folder}/data/switchboard.db"
        server = Server(os.path.abspath(options.binary), folder, database)
        organization = server.admin("create-organization", "--name", "Crash", "--admin-email", "a@crash.test", "--json")
        number = str(organization[0]["organization"]["id"])
        people = server.admin(
            "create-users", "--organization", number, "--count", "4", "--workboxes", "1", "--members", "4", "--json-lines"
        )
        thread = people[0]["workboxes"][0]
        ledger, slowest = Ledger(), 0.0
        device = {"device_id": "d", "platform": "web", "push_id": "p"}
        for cycle in range(options.cycles + 1):
            began = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - began)
            for person in people:
                path = f"/api/v1r1/workboxes/{thread}"
                person["thread"] = server.call("GET", path, person["token"])["token"]
            # Without a device nobody can be rung.
            server.call("POST", "/api/v1r1/device", people[3]["token"], device)
            count = verify(server, database, ledger, people, thread)
            if cycle == options.cycles:
                break
            stop, problems = threading.Event(), []
            work = [
                lambda: send(server, ledger, people[0], stop),
                lambda: send(server, ledger, people[1], stop),
                lambda: read(server, ledger, people[2], stop),
                lambda: ring(server, ledger, people[2], people[3], stop),
                lambda: attach(server, ledger, people[3], stop),
            ]
            threads = [threading.Thread(target=run_until_killed, args=(one, problems)) for one in work]
            for one in threads:
                one.start()
            time.sleep(random.uniform(0.2, 1.0))
            server.kill()
            stop.set()
            for one in threads:
                one.join()
            assert not problems, problems
        server.kill()
    assert ledger.messages and ledger.rings and ledger.files and ledger.read, "a part of the work was never acknowledged"
    print(
        f"{options.cycles} kills: {len(ledger.messages)} messages acknowledged, {count} stored, {len(ledger.rings)} rings, "
        f"{len(ledger.files)} attachments; nothing lost, no gap; slowest start {slowest:.2f} s"
    )


if __name__ == "__main__":
    main()
