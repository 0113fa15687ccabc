"""The unmodified PyPI package `cent`, Centrifugo's server library, against a running server.

SWITCHBOARD_URL, SWITCHBOARD_SERVER_KEY (one of realtime.server_keys), SWITCHBOARD_APP_CHANNEL (a channel of a namespace
with history and presence). Skipped without a key.
"""

import os
import unittest

KEY = os.environ.get("SWITCHBOARD_SERVER_KEY")
CHANNEL = os.environ.get("SWITCHBOARD_APP_CHANNEL", "rooms:cent")


@unittest.skipUnless(KEY, "SWITCHBOARD_SERVER_KEY is not set")
class ServerApi(unittest.TestCase):
    def client(self, key=KEY):
        import cent

        client = cent.Client(os.environ["SWITCHBOARD_URL"] + "/api", key)
        self.addCleanup(client.close)
        return client

    def test_all_methods(self):
        import cent

        client = self.client()
        start = client.history(cent.HistoryRequest(channel=CHANNEL)).offset
        result = client.publish(cent.PublishRequest(channel=CHANNEL, data={"n": 1}))
        self.assertEqual(result.offset, start + 1)
        broadcast = client.broadcast(cent.BroadcastRequest(channels=[CHANNEL, CHANNEL], data={"n": 2}))
        self.assertEqual([one.result.offset for one in broadcast.responses], [start + 2, start + 3])
        history = client.history(cent.HistoryRequest(channel=CHANNEL, limit=2, reverse=True))
        self.assertEqual([one.offset for one in history.publications], [start + 3, start + 2])
        self.assertEqual(client.presence(cent.PresenceRequest(channel=CHANNEL)).presence, {})
        self.assertEqual(client.presence_stats(cent.PresenceStatsRequest(channel=CHANNEL)).num_clients, 0)
        self.assertEqual(client.channels(cent.ChannelsRequest(pattern="nothing*")).channels, {})
        self.assertGreaterEqual(client.info(cent.InfoRequest()).nodes[0].num_clients, 0)
        client.subscribe(cent.SubscribeRequest(user="nobody", channel=CHANNEL))
        client.unsubscribe(cent.UnsubscribeRequest(user="nobody", channel=CHANNEL))
        client.refresh(cent.RefreshRequest(user="nobody", expired=True))
        client.disconnect(cent.DisconnectRequest(user="nobody"))
        requests = [cent.PublishRequest(channel=CHANNEL, data=n) for n in ({"n": 3}, {"n": 4})]
        replies = client.batch(cent.BatchRequest(requests=requests)).replies
        self.assertEqual([reply.offset for reply in replies], [start + 4, start + 5])
        client.history_remove(cent.HistoryRemoveRequest(channel=CHANNEL))
        self.assertEqual(client.history(cent.HistoryRequest(channel=CHANNEL, limit=9)).publications, [])
        with self.assertRaises(cent.CentApiResponseError):
            client.publish(cent.PublishRequest(channel="nothing:1", data={}))

    def test_wrong_key(self):
        import cent

        with self.assertRaises(cent.CentUnauthorizedError):
            self.client("wrong").info(cent.InfoRequest())


if __name__ == "__main__":
    unittest.main()
