//! Quiet: a panic as an answer. A simulation runs thousands of times what may panic once; then it wants the text.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Panics of this thread are an answer, not to be printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static TOLD: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `work`; a panic in it is an error that says what and where.
pub(crate) fn quietly<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                return print(info);
            }
            // The first one: others follow from it.
            TOLD.with_borrow_mut(|told| {
                if told.is_empty() {
                    *told = info.to_string();
                }
            });
        }));
    });
    TOLD.with_borrow_mut(String::clear);
    let before = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    done.unwrap_or_else(|_| Err(TOLD.with_borrow(|told| format!("panic: {told}"))))
}
