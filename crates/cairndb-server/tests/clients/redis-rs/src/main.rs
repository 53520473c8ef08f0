//! redis-rs against the server on the port that is given, in both versions of the protocol.

use std::collections::{BTreeSet, HashMap};
use std::thread::sleep;
use std::time::Duration;

use redis::{Client, Commands, Connection, ErrorKind, RedisResult, Value, cmd, pipe, transaction};

fn main() {
    let port = std::env::args().nth(1).expect("the port is given");
    for version in ["", "?protocol=resp3"] {
        let client = Client::open(format!("redis://127.0.0.1:{port}/{version}")).expect("it is an address");
        all(&client, !version.is_empty()).unwrap_or_else(|error| panic!("{version}: {error}"));
    }
    println!("redis-rs: both versions");
}

fn all(client: &Client, version_3: bool) -> RedisResult<()> {
    let mut c = client.get_connection()?;
    cmd("FLUSHALL").exec(&mut c)?;
    keys_and_values(&mut c)?;
    expiry(&mut c)?;
    pipelines_and_scans(&mut c)?;
    transactions(&mut c, &mut client.get_connection()?)?;
    messages(&mut c, client.get_connection()?)?;
    let config: Value = cmd("CONFIG").arg("GET").arg("databases").query(&mut c)?;
    assert_eq!(matches!(config, Value::Map(_)), version_3, "{config:?}");
    let config: HashMap<String, String> = redis::from_redis_value(config)?;
    assert_eq!(config["databases"], "16");
    Ok(())
}

/// Every byte there is, and what ends a line of the protocol.
fn binary() -> Vec<u8> {
    (0..=255).chain(*b"\r\n$-1\r\n").collect()
}

fn keys_and_values(c: &mut Connection) -> RedisResult<()> {
    c.set::<_, _, ()>(binary(), binary())?;
    assert_eq!(c.get::<_, Vec<u8>>(binary())?, binary());
    assert_eq!(c.get::<_, Option<String>>("absent")?, None);
    c.mset::<_, _, ()>(&[("a", "1"), ("b", "2")])?;
    assert_eq!(c.mget::<_, Vec<Option<i64>>>(&["a", "absent", "b"])?, [Some(1), None, Some(2)]);
    assert_eq!(c.incr::<_, _, i64>("a", 41)?, 42);
    assert_eq!(c.incr::<_, _, f64>("float", 0.5)?, 0.5);
    assert_eq!(c.del::<_, i64>(&["a", "b"])?, 2);
    let error = c.lpush::<_, _, i64>("list", "x").expect_err("lists are not there");
    assert!(error.to_string().contains("unknown command"), "{error}");
    c.set::<_, _, ()>("text", "x")?;
    let error = c.incr::<_, _, i64>("text", 1).expect_err("it is no number");
    assert!(matches!(error.kind(), ErrorKind::Server(_)), "{error:?}");
    Ok(())
}

fn expiry(c: &mut Connection) -> RedisResult<()> {
    c.pset_ex::<_, _, ()>("soon", "gone", 40)?;
    assert!((1..=40).contains(&c.pttl::<_, i64>("soon")?));
    sleep(Duration::from_millis(50));
    assert_eq!(c.get::<_, Option<String>>("soon")?, None);
    c.set_ex::<_, _, ()>("later", "here", 100)?;
    assert!((99..=100).contains(&c.ttl::<_, i64>("later")?));
    assert!(c.persist::<_, bool>("later")?);
    Ok(())
}

fn pipelines_and_scans(c: &mut Connection) -> RedisResult<()> {
    let mut pipeline = pipe();
    for n in 0..2_000 {
        pipeline.set(format!("pipe:{n}"), n).ignore().get(format!("pipe:{n}"));
    }
    assert_eq!(pipeline.query::<Vec<u32>>(c)?, (0..2_000).collect::<Vec<_>>());
    let found = c.scan_match::<_, String>("pipe:*")?.collect::<RedisResult<BTreeSet<_>>>()?;
    assert_eq!(found.len(), 2_000);
    Ok(())
}

fn transactions(c: &mut Connection, other: &mut Connection) -> RedisResult<()> {
    let (n,): (i64,) = pipe().atomic().set("n", 1).ignore().incr("n", 1).query(c)?;
    assert_eq!(n, 2);
    let mut tries = 0;
    let (n,): (i64,) = transaction(c, &["n"], |c, pipeline| {
        let n: i64 = c.get("n")?;
        tries += 1;
        if tries == 1 {
            // Somebody else is faster.
            other.set::<_, _, ()>("n", 10)?;
        }
        pipeline.set("n", n + 1).ignore().get("n").query(c)
    })?;
    assert_eq!((n, tries), (11, 2));
    Ok(())
}

fn messages(c: &mut Connection, mut listener: Connection) -> RedisResult<()> {
    let mut listening = listener.as_pubsub();
    listening.set_read_timeout(Some(Duration::from_secs(5)))?;
    listening.subscribe("news")?;
    listening.psubscribe("ol*")?;
    assert_eq!(c.publish::<_, _, i64>("news", binary())?, 1);
    assert_eq!(c.publish::<_, _, i64>("olds", "x")?, 1);
    let message = listening.get_message()?;
    assert_eq!((message.get_channel_name(), message.get_payload_bytes()), ("news", &binary()[..]));
    assert_eq!(listening.get_message()?.get_pattern::<String>()?, "ol*");
    Ok(())
}
