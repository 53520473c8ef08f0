// node-redis against the server on the port that is given, in both versions of the protocol.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { createRequire } from "node:module";
import { createClient, RESP_TYPES, WatchError } from "redis";

const port = Number(process.argv[2]);
const { version } = createRequire(import.meta.url)("redis/package.json");
const binary = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, n) => n)), Buffer.from("\r\n$-1\r\n")]);

async function all(options) {
  const client = await createClient({ socket: { port }, ...options }).connect();
  await client.flushAll();

  assert.equal(await client.set("a", "1"), "OK");
  assert.equal(await client.get("absent"), null);
  assert.equal(await client.incrBy("a", 41), 42);
  assert.deepEqual(await client.mGet(["a", "absent"]), ["42", null]);
  const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  await client.set(binary, binary);
  assert.deepEqual(await bytes.get(binary), binary);
  await assert.rejects(client.lPush("list", "x"), /unknown command/);

  await client.set("soon", "gone", { expiration: { type: "PX", value: 40 } });
  const left = await client.pTTL("soon");
  assert.ok(left > 0 && left <= 40, `${left}`);
  await sleep(50);
  assert.equal(await client.get("soon"), null);

  // Commands that are asked for in one turn of its loop go out as one pipeline.
  const told = await Promise.all(Array.from({ length: 2000 }, (_, n) => client.set(`pipe:${n}`, `${n}`)));
  assert.ok(told.every((reply) => reply === "OK"));
  const seen = new Set();
  for await (const keys of client.scanIterator({ MATCH: "pipe:*", COUNT: 100 })) keys.forEach((key) => seen.add(key));
  assert.equal(seen.size, 2000);

  assert.deepEqual(await client.multi().set("n", "1").incr("n").get("n").exec(), ["OK", 2, "2"]);
  const other = await client.duplicate().connect();
  await client.watch("n");
  await other.set("n", "7");
  await assert.rejects(client.multi().set("n", "8").exec(), WatchError);
  assert.equal(await client.get("n"), "7");

  const listener = await client.duplicate().connect();
  const message = new Promise((resolve) => {
    listener.subscribe("news", (bytes, channel) => resolve([channel.toString(), bytes]), true);
  });
  while ((await client.publish("news", binary)) === 0) await sleep(5);
  assert.deepEqual(await message, ["news", binary]);

  await client.select(3);
  assert.equal(await client.get("n"), null);
  assert.match(await client.info("server"), /redis_version:7\./);
  assert.equal((await client.configGet("databases")).databases, "16");
  assert.ok((await client.clientId()) > 0);
  assert.ok((await client.commandCount()) > 50);
  for (const each of [client, other, listener]) await each.close();
}

await all({});
await all({ RESP: 2 });
await all({ RESP: 3, name: "a-name", pingInterval: 1000 });
console.log(`node-redis ${version}: both versions`);
