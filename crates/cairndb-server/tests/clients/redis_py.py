"""redis-py, in both of its faces and both versions of the protocol, against the server on the port that is given."""

import asyncio
import sys
import time

import redis
import redis.asyncio

PORT = int(sys.argv[1])
# Every byte there is, what ends a line of the protocol, and what is no text at all.
BINARY = bytes(range(256)) + b"\r\n$-1\r\n\xff\xfe"


def keys_and_values(r):
    assert r.ping() is True
    assert r.set(BINARY, BINARY) is True
    assert r.get(BINARY) == BINARY
    assert r.get(b"absent") is None
    assert r.mset({b"a": 1, b"b": 2}) is True
    assert r.mget(b"a", b"absent", b"b") == [b"1", None, b"2"]
    assert r.set(b"a", 5, nx=True) is None
    assert r.set(b"a", 5, get=True) == b"1"
    assert r.incrby(b"a", 37) == 42
    assert r.incrbyfloat(b"float", 0.5) == 0.5
    assert (r.append(b"b", b"!"), r.strlen(b"b"), r.getrange(b"b", 0, 0)) == (2, 2, b"2")
    assert (r.setbit(b"bits", 7, 1), r.bitcount(b"bits"), r.getbit(b"bits", 7)) == (0, 1, 1)
    assert (r.exists(b"a", b"b", b"absent"), r.type(b"a"), r.delete(b"a", b"b", BINARY)) == (2, b"string", 3)
    try:
        r.execute_command("LPUSH", "list", "x")
        raise AssertionError("lists are not there")
    except redis.ResponseError as error:
        assert str(error).startswith("unknown command"), error


def expiry(r):
    assert r.set(b"soon", b"gone", px=40) is True
    assert 0 < r.pttl(b"soon") <= 40
    assert r.set(b"later", b"here", ex=100) is True
    assert 99 <= r.ttl(b"later") <= 100
    assert (r.persist(b"later"), r.ttl(b"later"), r.ttl(b"absent")) == (True, -1, -2)
    assert r.expire(b"later", 50, lt=True) is True
    assert r.expire(b"later", 60, lt=True) is False
    assert r.getex(b"later", persist=True) == b"here"
    time.sleep(0.05)
    assert r.get(b"soon") is None and r.exists(b"soon") == 0
    r.delete(b"later")


def scan(r):
    wanted = {b"scan:%d" % n for n in range(1_000)}
    r.mset({key: b"x" for key in wanted})
    assert set(r.scan_iter(match="scan:*", count=37)) == wanted
    assert sorted(r.keys("scan:99?")) == sorted(b"scan:99%d" % n for n in range(10))
    assert r.delete(*wanted) == 1_000


def pipeline(r):
    with r.pipeline(transaction=False) as p:
        for n in range(5_000):
            p.set(b"pipe:%d" % n, n).get(b"pipe:%d" % n)
        told = p.execute()
    assert told == [item for n in range(5_000) for item in (True, b"%d" % n)]
    with r.pipeline(transaction=False) as p:
        told = p.set(b"text", b"x").incr(b"text").get(b"text").execute(raise_on_error=False)
    assert told[0] is True and isinstance(told[1], redis.ResponseError) and told[2] == b"x", told


def transaction(r, other):
    with r.pipeline() as p:
        assert p.set(b"n", 1).incr(b"n").get(b"n").execute() == [True, 2, b"2"]
    with r.pipeline() as p:
        p.watch(b"n")
        p.multi()
        p.set(b"n", 10)
        other.set(b"n", 3)
        try:
            p.execute()
            raise AssertionError("what was watched has changed")
        except redis.WatchError:
            pass
    assert r.get(b"n") == b"3"
    # Its own loop: watch, read, write, and again if somebody else was faster.
    assert r.transaction(lambda p: (p.multi(), p.incr(b"n")), b"n") == [4]


