// ioredis against the server on the port that is given; version 3 of the protocol is what it speaks by itself.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { createRequire } from "node:module";
import { Redis } from "ioredis";

const port = Number(process.argv[2]);
const { version } = createRequire(import.meta.url)("ioredis/package.json");
// Every byte there is, and what ends a line of the protocol.
const binary = Buffer.concat([Buffer.from(Array.from({ length: 256 }, (_, n) => n)), Buffer.from("\r\n$-1\r\n")]);

async function all(options) {
  const redis = new Redis({ port, ...options });
  const other = redis.duplicate();
  await redis.flushall();

  assert.equal(await redis.set("a", "1"), "OK");
  assert.equal(await redis.get("absent"), null);
  assert.equal(await redis.incrby("a", 41), 42);
  assert.equal(await redis.set(binary, binary), "OK");
  assert.deepEqual(await redis.getBuffer(binary), binary);
  assert.deepEqual(await redis.mget("a", "absent"), ["42", null]);
  assert.equal(await redis.set("a", "2", "NX"), null);
  await assert.rejects(redis.lpush("list", "x"), /unknown command/);

  await redis.set("soon", "gone", "PX", 40);
  const left = await redis.pttl("soon");
  assert.ok(left > 0 && left <= 40, `${left}`);
  await sleep(50);
  assert.equal(await redis.get("soon"), null);

  const pipeline = redis.pipeline();
  for (let n = 0; n < 2000; n++) pipeline.set(`pipe:${n}`, n);
  const told = await pipeline.exec();
  assert.ok(told.length === 2000 && told.every(([error, reply]) => error === null && reply === "OK"));
  const seen = new Set();
  for await (const keys of redis.scanStream({ match: "pipe:*", count: 100 })) keys.forEach((key) => seen.add(key));
  assert.equal(seen.size, 2000);

  assert.deepEqual(await redis.multi().set("n", 1).incr("n").exec(), [[null, "OK"], [null, 2]]);
  await redis.watch("n");
  await other.set("n", 7);
  assert.equal(await redis.multi().set("n", 8).exec(), null);
  assert.equal(await redis.get("n"), "7");

  const listener = redis.duplicate();
  assert.equal(await listener.subscribe("news"), 1);
  const message = new Promise((resolve) => listener.once("messageBuffer", (...args) => resolve(args)));
  assert.equal(await redis.publish("news", binary), 1);
  const [channel, bytes] = await message;
  assert.deepEqual([channel.toString(), bytes], ["news", binary]);

  await redis.select(3);
  assert.equal(await redis.get("n"), null);
  assert.match(await redis.info("server"), /redis_version:7\./);
  const config = await redis.config("GET", "databases");
  assert.ok(JSON.stringify(config).includes("16"), JSON.stringify(config));
  await Promise.all([redis.quit(), other.quit(), listener.quit()]);
}

await all({});
await all({ protocol: 2 });
await all({ connectionName: "a-name", enableAutoPipelining: true });
console.log(`ioredis ${version}: both versions, and its own pipelines`);
