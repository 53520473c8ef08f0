//! Opfs: a directory of the browser's origin private file system.
//!
//! A page may use such files synchronously only in a dedicated worker, and only through a handle that it has opened
//! asynchronously before. So every file of the set is open from the beginning, and a few more: *spares*, empty files
//! under the numbers that will be asked for next. [`Opfs::top_up`] makes them; it is the one thing that somebody has to wait for, and a
//! create without a spare says `WouldBlock` until then.
//!
//! # Where it sits
//! What a database is opened on, in a browser. It stands on `js`.
//!
//! # On disk
//! Exactly what a native directory holds, empty files apart, with an empty `LOCK`.
//!
//! # Invariants
//! - I1. Spares are not listed, and cannot be opened or removed, until they are created. So a set looks the same with them.
//! - I2. A file that was removed is empty and its handle closed as soon as no [`File`] of it is left; its name goes at the
//!   next top-up, and until then the name cannot be created anew.
//! - I3. No borrow of the table is held across an `await`, so that the engine can be called while spares are made.
//!
//! # When things break
//! A killed worker leaves everything as it was last written. Names are not synced by anyone: docs/decisions/0014.
//!
//! # Why this way
//! Handles belong to the thread that opened them, and the engine asks for `Send + Sync`. So they stand in a table of the
//! thread's, and a file is its number there: on another thread there would be nothing behind the number.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::sync::Arc;

use cairndb_storage::{File, FileKind, FileName, Holders, Lock, LockError, LockMode, Site, Storage};

use wasm_bindgen::JsCast;

use crate::js::{Access, Directory, databases, sleep};

const LOCK: &str = "LOCK";

/// How many files of a kind are kept ahead: by what a few steps of maintenance take.
const SPARES: [(FileKind, usize); 4] =
    [(FileKind::Manifest, 1), (FileKind::SsTable, 4), (FileKind::Wal, 2), (FileKind::Reserve, 1)];

/// For so long the handles of a page that was just left may linger, in milliseconds, and how often that is looked at.
const LINGER_MS: f64 = 2000.0;
const LOOK_MS: f64 = 10.0;

/// As many zeros as one write of `reserve` lays down.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table { files: Vec::new(), places: Vec::new() }) };
}

/// Every open file of the thread, by number. Vectors and not maps: there are hundreds of files at most, and each kind of map is some
/// kilobytes of code that every page would load.
struct Table {
    files: Vec<Option<Open>>,
    places: Vec<Option<Place>>,
}

/// One database's directory.
struct Place {
    directory: Directory,
    lock: Access,
    /// Files that were removed: their names are to go.
    removed: Vec<FileName>,
    wanted: [Wanted; SPARES.len()],
    /// Somebody is making spares.
    is_topping_up: bool,
}

/// The number that a kind will be asked for next, and how many spares are wanted from there on.
#[derive(Clone, Copy)]
struct Wanted {
    kind: FileKind,
    next: u64,
    count: usize,
}

struct Open {
    place: usize,
    name: FileName,
    access: Access,
    /// How many [`OpfsFile`]s there are of it.
    holders: usize,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Spare,
    InSet,
    Removed,
}

/// Why a directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Somebody else has it open, and has had for two seconds.
    Held,
    /// The browser refused.
    Io(io::Error),
}

/// A database's directory in the browser; a clone is another handle on the same files. Of the thread that opened it.
#[derive(Clone)]
pub struct Opfs {
    shared: Arc<Shared>,
}

struct Shared {
    place: usize,
    holders: Holders,
}

impl Opfs {
    /// Opens the directory of the database `name`, made if it is not there, with every file in it.
    pub async fn open(name: &str) -> Result<Opfs, OpenError> {
        let directory = databases().await.map_err(OpenError::Io)?;
        let directory = directory.directory(name).await.map_err(OpenError::Io)?;
        let lock = access(&directory, LOCK).await?;
        let wanted = SPARES.map(|(kind, count)| Wanted { kind, next: 1, count });
        let place = Place { directory, lock, removed: Vec::new(), wanted, is_topping_up: false };
        let place = with_table(|table| put(&mut table.places, place));
        // From here on whatever goes wrong closes what is open.
        let opfs = Opfs { shared: Arc::new(Shared { place, holders: Holders::default() }) };
        let directory = opfs.directory().map_err(OpenError::Io)?;
        for text in directory.names().await.map_err(OpenError::Io)? {
            if let Ok(name) = text.parse() {
                opfs.add(name, access(&directory, &text).await?).map_err(OpenError::Io)?;
            }
        }
        Ok(opfs)
    }