def messages(r):
    p = r.pubsub()
    p.subscribe("news")
    p.psubscribe("ne*")
    seen = [p.get_message(timeout=5) for _ in range(2)]
    assert [(m["type"], m["data"]) for m in seen] == [("subscribe", 1), ("psubscribe", 2)], seen
    assert r.publish("news", BINARY) == 2
    seen = [p.get_message(timeout=5) for _ in range(2)]
    assert {m["type"] for m in seen} == {"message", "pmessage"} and all(m["data"] == BINARY for m in seen), seen
    assert (r.pubsub_channels(), r.pubsub_numpat(), r.pubsub_numsub("news")) == ([b"news"], 1, [(b"news", 1)])
    p.unsubscribe()
    p.punsubscribe()
    assert [p.get_message(timeout=5)["type"] for _ in range(2)] == ["unsubscribe", "punsubscribe"]
    p.close()


def server(r):
    assert r.info("server")["redis_version"].startswith("7.")
    assert r.config_get("maxclients")["maxclients"].isdigit()
    assert any(client["id"] == str(r.client_id()) for client in r.client_list())
    assert r.client_setname("a-name") is True and r.client_getname() in (b"a-name", "a-name")
    assert r.time()[0] > 1_700_000_000
    assert r.dbsize() >= 1
    assert r.command_count() > 50
    assert "get" in r.command()


def replies_of_version_3():
    """What the server sends, before redis-py makes it look like version 2."""
    r = redis.Redis(port=PORT, protocol=3, single_connection_client=True)
    connection = r.connection or r.connection_pool.get_connection()
    def raw(*words):
        connection.send_command(*words)
        return connection.read_response()
    hello = raw("HELLO", 3)
    assert isinstance(hello, dict) and hello[b"proto"] == 3 and hello[b"server"] == b"redis", hello
    assert raw("GET", "absent") is None
    assert raw("CONFIG", "GET", "databases") == {b"databases": b"16"}
    assert raw("MGET", "absent", "absent") == [None, None]
    flags = raw("COMMAND", "INFO", "get")[0][2]
    assert isinstance(flags, (set, list)) and b"readonly" in {bytes(flag) for flag in flags}, flags
    assert b"# Server" in raw("INFO", "server")
    r.close()


def databases():
    zero, three = redis.Redis(port=PORT), redis.Redis(port=PORT, db=3)
    zero.set("same", "zero")
    three.set("same", "three")
    assert (zero.get("same"), three.get("same")) == (b"zero", b"three")
    assert not zero.move("same", 3)
    three.flushdb()
    assert (three.dbsize(), zero.get("same")) == (0, b"zero")


def text():
    r = redis.Redis(port=PORT, decode_responses=True)
    r.set("schlüssel", "größe")
    assert r.get("schlüssel") == "größe"


async def asynchronous():
    r = redis.asyncio.Redis(port=PORT)
    assert await r.ping()
    assert await r.set(BINARY, BINARY) and await r.get(BINARY) == BINARY
    await asyncio.gather(*(r.incr("together") for _ in range(50)))
    assert await r.get("together") == b"50"
    async with r.pipeline(transaction=False) as p:
        for n in range(1_000):
            p.set(b"async:%d" % n, n)
        assert await p.execute() == [True] * 1_000
    assert len([key async for key in r.scan_iter(match="async:*")]) == 1_000
    async with r.pipeline(transaction=True) as p:
        await p.watch("together")
        p.multi()
        p.set("together", 0)
        await r.set("together", 1)
        try:
            await p.execute()
            raise AssertionError("what was watched has changed")
        except redis.WatchError:
            pass
    await r.set("soon", "gone", px=30)
    await asyncio.sleep(0.04)
    assert await r.get("soon") is None
    async with r.pubsub() as p:
        await p.subscribe("later")
        assert (await p.get_message(timeout=5))["type"] == "subscribe"
        assert await r.publish("later", "hello") == 1
        assert (await p.get_message(timeout=5))["data"] == b"hello"
    await r.aclose()


for protocol in (3, 2):
    client = redis.Redis(port=PORT, protocol=protocol)
    client.flushall()
    keys_and_values(client)
    expiry(client)
    scan(client)
    pipeline(client)
    transaction(client, redis.Redis(port=PORT, protocol=protocol))
    messages(client)
    server(client)
replies_of_version_3()
databases()
text()
asyncio.run(asynchronous())
print(f"redis-py {redis.__version__}: both faces, both versions")
