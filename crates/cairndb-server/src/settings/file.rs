//! The file: settings as TOML, one key a line.
//!
//! When things break: what the file should not hold is an error that names file, line and key. A rewrite that is cut short
//! leaves the old file: the new one is written beside it, synced, and takes its name.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use toml_edit::{Document, DocumentMut, Item};

use super::Value;

/// What the file says: key, value's word, line.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String, usize)>, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    let line = |at: usize| text[..at.min(text.len())].bytes().filter(|&byte| byte == b'\n').count() + 1;
    let document = Document::parse(text.as_str()).map_err(|error| {
        let line = line(error.span().map_or(0, |span| span.start));
        format!("{shown}:{line}: {}", error.message())
    })?;
    let table = document.as_table();
    let mut said = Vec::new();
    for (key, item) in table.iter() {
        let place = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
        let line = line(place.map_or(0, |span| span.start));
        let word = match item.as_value() {
            Some(toml_edit::Value::String(text)) => text.value().clone(),
            Some(toml_edit::Value::Integer(n)) => n.value().to_string(),
            Some(toml_edit::Value::Boolean(flag)) => flag.value().to_string(),
            _ => {
                return Err(format!(
                    "{shown}:{line}: {key}: this is not a string, a whole number, true or false"
                ));
            }
        };
        said.push((key.to_string(), word, line));
    }
    Ok(said)
}

/// Has the file say these values, and leaves the rest of it as it stands, comments too.
pub(crate) fn rewrite(path: &Path, values: &[(&str, Value)]) -> io::Result<()> {
    // A link stays one: what it points to is written.
    let path = fs::canonicalize(path)?;
    let text = fs::read_to_string(&path)?;
    let mut document: DocumentMut = text.parse().map_err(io::Error::other)?;
    for (name, value) in values {
        let mut value = value.toml();
        if let Some(old) = document.get(name).and_then(Item::as_value) {
            *value.decor_mut() = old.decor().clone();
        }
        document[name] = Item::Value(value);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let beside = directory.join(name);
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        // Before anything is in it: there may be a password.
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.write_all(document.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    })();
    if written.is_err() {
        _ = fs::remove_file(&beside);
    }
    written?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_keeps_comments_and_order() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("cairn.toml");
        fs::write(&path, "# ours\nmaxclients = 5 # few\n\nlisten = \"localhost:1\"\n")
            .expect("it is written");
        let values = [("maxclients", Value::Number(7)), ("requirepass", Value::Text("a \"b\"".into()))];
        rewrite(&path, &values).expect("it is rewritten");
        let text = fs::read_to_string(&path).expect("it is there");
        assert_eq!(
            text,
            "# ours\nmaxclients = 7 # few\n\nlisten = \"localhost:1\"\nrequirepass = 'a \"b\"'\n"
        );
        let said = read(&path).expect("it can be read");
        let said: Vec<_> =
            said.iter().map(|(key, word, line)| (key.as_str(), word.as_str(), *line)).collect();
        assert_eq!(
            said,
            [("maxclients", "7", 2), ("listen", "localhost:1", 4), ("requirepass", "a \"b\"", 5)]
        );
        assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 1);
    }
}
