//! Scenarios: what threads do to one database, and what must hold under every schedule of it.
//!
//! Each is small: a few threads, a few calls, so that a few thousand schedules reach most of what can happen. What all of
//! them assert about sets of writes is in `world`; a schedule also fails where the engine asserts, where threads wait for
//! each other, and where it never ends.

mod group;
mod views;
mod snapshots;
mod maintenance;
mod closing;

/// A name, and what one schedule runs.
pub(crate) type Scenario = (&'static str, fn());

/// Every scenario. A seed's is its remainder by their number: a new one changes what seeds mean.
pub(crate) const SCENARIOS: [Scenario; 12] = [
    ("group-commit", group::commit),
    ("group-fails", group::fails),
    ("group-leader-panics", group::leader_panics),
    ("views-while-flushed", views::while_flushed),
    ("views-while-compacted", views::while_compacted),
    ("snapshots-kept", snapshots::kept),
    ("maintenance-races", maintenance::races),
    ("maintenance-stops", maintenance::stops),
    ("maintenance-freeze-meets-close", maintenance::freeze_meets_close),
    ("maintenance-spare-without-name", maintenance::spare_without_name),
    ("closing-among-all", closing::among_all),
    ("closing-by-last-handle", closing::by_last_handle),
];
