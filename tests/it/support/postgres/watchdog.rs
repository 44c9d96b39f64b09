//! Who cleans up after a test process, however that ended.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process that waits for the end of its owner: then it stops the server in a folder and removes the folder.
///
/// Statics are never dropped and SIGKILL runs no destructor, so nothing in the owner could do it. Dropping this does it
/// at once.
pub(crate) struct Watchdog(Child);

impl Watchdog {
    pub(crate) fn over(folder: &Path) -> Self {
        let script = include_str!("watchdog.sh");
        let child = Command::new("sh")
            .args(["-c", script, "watchdog"])
            .arg(folder)
            .current_dir("/")
            // A ctrl-c at the terminal ends the owner, but not this.
            .process_group(0)
            // The owner holds the other end of this pipe and never writes: the kernel closes it, whatever happens.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Self(child)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
