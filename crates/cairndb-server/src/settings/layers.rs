//! Layers: where settings come from. What is set later wins: first the file, then variables, then flags.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Config, SETTINGS, Setting, file, find};
use crate::Error;

/// A configuration as it comes together, which remembers where each setting came from.
///
/// ```
/// # use cairndb_server::{Layers, Origin};
/// let mut layers = Layers::default();
/// layers.set("maxclients", "50", Origin::Flag)?;
/// assert_eq!(layers.config().limits.clients, 50);
/// assert!(layers.print().contains("maxclients = 50  # --maxclients\n"));
/// assert!(layers.set("maxclients", "many", Origin::Flag).is_err());
/// # Ok::<(), cairndb_server::Error>(())
/// ```
#[derive(Debug)]
pub struct Layers {
    config: Config,
    /// One for each of `SETTINGS`.
    origins: Vec<Origin>,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// A variable of the environment.
    Environment,
    /// The command line.
    Flag,
}

impl Default for Layers {
    fn default() -> Layers {
        Layers { config: Config::default(), origins: vec![Origin::Default; SETTINGS.len()] }
    }
}

impl Layers {
    /// Takes what the file says.
    ///
    /// Errors: `Settings`, naming file, line and key, for what cannot be read, is not known or cannot be so.
    pub fn read_file(&mut self, path: &Path) -> Result<(), Error> {
        for (key, word, line) in file::read(path).map_err(Error::Settings)? {
            self.set(&key, &word, Origin::File { path: path.to_path_buf(), line })?;
        }
        self.config.file = Some(path.to_path_buf());
        Ok(())
    }

    /// Takes what the environment says; `look_up` knows a variable's value. One that is empty says nothing.
    ///
    /// Errors: `Settings`, naming the variable.
    pub fn read_environment(&mut self, look_up: impl Fn(&str) -> Option<OsString>) -> Result<(), Error> {
        for setting in SETTINGS {
            let variable = setting.variable();
            let Some(value) = look_up(&variable).filter(|value| !value.is_empty()) else { continue };
            let word =
                value.to_str().ok_or_else(|| Error::Settings(format!("{variable}: this is not UTF-8")))?;
            self.set(setting.name, word, Origin::Environment)?;
        }
        Ok(())
    }

    /// Sets one.
    ///
    /// Errors: `Settings`, naming where the word came from.
    pub fn set(&mut self, name: &str, word: &str, origin: Origin) -> Result<(), Error> {
        let Some(setting) = find(name) else {
            let near = SETTINGS.iter().map(|s| s.name).filter(|known| is_near(known, name));
            let near: Vec<_> = near.map(|known| format!("; there is {known:?}")).take(1).collect();
            let place = origin.place(name);
            return Err(Error::Settings(format!("{place}: there is no such setting{}", near.concat())));
        };
        let set = setting.set(&mut self.config, word);
        set.map_err(|why| Error::Settings(format!("{}: {why}", origin.place(name))))?;
        if let Some(at) = SETTINGS.iter().position(|known| std::ptr::eq(known, setting)) {
            self.origins[at] = origin;
        }
        Ok(())
    }

    /// All of it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// As a TOML file, each line with where it came from. What is secret is not told, but that it is set.
    pub fn print(&self) -> String {
        let mut text = String::new();
        for (setting, origin) in SETTINGS.iter().zip(&self.origins) {
            let (name, value) = (setting.name, setting.get(&self.config));
            let origin = origin.told(setting);
            _ = match setting.secret && !value.spelled().is_empty() {
                true => writeln!(text, "# {name} is set, and not shown  # {origin}"),
                false => writeln!(text, "{name} = {}  # {origin}", value.toml()),
            };
        }
        text
    }
}

impl Origin {
    /// Where the word for this setting stands, as errors name it.
    fn place(&self, name: &str) -> String {
        match self {
            Origin::Default => name.into(),
            Origin::File { path, line } => format!("{}:{line}: {name}", path.display()),
            Origin::Environment => {
                format!("CAIRN_{}", name.to_ascii_uppercase().replace('-', "_"))
            }
            Origin::Flag => format!("--{name}"),
        }
    }

