use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::folder::Folder;
use crate::programs::Programs;
use crate::supervisor::Supervisor;

/// A new server's data, never started. Servers begin as copies of it, because `initdb` takes ten
/// times as long as a copy.
#[derive(Debug)]
struct Template {
    /// Removes it when this process ends.
    _supervisor: Supervisor,
    data: PathBuf,
}

/// The data folder to copy for a server of these programs. The first call makes it.
pub(crate) fn data(programs: &Programs) -> Result<PathBuf, Error> {
    static MADE: Mutex<BTreeMap<PathBuf, Template>> = Mutex::new(BTreeMap::new());

    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = made.get(&programs.folder) {
        return Ok(template.data.clone());
    }
    let folder = Folder::create()?;
    let mut supervisor = Supervisor::of_server(programs, &folder, "")?;
    supervisor.carry_out("initialize", &folder)?;
    let data = folder.path.join("data");
    let template = Template {
        _supervisor: supervisor,
        data: data.clone(),
    };
    made.insert(programs.folder.clone(), template);
    Ok(data)
}
