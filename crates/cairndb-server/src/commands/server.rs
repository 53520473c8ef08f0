//! The server: how it is.

use super::{Answer, Context};

pub(super) fn time(c: &mut Context<'_>, _: &[&[u8]]) -> Answer {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    c.out.array(2);
    c.out.bulk(since.as_secs().to_string().as_bytes());
    c.out.bulk(since.subsec_micros().to_string().as_bytes());
    Ok(())
}
