//! Js: the few things of the browser's that are called, and what their errors mean.

use std::io;

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    /// `FileSystemDirectoryHandle`.
    pub(crate) type Directory;

    #[wasm_bindgen(catch, js_namespace = ["navigator", "storage"], js_name = getDirectory)]
    async fn get_directory() -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getDirectoryHandle)]
    async fn get_directory_handle(
        this: &Directory,
        name: &str,
        options: &JsValue,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = getFileHandle)]
    async fn get_file_handle(this: &Directory, name: &str, options: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = removeEntry)]
    async fn remove_entry(this: &Directory, name: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn keys(this: &Directory) -> Result<Names, JsValue>;

    /// The asynchronous iterator over a directory's names.
    type Names;

    #[wasm_bindgen(method, catch)]
    async fn next(this: &Names) -> Result<JsValue, JsValue>;

    /// `FileSystemFileHandle`.
    type FileHandle;

    #[wasm_bindgen(method, catch, js_name = createSyncAccessHandle)]
    async fn create_sync_access_handle(this: &FileHandle) -> Result<JsValue, JsValue>;

    /// `FileSystemSyncAccessHandle`: nobody else has the file open while this one has.
    pub(crate) type Access;

    #[wasm_bindgen(method, catch)]
    fn read(this: &Access, bytes: &mut [u8], place: &Place) -> Result<f64, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn write(this: &Access, bytes: &[u8], place: &Place) -> Result<f64, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn truncate(this: &Access, len: f64) -> Result<(), JsValue>;

    #[wasm_bindgen(method, catch, js_name = getSize)]
    fn get_size(this: &Access) -> Result<f64, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn flush(this: &Access) -> Result<(), JsValue>;

    #[wasm_bindgen(method)]
    pub(crate) fn close(this: &Access);

    /// Where to read and write: `{ at }`.
    type Place;

    #[wasm_bindgen(method, setter)]
    fn set_at(this: &Place, offset: f64);

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(call: &Function, ms: f64);

    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> Result<(), JsValue>;

    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub(crate) fn console_error(text: &str);
}

thread_local! {
    /// One for all calls: a new object for each would be as dear as the call.
    static PLACE: Place = js_sys::Object::new().unchecked_into();
}

/// The directory of all databases of this page's origin.
pub(crate) async fn databases() -> io::Result<Directory> {
    let root: Directory = get_directory().await.map_err(error)?.unchecked_into();
    root.directory("cairndb").await
}

impl Directory {
    /// The directory `name` in this one, made if it is not there.
    pub(crate) async fn directory(&self, name: &str) -> io::Result<Directory> {
        Ok(self.get_directory_handle(name, &create()).await.map_err(error)?.unchecked_into())
    }

    /// Opens a file, made if it is not there.
    pub(crate) async fn access(&self, name: &str) -> io::Result<Access> {
        let file: FileHandle = self.get_file_handle(name, &create()).await.map_err(error)?.unchecked_into();
        Ok(file.create_sync_access_handle().await.map_err(error)?.unchecked_into())
    }

    /// Removes a file; that it is gone already is as good.
    pub(crate) async fn remove(&self, name: &str) -> io::Result<()> {
        match self.remove_entry(name).await.map_err(error) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The names of everything in it.
    pub(crate) async fn names(&self) -> io::Result<Vec<String>> {
        let (names, mut found) = (self.keys().map_err(error)?, Vec::new());
        loop {
            let next = names.next().await.map_err(error)?;
            if Reflect::get(&next, &"done".into()).map_err(error)?.is_truthy() {
                return Ok(found);
            }
            found.extend(Reflect::get(&next, &"value".into()).map_err(error)?.as_string());
        }
    }
}

impl Access {
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < bytes.len() {
            let at = (offset + count as u64) as f64;
            match at_place(at, |place| self.read(&mut bytes[count..], place))? {
                0 => break,
                more => count += more,
            }
        }
        Ok(count)
    }

    pub(crate) fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut count = 0;
        while count < bytes.len() {
            let at = (offset + count as u64) as f64;
            match at_place(at, |place| self.write(&bytes[count..], place))? {
                0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::StorageFull,
                        "the browser took none of the bytes",
                    ));
                }
                more => count += more,
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.get_size().map_err(error)? as u64)
    }

    /// Gives back all space at once.
    pub(crate) fn empty(&self) -> io::Result<()> {
        self.truncate(0.0).map_err(error)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.flush().map_err(error)
    }
}

fn at_place(at: f64, call: impl FnOnce(&Place) -> Result<f64, JsValue>) -> io::Result<usize> {
    let count = PLACE.with(|place| {
        place.set_at(at);
        call(place)
    });
    Ok(count.map_err(error)? as usize)
}

/// What a page must be told to have a file or directory made.
fn create() -> JsValue {
    let options = js_sys::Object::new();
    // A fresh object takes any property.
    drop(Reflect::set(&options, &"create".into(), &true.into()));
    options.into()
}

/// Waits; a task of its own, so that messages come in meanwhile.
pub(crate) async fn sleep(ms: f64) {
    let promise = Promise::new(&mut |resolve, _| set_timeout(&resolve, ms));
    // A timer does not fail.
    drop(JsFuture::from(promise).await);
}

/// 128 bits that nobody can guess.
pub(crate) fn random_id() -> u128 {
    let mut bytes = [0; 16];
    get_random_values(&mut bytes).expect("a browser has randomness");
    u128::from_le_bytes(bytes)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// A thrown value as one of the operating system's errors.
fn error(thrown: JsValue) -> io::Error {
    let text = |name: &str| Reflect::get(&thrown, &name.into()).ok().and_then(|value| value.as_string());
    let name = text("name").unwrap_or_default();
    let kind = match name.as_str() {
        "QuotaExceededError" => io::ErrorKind::StorageFull,
        "NotFoundError" => io::ErrorKind::NotFound,
        "NoModificationAllowedError" => io::ErrorKind::ResourceBusy,
        "SecurityError" | "NotAllowedError" => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    let message = text("message").unwrap_or_else(|| format!("{thrown:?}"));
    io::Error::new(kind, format!("{name}: {message}"))
}