    /// Adds a file that was found. The empty ones behind the last that is not are spares of an earlier session.
    fn add(&self, name: FileName, access: Access) -> io::Result<()> {
        let len = access.len();
        with_table(|table| {
            let used = len.inspect_err(|_| access.close())? > 0;
            let (place, standing) = (self.shared.place, Standing::Spare);
            put(&mut table.files, Open { place, name, access, holders: 0, standing });
            let Some(wanted) = table.wanted(place, name.kind) else { return Ok(()) };
            if used {
                wanted.next = wanted.next.max(name.number.saturating_add(1));
            }
            let next = wanted.next;
            for open in table.of(place).filter(|open| open.name.kind == name.kind && open.name.number < next)
            {
                open.standing = Standing::InSet;
            }
            Ok(())
        })
    }

    /// Makes the spares that are wanted, and takes the names of removed files away. Where somebody is at it already, and
    /// where nothing is to be done, it returns at once.
    ///
    /// Errors: the browser's; what was done until then is done.
    pub async fn top_up(&self) -> io::Result<()> {
        let begin = |table: &mut Table| {
            let place = table.place(self.shared.place)?;
            Some(!std::mem::replace(&mut place.is_topping_up, true))
        };
        if with_table(begin) != Some(true) {
            return Ok(());
        }
        let done = async {
            let mut later = Vec::new();
            while let Some(name) = with_table(|table| table.next_to_go(self.shared.place)) {
                match self.directory()?.remove(&name.to_string()).await {
                    // The browser has not noticed yet that its handle is closed: the next top-up takes it away.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => later.push(name),
                    removed => removed?,
                }
                self.with_place(|place| place.removed.retain(|other| *other != name));
            }
            self.with_place(|place| place.removed.append(&mut later));
            while let Some(name) = with_table(|table| table.next_to_come(self.shared.place)) {
                self.make_spare(name).await?;
            }
            Ok(())
        };
        let done = done.await;
        self.with_place(|place| place.is_topping_up = false);
        done
    }

    /// Makes one file ahead under this very name.
    pub async fn make_spare(&self, name: FileName) -> io::Result<()> {
        let access = self.directory()?.access(&name.to_string()).await?;
        with_table(|table| {
            let place = self.shared.place;
            if table.place(place).is_none() {
                // The database was closed meanwhile.
                access.close();
                return;
            }
            put(&mut table.files, Open { place, name, access, holders: 0, standing: Standing::Spare });
        });
        Ok(())
    }

    /// Whether a top-up would do anything.
    pub fn wants_top_up(&self) -> bool {
        let place = self.shared.place;
        with_table(|table| table.next_to_go(place).or_else(|| table.next_to_come(place)).is_some())
    }

    /// Wants twice as many tables ahead from now on: for an open that has more logs to flush than there are spares.
    pub fn want_more(&self) {
        with_table(|table| {
            if let Some(wanted) = table.wanted(self.shared.place, FileKind::SsTable) {
                wanted.count *= 2;
            }
        });
    }

    /// How many files stand in the directory, spares among them.
    pub fn file_count(&self) -> usize {
        with_table(|table| table.of(self.shared.place).count())
    }

    /// Closes all files as they are, as the end of the worker would. From then on every call fails.
    pub fn close(&self) {
        self.shared.close();
    }

    fn directory(&self) -> io::Result<Directory> {
        let directory = self.with_place(|place| place.directory.clone().unchecked_into());
        directory.ok_or_else(closed)
    }

    /// `None` once it is closed.
    fn with_place<T>(&self, of: impl FnOnce(&mut Place) -> T) -> Option<T> {
        with_table(|table| table.place(self.shared.place).map(of))
    }
}

