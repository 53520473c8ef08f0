//! Somebody's application: the right ones pass, and each kind of wrong one is found.

use cairndb::{Batch, Db, Durability};
use cairndb_sim::{Crashes, Told};

fn balance(db: &Db, account: &str) -> cairndb::Result<u64> {
    let bytes = db.get(account)?;
    Ok(bytes.map_or(100, |bytes| u64::from_le_bytes((&bytes[..]).try_into().expect("eight bytes"))))
}

fn total_is_kept(db: &Db, _: &[()]) -> cairndb::Result<()> {
    let total = balance(db, "a")? + balance(db, "b")?;
    assert_eq!(total, 200, "money came or went");
    Ok(())
}

#[test]
fn a_transfer_in_one_batch_keeps_the_total() {
    let transfer = |db: &Db, _: &Told<()>| {
        for amount in 1..6 {
            let (a, b) = (balance(db, "a")? - amount, balance(db, "b")? + amount);
            let mut batch = Batch::new();
            batch.put("a", a.to_le_bytes()).put("b", b.to_le_bytes());
            db.write(batch)?;
        }
        db.flush()
    };
    let tested = Crashes::default().run(transfer, total_is_kept).unwrap();
    assert!(tested.calls > 20 && tested.states > 20, "{tested}");
}

#[test]
fn a_transfer_in_two_writes_is_found() {
    let transfer = |db: &Db, _: &Told<()>| {
        db.put("a", 90u64.to_le_bytes())?;
        db.put("b", 110u64.to_le_bytes())
    };
    let told = Crashes::default().run(transfer, total_is_kept).unwrap_err();
    assert!(told.contains("money came or went") && told.contains("before storage call"), "{told}");
}

fn confirmed_are_there(db: &Db, told: &[u8]) -> cairndb::Result<()> {
    for order in told {
        assert!(db.contains([*order])?, "order {order} is gone");
    }
    Ok(())
}

#[test]
fn confirming_before_the_write_is_found() {
    let early = |db: &Db, told: &Told<u8>| {
        told.push(1);
        db.put([1], "paid")
    };
    Crashes::default().run(early, confirmed_are_there).unwrap_err();
}

#[test]
fn a_weaker_durability_than_the_promise_is_found() {
    let weak = |db: &Db, told: &Told<u8>| {
        for order in 0..3 {
            db.with_durability(Durability::Os).put([order], "paid")?;
            told.push(order);
        }
        Ok(())
    };
    Crashes::default().run(weak, confirmed_are_there).unwrap_err();
}

#[test]
fn an_application_that_fails_says_so() {
    let failing = |db: &Db, _: &Told<()>| db.put(vec![0; 1 << 20], "too long a key");
    let told = Crashes::default().run(failing, |_, _: &[()]| Ok(())).unwrap_err();
    assert!(told.starts_with("the application failed"), "{told}");
}
