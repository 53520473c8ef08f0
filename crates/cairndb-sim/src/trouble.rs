//! Trouble: what ends a step before its end.

use cairndb::Error;

pub(crate) enum Trouble {
    /// The engine has answered with an error, which may be what the disk was asked for.
    Engine(Error),
    /// The engine is wrong.
    Wrong(String),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Engine(error)
    }
}

impl Trouble {
    pub(crate) fn told(self) -> String {
        match self {
            Trouble::Wrong(told) => told,
            Trouble::Engine(error) => format!("the engine answered {error:?}"),
        }
    }
}

pub(crate) type Done = Result<(), Trouble>;

macro_rules! require {
    ($holds:expr, $($told:tt)*) => {
        if !$holds {
            return Err(Trouble::Wrong(format!($($told)*)));
        }
    };
}

pub(crate) use require;