    fn told(&self, setting: &Setting) -> String {
        match self {
            Origin::Default => "default".into(),
            // A comment is one line.
            Origin::File { path, line } => format!("{}:{line}", path.display().to_string().escape_debug()),
            Origin::Environment => setting.variable(),
            Origin::Flag => format!("--{}", setting.name),
        }
    }
}

/// Whether a name may have been meant for this one: but for dashes, underscores and capitals they are alike.
fn is_near(known: &str, name: &str) -> bool {
    let bare = |name: &str| name.replace(['-', '_'], "").to_ascii_lowercase();
    bare(known) == bare(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<Layers, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("cairn.toml");
        std::fs::write(&path, text).expect("it is written");
        let mut layers = Layers::default();
        match layers.read_file(&path) {
            Ok(()) => Ok(layers),
            Err(error) => {
                let shown = error.to_string();
                let line = shown.strip_prefix(&path.display().to_string()).map(str::to_string);
                Err(line.expect("an error names the file"))
            }
        }
    }

    #[test]
    fn what_a_file_should_not_hold_is_named() {
        let told = |text: &str| from_file(text).expect_err("it is wrong");
        assert_eq!(
            told("\nmax_clients = 5"),
            ":2: max_clients: there is no such setting; there is \"maxclients\""
        );
        assert_eq!(told("colour = 5"), ":1: colour: there is no such setting");
        assert_eq!(
            told("maxclients = 5\n\ndurability = \"never\""),
            ":3: durability: \"never\" is none of sync, os, buffered"
        );
        assert_eq!(
            told("maxclients = 0"),
            ":1: maxclients: argument must be between 1 and 4294967295 inclusive"
        );
        for (text, line) in [("maxclients = 1.5", 1), ("\n[maxclients]\na = 1", 2), ("\nlisten = []", 2)] {
            assert!(told(text).starts_with(&format!(":{line}: ")), "{}", told(text));
            assert!(told(text).ends_with("this is not a string, a whole number, true or false"));
        }
        assert!(told("maxclients = 5\nmaxclients = 6").starts_with(":2: "));
        assert!(told("maxclients =").starts_with(":1: "));
    }

    #[test]
    fn flags_win_over_variables_and_those_over_the_file() {
        let mut layers =
            from_file("maxclients = 5\nlisten = \"localhost:1\"\nmemory-budget = \"64MiB\"").expect("it is");
        let variables = |name: &str| match name {
            "CAIRN_MAXCLIENTS" => Some("6".into()),
            "CAIRN_LISTEN" => Some("localhost:2".into()),
            "CAIRN_DURABILITY" => Some("".into()),
            _ => None,
        };
        layers.read_environment(variables).expect("they are right");
        layers.set("maxclients", "7", Origin::Flag).expect("it is right");
        let config = layers.config();
        assert_eq!((config.limits.clients, config.listen.as_str()), (7, "localhost:2"));
        assert_eq!(config.memory_budget_bytes, 64 << 20);
        let text = layers.print();
        for line in [
            "maxclients = 7  # --maxclients\n",
            "listen = \"localhost:2\"  # CAIRN_LISTEN\n",
            "durability = \"sync\"  # default\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("cairn.toml:3\n"), "{text}");
    }

    #[test]
    fn what_is_printed_can_be_read_and_shows_no_password() {
        let mut layers = Layers::default();
        layers.set("requirepass", "open sesame", Origin::Flag).expect("it is right");
        layers.set("db", "a \"b\"\nc", Origin::Flag).expect("it is right");
        let text = layers.print();
        assert!(!text.contains("sesame"), "{text}");
        let again = from_file(&text).expect("it can be read");
        let expected = Config { password: None, file: again.config.file.clone(), ..layers.config.clone() };
        assert_eq!(again.config, expected);
    }

    #[test]
    fn a_bad_variable_is_named() {
        let mut layers = Layers::default();
        let told = layers.read_environment(|name| (name == "CAIRN_MEMORY_BUDGET").then(|| "lots".into()));
        let told = told.expect_err("it is wrong").to_string();
        assert!(told.starts_with("CAIRN_MEMORY_BUDGET: \"lots\" is not"), "{told}");
    }
}
