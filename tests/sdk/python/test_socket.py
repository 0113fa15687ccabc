"""The unmodified PyPI package `centrifuge-python` against a running server, in JSON and Protobuf.

Environment: as in tests/sdk/js/socket.test.js. Run with `python -m unittest`.
"""

import asyncio
import json
import os
import unittest

from centrifuge import CentrifugeError, Client, ClientEventHandler, StreamPosition, SubscriptionEventHandler

URL = os.environ["SWITCHBOARD_URL"].replace("http", "ws", 1) + "/connection/websocket"
TOKEN = os.environ["SWITCHBOARD_TOKEN"]
OTHER_TOKEN = os.environ["SWITCHBOARD_OTHER_TOKEN"]
CHANNEL = os.environ["SWITCHBOARD_CHANNEL"]


def decode(data):
    """JSON comes as objects, Protobuf as bytes that hold JSON."""
    return json.loads(data) if isinstance(data, bytes) else data


class Connection(ClientEventHandler):
    def __init__(self):
        self.connected = asyncio.Queue()
        self.disconnected = asyncio.Queue()
        self.channels = asyncio.Queue()

    async def on_connected(self, ctx):
        await self.connected.put(ctx)

    async def on_disconnected(self, ctx):
        await self.disconnected.put(ctx)

    async def on_subscribed(self, ctx):
        await self.channels.put(ctx.channel)


class Place(SubscriptionEventHandler):
    def __init__(self):
        self.subscribed = asyncio.Queue()
        self.unsubscribed = asyncio.Queue()
        self.publications = asyncio.Queue()

    async def on_subscribed(self, ctx):
        await self.subscribed.put(ctx)

    async def on_unsubscribed(self, ctx):
        await self.unsubscribed.put(ctx)

    async def on_publication(self, ctx):
        await self.publications.put(ctx.pub)


async def soon(queue):
    return await asyncio.wait_for(queue.get(), 10)


class Socket(unittest.IsolatedAsyncioTestCase):
    async def test_json(self):
        await self.the_story(False)

    async def test_protobuf(self):
        await self.the_story(True)

    async def the_story(self, protobuf):
        def encode(data):
            return json.dumps(data).encode() if protobuf else data

        events, place = Connection(), Place()
        own = Client(URL, events=events, token=TOKEN, use_protobuf=protobuf, proxy=None)
        other = Client(URL, token=OTHER_TOKEN, proxy=None)
        message = {"type": "message", "text": "from the Python SDK"}
        try:
            await own.connect()
            await other.connect()
            self.assertTrue(decode((await soon(events.connected)).data)["user"])
            self.assertTrue((await soon(events.channels)).startswith("user:"))
            await other.ready(10)

            subscription = own.new_subscription(CHANNEL, events=place)
            await subscription.subscribe()
            context = await soon(place.subscribed)
            self.assertTrue(context.recoverable and context.positioned)
            start = context.stream_position.offset
            await subscription.publish(encode(message))
            await other.publish(CHANNEL, message)
            for offset in (start + 1, start + 2):
                publication = await soon(place.publications)
                self.assertEqual(publication.offset, offset)
                self.assertEqual(decode(publication.data)["type"], "message.created")

            since = StreamPosition(offset=start, epoch=context.stream_position.epoch)
            history = await subscription.history(limit=5, since=since)
            self.assertEqual([p.offset for p in history.publications], [start + 1, start + 2])
            self.assertGreaterEqual((await subscription.presence_stats()).num_clients, 1)
            self.assertIn("time", decode((await own.rpc("server.time", encode({}))).data))
            with self.assertRaises(CentrifugeError):
                await own.rpc("no.such.method", encode({}))

            await own.disconnect()
            for _ in range(30):
                await other.publish(CHANNEL, message)
            await own.connect()
            context = await soon(place.subscribed)
            self.assertTrue(context.was_recovering and context.recovered)
            for offset in range(start + 3, start + 33):
                self.assertEqual((await soon(place.publications)).offset, offset)

            strange = Place()
            await own.new_subscription("nothing:1", events=strange).subscribe()
            self.assertEqual((await soon(strange.unsubscribed)).code, 102)
        finally:
            await own.disconnect()
            await other.disconnect()

    async def test_bad_token(self):
        events = Connection()
        client = Client(URL, events=events, token="nonsense", proxy=None)
        await client.connect()
        self.assertEqual((await soon(events.disconnected)).code, 3500)


if __name__ == "__main__":
    unittest.main()
