// Application namespaces with the unmodified npm package `centrifuge`: users by JWT, deltas, recovery, joins.
//
// SWITCHBOARD_URL          http://host:port
// SWITCHBOARD_APP_TOKENS   two JWTs of different users, separated by a comma; skipped without them
// SWITCHBOARD_APP_CHANNEL  a channel of a namespace with history, presence, join_leave, fossil deltas and delta_publish,
//                          where subscribers publish

import assert from 'node:assert/strict';
import test from 'node:test';
import { Centrifuge as JsonCentrifuge } from 'centrifuge';
import { Centrifuge as ProtobufCentrifuge } from 'centrifuge/build/protobuf';
import WebSocket from 'ws';

const tokens = (process.env.SWITCHBOARD_APP_TOKENS ?? '').split(',');
const channel = process.env.SWITCHBOARD_APP_CHANNEL;
const endpoint = `${process.env.SWITCHBOARD_URL.replace('http', 'ws')}/connection/websocket`;
const long = 'the same long text again and again '.repeat(10);
const decode = data => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);
const once = (emitter, event) => new Promise(resolve => emitter.once(event, resolve));

for (const [name, Centrifuge] of [['json', JsonCentrifuge], ['protobuf', ProtobufCentrifuge]]) {
  test(`deltas, joins and recovery in ${name}`, { skip: !tokens[1], timeout: 30_000 }, async t => {
    const [own, other] = [new Centrifuge(endpoint, { token: tokens[0], websocket: WebSocket }),
      new JsonCentrifuge(endpoint, { token: tokens[1], websocket: WebSocket })];
    t.after(() => { own.disconnect(); other.disconnect(); });
    const place = own.newSubscription(`${channel}-${name}`, { delta: 'fossil', joinLeave: true, recoverable: true });
    const theirs = other.newSubscription(`${channel}-${name}`);
    const seen = [];
    const joined = new Promise(resolve => place.on('join', ({ info }) => info.client !== own._client && resolve()));
    place.on('publication', ({ data, offset }) => seen.push({ ...decode(data), offset: Number(offset) }));
    place.subscribe();
    own.connect();
    assert.ok((await once(place, 'subscribed')).recoverable);
    theirs.subscribe();
    other.connect();
    await once(theirs, 'subscribed');
    await joined;
    for (let n = 0; n < 5; n += 1) await theirs.publish({ long, n });
    own.disconnect();
    for (let n = 5; n < 10; n += 1) await theirs.publish({ long, n });
    own.connect();
    assert.ok((await once(place, 'subscribed')).recovered);
    await theirs.publish({ long, n: 10 });
    while (seen.length < 11) await once(place, 'publication');
    assert.deepEqual(seen.map(({ n }) => n), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert.ok(seen.every(one => one.long === long));
    assert.deepEqual(seen.map(({ offset }) => offset), seen.map((_, index) => seen[0].offset + index));
  });
}