impl fmt::Debug for Opfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opfs").finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn close(&self) {
        with_table(|table| {
            let Some(place) = table.places[self.place].take() else { return };
            for file in &mut table.files {
                if let Some(open) = file.take_if(|open| open.place == self.place) {
                    open.access.close();
                }
            }
            // The lock last: whoever gets it finds the others closed.
            place.lock.close();
        });
    }
}

impl Table {
    fn place(&mut self, place: usize) -> Option<&mut Place> {
        self.places.get_mut(place)?.as_mut()
    }

    /// The open files of a place.
    fn of(&mut self, place: usize) -> impl Iterator<Item = &mut Open> {
        self.files.iter_mut().flatten().filter(move |open| open.place == place)
    }

    fn find(&self, place: usize, name: FileName, standing: Standing) -> Option<usize> {
        let is_it = |open: &Open| open.place == place && open.name == name && open.standing == standing;
        self.files.iter().position(|file| file.as_ref().is_some_and(is_it))
    }

    fn wanted(&mut self, place: usize, kind: FileKind) -> Option<&mut Wanted> {
        self.place(place)?.wanted.iter_mut().find(|wanted| wanted.kind == kind)
    }

    /// A name that is to go: of a removed file, or of a spare whose number has been passed.
    fn next_to_go(&mut self, place: usize) -> Option<FileName> {
        let wanted = self.place(place)?.wanted;
        for file in &mut self.files {
            let is_passed = |open: &mut Open| {
                let of_kind = wanted.iter().find(|wanted| wanted.kind == open.name.kind);
                let is_spare = open.place == place && open.standing == Standing::Spare;
                is_spare && of_kind.is_some_and(|wanted| open.name.number < wanted.next)
            };
            if let Some(passed) = file.take_if(is_passed) {
                passed.access.close();
                self.places[place].as_mut()?.removed.push(passed.name);
            }
        }
        self.place(place)?.removed.first().copied()
    }

    fn next_to_come(&mut self, place: usize) -> Option<FileName> {
        let wanted = self.place(place)?.wanted;
        let names = wanted.iter().flat_map(|wanted| {
            let numbers = wanted.next..wanted.next.saturating_add(wanted.count as u64);
            numbers.map(|number| FileName { kind: wanted.kind, number })
        });
        // One that was removed and is still held has the name, too.
        let stands =
            |name: FileName| self.files.iter().flatten().any(|open| open.place == place && open.name == name);
        names.into_iter().find(|name| !stands(*name))
    }

    fn hold(&mut self, index: usize) -> Arc<dyn File> {
        if let Some(Some(open)) = self.files.get_mut(index) {
            open.holders += 1;
        }
        Arc::new(OpfsFile { index })
    }

    /// Empties and closes a removed file that nobody holds (I2).
    fn let_go(&mut self, index: usize) -> io::Result<()> {
        let is_over = |open: &mut Open| open.standing == Standing::Removed && open.holders == 0;
        let Some(open) = self.files.get_mut(index).and_then(|file| file.take_if(is_over)) else {
            return Ok(());
        };
        let emptied = open.access.empty();
        open.access.close();
        if let Some(place) = self.place(open.place) {
            place.removed.push(open.name);
        }
        emptied
    }
}

/// Puts something into the first free place, and tells which that was.
fn put<T>(places: &mut Vec<Option<T>>, value: T) -> usize {
    let index = places.iter().position(Option::is_none).unwrap_or(places.len());
    if index == places.len() {
        places.push(None);
    }
    places[index] = Some(value);
    index
}

