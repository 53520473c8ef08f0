//! Page: the session as JavaScript calls it.
//!
//! JSON comes back, or bytes; what fails is thrown as its text.

use cairndb::Durability;
use wasm_bindgen::prelude::*;

use crate::session::{Session, Verb};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

/// A session of the page.
#[wasm_bindgen]
pub struct Explorer {
    session: Session,
}

#[wasm_bindgen]
impl Explorer {
    /// A session without files.
    #[wasm_bindgen(constructor)]
    pub fn new(now_ms: f64, seed: f64) -> Explorer {
        std::panic::set_hook(Box::new(|panic| console_error(&format!("explorer: {panic}"))));
        Explorer { session: Session::new(now_ms as u64, seed as u64) }
    }

    /// Adds a file; whether it is one of a database's.
    pub fn add(&mut self, name: &str, bytes: Vec<u8>) -> bool {
        self.session.add(name, bytes)
    }

    /// Goes back to the files that were added.
    pub fn restart(&mut self) {
        self.session.restart();
    }

    /// Has the disk lie about syncs from now on, or no more.
    pub fn lie(&mut self, lies: bool) {
        self.session.lie(lies);
    }

    /// The files and the tree.
    pub fn tree(&self) -> Result<String, JsValue> {
        self.session.tree().map_err(thrown)
    }

    /// A file's parts.
    pub fn parts(&self, name: &str) -> Result<String, JsValue> {
        self.session.parts(name).map_err(thrown)
    }

    /// The fields of the part at `offset`.
    pub fn fields(&self, name: &str, offset: f64) -> Result<String, JsValue> {
        self.session.fields(name, offset as u64).map_err(thrown)
    }

    /// Bytes of a file.
    pub fn bytes(&self, name: &str, offset: f64, len: usize) -> Result<Vec<u8>, JsValue> {
        self.session.bytes(name, offset as u64, len).map_err(thrown)
    }

    /// The bytes of the packed block at `offset`.
    pub fn unpacked(&self, name: &str, offset: f64) -> Result<Vec<u8>, JsValue> {
        self.session.unpacked(name, offset as u64).map_err(thrown)
    }

    /// The way to a key.
    pub fn search(&self, keyspace: u8, key: &[u8]) -> Result<String, JsValue> {
        self.session.search(keyspace, key).map_err(thrown)
    }

    /// Makes a step. Keys and values are for those verbs that have them; `durability` is 0, 1 or 2.
    pub fn step(
        &mut self,
        verb: &str,
        keyspace: u8,
        key: Vec<u8>,
        value: Vec<u8>,
        durability: u8,
    ) -> Result<String, JsValue> {
        let durability = match durability {
            0 => Durability::Buffered,
            1 => Durability::Os,
            _ => Durability::Sync,
        };
        let verb = match verb {
            "open" => Verb::Open,
            "put" => Verb::Put(keyspace, key, value, durability),
            "delete" => Verb::Delete(keyspace, key, durability),
            "get" => Verb::Get(keyspace, key),
            "flush" => Verb::Flush,
            "maintain" => Verb::Maintain,
            "compact" => Verb::Compact,
            "close" => Verb::Close,
            other => return Err(thrown(format!("there is no step '{other}'"))),
        };
        self.session.step(verb).map_err(thrown)
    }

    /// What a crash may harm.
    pub fn unsynced(&self, step: usize, moment: usize) -> Result<String, JsValue> {
        self.session.unsynced(step, moment).map_err(thrown)
    }

    /// How many states there are.
    pub fn plan(&self, step: usize, moment: usize) -> Result<String, JsValue> {
        self.session.plan(step, moment).map_err(thrown)
    }

    /// Some of the states.
    pub fn sweep(&self, step: usize, moment: usize, first: f64, count: f64) -> Result<String, JsValue> {
        self.session.sweep(step, moment, first as u64, count as u64).map_err(thrown)
    }

    /// One state.
    pub fn crash(&self, step: usize, moment: usize, fates: &str) -> Result<String, JsValue> {
        self.session.crash(step, moment, fates).map_err(thrown)
    }

    /// Goes on with one state.
    pub fn adopt(&mut self, step: usize, moment: usize, fates: &str) -> Result<(), JsValue> {
        self.session.adopt(step, moment, fates).map_err(thrown)
    }
}

fn thrown(text: String) -> JsValue {
    JsError::new(&text).into()
}
