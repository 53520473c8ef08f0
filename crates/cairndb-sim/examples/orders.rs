//! Orders: an application of ten lines, run through the crashes of its own database.

use cairndb_sim::Crashes;

fn main() -> Result<(), String> {
    let tested = Crashes::default().run(
        |db, told| {
            for order in 0..50u8 {
                db.put([order], "paid")?;
                told.push(order); // The customer has the receipt.
            }
            db.compact()
        },
        |db, told| {
            for order in told {
                assert!(db.contains([*order])?, "order {order} was confirmed, and is gone");
            }
            Ok(())
        },
    )?;
    println!("{tested}");
    Ok(())
}
