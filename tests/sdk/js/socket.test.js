// The unmodified npm package `centrifuge` against a running server, over every transport and both encodings.
//
// SWITCHBOARD_URL            http://host:port
// SWITCHBOARD_TOKEN          token of a participant
// SWITCHBOARD_OTHER_TOKEN    token of another participant
// SWITCHBOARD_CHANNEL        workbox:<id> that both are in
// SWITCHBOARD_EXPIRED_TOKEN  optional: a token whose time is over
// SWITCHBOARD_RESTART        optional: a shell command that restarts the server and returns when it is ready

import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';
import test from 'node:test';
import { Centrifuge as JsonCentrifuge } from 'centrifuge';
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';

const env = name => process.env[`SWITCHBOARD_${name}`];
const base = env('URL');
const channel = env('CHANNEL');
const ways = [
  ['websocket', 'json'], ['websocket', 'protobuf'], ['http_stream', 'json'], ['http_stream', 'protobuf'], ['sse', 'json'],
];

const decode = data => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);
const encode = (encoding, data) => (encoding === 'protobuf' ? new TextEncoder().encode(JSON.stringify(data)) : data);
const within = (promise, what, ms = 10_000) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what instanceof Function ? what() : what}: too late`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const once = (emitter, event) => within(new Promise(resolve => emitter.once(event, resolve)), event);

function client(transport, encoding, options = {}) {
  const path = { websocket: 'websocket', http_stream: 'http_stream', sse: 'sse' }[transport];
  const endpoint = `${transport === 'websocket' ? base.replace('http', 'ws') : base}/connection/${path}`;
  const Centrifuge = encoding === 'protobuf' ? ProtobufCentrifuge : JsonCentrifuge;
  return new Centrifuge([{ transport, endpoint }], {
    token: env('TOKEN'), websocket: WebSocket, eventsource: EventSource, fetch, readableStream: ReadableStream,
    emulationEndpoint: `${base}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 200, ...options,
  });
}

// What a subscription received, with its offsets.
function listen(subscription) {
  const seen = [];
  const waiting = [];
  subscription.on('publication', context => {
    seen.push({ offset: Number(context.offset), data: decode(context.data) });
    waiting.splice(0).forEach(wake => wake());
  });
  const until = async count => {
    while (seen.length < count) await new Promise(resolve => waiting.push(resolve));
    return seen;
  };
  return { seen, until: (count, ms) => within(until(count), () => `${count} publications (have ${seen.length})`, ms) };
}

let counter = 0;
const message = () => ({ type: 'message', text: `from the JavaScript SDK ${(counter += 1)}` });

