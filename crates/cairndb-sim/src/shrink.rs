//! Shrink: a failing script, made short.

use std::time::{Duration, Instant};

use crate::script::Step;

/// How long shrinking may take.
const SHRINK_SECONDS: u64 = 30;

/// Takes steps away as long as what is left still fails; returns it, with what it told.
pub(crate) fn shrink(
    mut steps: Vec<Step>,
    mut told: String,
    run: &dyn Fn(&[Step]) -> Result<(), String>,
) -> (Vec<Step>, String) {
    let until = Instant::now() + Duration::from_secs(SHRINK_SECONDS);
    let mut len = steps.len().div_ceil(2);
    while len > 0 {
        let (mut at, mut shrunk) = (0, false);
        while at < steps.len() && Instant::now() < until {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + len).min(fewer.len()));
            match run(&fewer) {
                Err(of_fewer) => (steps, told, shrunk) = (fewer, of_fewer, true),
                Ok(_) => at += len,
            }
        }
        if Instant::now() >= until {
            break;
        }
        len = if len == 1 && shrunk { 1 } else { len / 2 };
    }
    (steps, told)
}
