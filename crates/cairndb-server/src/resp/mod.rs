//! RESP: the Redis protocol, versions 2 and 3: requests in, replies out.

pub(crate) mod reply;
pub(crate) mod request;