for (const [transport, encoding] of ways) {
  test(`${transport} ${encoding}`, { timeout: 60_000 }, async t => {
    const other = client('websocket', 'json', { token: env('OTHER_TOKEN') });
    const own = client(transport, encoding);
    t.after(() => { own.disconnect(); other.disconnect(); });
    const inbox = new Promise(resolve => own.on('subscribed', resolve));
    other.connect();
    own.connect();
    const connected = await once(own, 'connected');
    assert.equal(connected.transport, transport);
    assert.ok(decode(connected.data).user);
    assert.match((await within(inbox, 'the inbox')).channel, /^user:/);
    await other.ready(5_000);

    const subscription = own.newSubscription(channel);
    const heard = listen(subscription);
    subscription.subscribe();
    const subscribed = await once(subscription, 'subscribed');
    assert.ok(subscribed.recoverable && subscribed.positioned && subscribed.streamPosition.epoch);
    const start = Number(subscribed.streamPosition.offset);

    await subscription.publish(encode(encoding, message()));
    await other.publish(channel, message());
    const [first, second] = await heard.until(2);
    assert.deepEqual([first.offset, second.offset], [start + 1, start + 2]);
    assert.equal(first.data.type, 'message.created');
    assert.match(first.data.id, /^[0-9a-f-]{36}$/);

    await other.publish(channel, { type: 'typing' });
    const typing = (await heard.until(3))[2];
    assert.deepEqual([typing.data.ephemeral, typing.offset], [true, start + 2]);

    const history = await subscription.history({ limit: 2, since: { offset: start, epoch: subscribed.streamPosition.epoch } });
    assert.deepEqual(history.publications.map(p => Number(p.offset)), [start + 1, start + 2]);
    const backwards = await subscription.history({ limit: 1, reverse: true });
    assert.equal(Number(backwards.publications[0].offset), start + 2);
    const stats = await subscription.presenceStats();
    assert.ok(stats.numClients >= 1);
    const presence = await subscription.presence();
    assert.ok(Object.keys(presence.clients).includes(connected.client));

    assert.ok(decode((await own.rpc('server.time', encode(encoding, {}))).data).time);
    await assert.rejects(own.rpc('no.such.method', encode(encoding, {})), { code: 108 });
    const foreign = own.newSubscription('nothing:1');
    foreign.subscribe();
    assert.equal((await once(foreign, 'unsubscribed')).code, 102);

    // Away for a while: everything missed comes, in order, once.
    own.disconnect();
    for (let n = 0; n < 30; n += 1) await other.publish(channel, message());
    own.connect();
    const back = await once(subscription, 'subscribed');
    assert.ok(back.wasRecovering && back.recovered);
    const all = (await heard.until(33)).filter(({ data }) => !data.ephemeral);
    assert.deepEqual(all.map(({ offset }) => offset), all.map((_, index) => start + 1 + index));

    subscription.unsubscribe();
    await other.publish(channel, message());
    subscription.subscribe();
    await once(subscription, 'subscribed');
    assert.equal((await heard.until(34))[33].offset, start + 33);
  });
}

test('a subscription from the beginning gets all pages', { timeout: 120_000 }, async t => {
  const own = client('websocket', 'json');
  t.after(() => own.disconnect());
  own.connect();
  await once(own, 'connected');
  const probe = await own.history(channel, { limit: 0 });
  const subscription = own.newSubscription(channel, { since: { offset: 0, epoch: probe.epoch } });
  const heard = listen(subscription);
  subscription.subscribe();
  assert.ok((await once(subscription, 'subscribed')).recovered);
  const seen = await heard.until(Number(probe.offset), 110_000);
  assert.deepEqual(seen.map(({ offset }) => offset), seen.map((_, index) => index + 1));
});

test('bad and expired tokens', { timeout: 30_000 }, async t => {
  const bad = client('websocket', 'json', { token: 'nonsense' });
  t.after(() => bad.disconnect());
  bad.connect();
  assert.equal((await once(bad, 'disconnected')).code, 3500);
  if (!env('EXPIRED_TOKEN')) return;
  let asked = 0;
  const expired = client('websocket', 'json', {
    token: env('EXPIRED_TOKEN'), getToken: async () => { asked += 1; return env('TOKEN'); },
  });
  t.after(() => expired.disconnect());
  expired.connect();
  await once(expired, 'connected');
  assert.equal(asked, 1);
});

test('recovery after a restart of the server', { skip: !env('RESTART'), timeout: 120_000 }, async t => {
  const [own, other] = [client('websocket', 'json'), client('websocket', 'json', { token: env('OTHER_TOKEN') })];
  t.after(() => { own.disconnect(); other.disconnect(); });
  const subscription = own.newSubscription(channel);
  const heard = listen(subscription);
  subscription.subscribe();
  own.connect();
  other.connect();
  const start = Number((await once(subscription, 'subscribed')).streamPosition.offset);
  await other.ready(5_000);
  await other.publish(channel, message());
  await heard.until(1);
  // Nothing of the lost connections is noticed before this returns.
  execSync(env('RESTART'), { stdio: 'inherit' });
  await Promise.all([once(own, 'connected'), once(other, 'connected')]);
  await other.publish(channel, message());
  const seen = await within(heard.until(2), 'the message after the restart', 60_000);
  assert.deepEqual(seen.map(({ offset }) => offset), [start + 1, start + 2]);
});
