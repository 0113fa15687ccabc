"""Writes the record of every call that ends to a file, one JSON object per line, exactly once.

    pip install nats-py
    python examples/call_records.py nats://127.0.0.1:4222 calls.jsonl

NATS delivers at least once: a message comes again when its acknowledgement was lost, or when the server published it
twice around a crash. So a record is written and on the disk *before* its message is acknowledged, and an event whose
id is in the file already is acknowledged and passed over. Kill this program, NATS or Switchboard whenever you like,
and start it again.
"""

import asyncio
import json
import os
import sys

import nats
import nats.errors
import nats.js.errors
from nats.js.api import ConsumerConfig

STREAM = "SWITCHBOARD"
DURABLE = "call-records-py"
SUBJECT = "switchboard.*.session.*.call.ended"


class Records:
    """The file, and the ids of the events in it."""

    def __init__(self, path):
        self.file = open(path, "a+b")
        self.file.seek(0)
        self.known = set()
        whole = 0
        for line in self.file:
            if not line.endswith(b"\n"):
                break  # cut off by a crash; its message was not acknowledged
            self.known.add(json.loads(line)["event"])
            whole += len(line)
        self.file.truncate(whole)

    def take(self, payload):
        """Writes the record of an event, unless it is there; when this returns it is on the disk."""
        event = json.loads(payload)
        if event["id"] in self.known:
            return
        record = {
            "event": event["id"],
            "time": event["time"],
            "organization": event["orgid"],
            "session": event["subject"],
            "call": event.get("data", {}).get("data"),
        }
        self.file.write(json.dumps(record).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.known.add(event["id"])


async def follow(connection, records):
    """Takes messages until something breaks."""
    subscription = await connection.jetstream(timeout=2).pull_subscribe(
        SUBJECT, durable=DURABLE, stream=STREAM, config=ConsumerConfig(ack_wait=10)
    )
    try:
        while True:
            try:
                messages = await subscription.fetch(100, timeout=1)
            except nats.errors.TimeoutError:
                continue  # nothing new
            for message in messages:
                records.take(message.data)
                await message.ack_sync(timeout=2)
    finally:
        try:
            await subscription.unsubscribe()
        except nats.errors.Error:
            pass  # gone with the connection


async def quiet(_):
    """The client reconnects by itself; what matters is reported below."""


async def main(url, path):
    records = Records(path)
    while True:
        # NATS may be away, or Switchboard may not have made its stream yet.
        try:
            connection = await nats.connect(
                url, max_reconnect_attempts=-1, reconnect_time_wait=0.2, connect_timeout=2, error_cb=quiet
            )
            try:
                await follow(connection, records)
            finally:
                await connection.close()
        except (nats.errors.Error, nats.js.errors.Error, OSError, asyncio.TimeoutError) as error:
            print(f"{error!r}; trying again", file=sys.stderr)
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["nats://127.0.0.1:4222", "calls.jsonl"][len(sys.argv) - 1 :]
    try:
        asyncio.run(main(*arguments))
    except KeyboardInterrupt:
        pass