impl Storage for Opfs {
    fn create(&self, _site: Site, kind: FileKind, above: u64) -> io::Result<(u64, Arc<dyn File>)> {
        let number = above.checked_add(1);
        let number =
            number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file number is left"))?;
        let name = FileName { kind, number };
        with_table(|table| {
            let place = self.shared.place;
            let wanted = table.wanted(place, kind).ok_or_else(closed)?;
            wanted.next = number;
            if let Some(index) = table.find(place, name, Standing::InSet) {
                let is_empty = |open: &Open| open.access.len().is_ok_and(|len| len == 0);
                let is_empty = table.files[index].as_ref().is_some_and(is_empty);
                return if is_empty { Ok((number, table.hold(index))) } else { Err(taken(name)) };
            }
            let Some(index) = table.find(place, name, Standing::Spare) else {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!("{name}: no spare was made yet"),
                ));
            };
            if let Some(open) = &mut table.files[index] {
                open.standing = Standing::InSet;
            }
            if let Some(wanted) = table.wanted(place, kind) {
                wanted.next = number.saturating_add(1);
            }
            Ok((number, table.hold(index)))
        })
    }

    fn open(&self, _site: Site, name: FileName) -> io::Result<Arc<dyn File>> {
        with_table(|table| {
            let index =
                table.find(self.shared.place, name, Standing::InSet).ok_or_else(|| not_found(name))?;
            Ok(table.hold(index))
        })
    }

    fn remove(&self, _site: Site, name: FileName) -> io::Result<()> {
        with_table(|table| {
            let index =
                table.find(self.shared.place, name, Standing::InSet).ok_or_else(|| not_found(name))?;
            if let Some(open) = &mut table.files[index] {
                open.standing = Standing::Removed;
            }
            table.let_go(index)
        })
    }

    fn list(&self, _site: Site) -> io::Result<Vec<FileName>> {
        let mut names: Vec<FileName> = with_table(|table| {
            table.place(self.shared.place).ok_or_else(closed)?;
            let standing = table.of(self.shared.place).filter(|open| open.standing == Standing::InSet);
            Ok::<_, io::Error>(standing.map(|open| open.name).collect())
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// There is nothing that could be done: docs/decisions/0014.
    fn sync_names(&self, _site: Site) -> io::Result<()> {
        Ok(())
    }

    /// Other tabs and workers were kept out when the directory was opened; this tells apart who shares it in here.
    fn lock(&self, _site: Site, mode: LockMode) -> Result<Lock, LockError> {
        self.shared.holders.take(mode)
    }
}

/// One open file: its number in the thread's table.
struct OpfsFile {
    index: usize,
}

impl OpfsFile {
    fn with<T>(&self, of: impl FnOnce(&Access) -> io::Result<T>) -> io::Result<T> {
        with_table(|table| {
            let open = table.files.get(self.index).and_then(Option::as_ref).ok_or_else(closed)?;
            of(&open.access).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", open.name)))
        })
    }
}

impl Drop for OpfsFile {
    fn drop(&mut self) {
        with_table(|table| {
            if let Some(Some(open)) = table.files.get_mut(self.index) {
                open.holders -= 1;
            }
            // What cannot be emptied now is found again by the next open.
            drop(table.let_go(self.index));
        });
    }
}

impl File for OpfsFile {
    /// Zeros that are written count for the quota and take their space, which the length alone does not.
    fn reserve(&self, _site: Site, len: u64) -> io::Result<()> {
        self.with(|access| {
            let mut end = access.len()?;
            while end < len {
                let count = ZEROS.len().min(usize::try_from(len - end).unwrap_or(usize::MAX));
                access.write_at(end, &ZEROS[..count])?;
                end += count as u64;
            }
            Ok(())
        })
    }

    fn append(&self, _site: Site, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|access| access.write_at(offset, bytes))
    }

    fn read_at(&self, _site: Site, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.with(|access| access.read_at(offset, buf))
    }

    fn len(&self, _site: Site) -> io::Result<u64> {
        self.with(Access::len)
    }

    fn sync(&self, _site: Site) -> io::Result<()> {
        self.with(Access::sync)
    }
}

fn with_table<T>(of: impl FnOnce(&mut Table) -> T) -> T {
    TABLE.with(|table| of(&mut table.borrow_mut()))
}

/// Opens a file, which a page that is just going may still have open.
async fn access(directory: &Directory, name: &str) -> Result<Access, OpenError> {
    let mut waited_ms = 0.0;
    loop {
        match directory.access(name).await {
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => return Err(OpenError::Io(error)),
            Err(_) if waited_ms >= LINGER_MS => return Err(OpenError::Held),
            Err(_) => {
                sleep(LOOK_MS).await;
                waited_ms += LOOK_MS;
            }
            Ok(access) => return Ok(access),
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the directory is closed")
}

fn not_found(name: FileName) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such file"))
}

fn taken(name: FileName) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{name}: stands already, and holds bytes"))
}
