//! A terminal, with somebody who types and reads.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{Builder, SOON, Server, eventually};

/// A program at a terminal. Its stderr is kept apart, see [`Terminal::told`].
pub(super) struct Terminal {
    keyboard: File,
    shown: Arc<Mutex<String>>,
    pub(super) program: Server,
}

impl Terminal {
    pub(super) fn start(builder: Builder) -> Self {
        let keyboard = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal"));
        grantpt(&keyboard).expect("a terminal");
        unlockpt(&keyboard).expect("a terminal");
        let name = ptsname(&keyboard, Vec::new()).expect("a terminal's name");
        let other_end = || {
            let opened = OpenOptions::new()
                .read(true)
                .write(true)
                .open(name.to_str().expect("a terminal's name"));
            Stdio::from(opened.expect("a terminal's other end"))
        };
        let program = builder.stdin(other_end()).launch_into(other_end());
        let shown = Arc::new(Mutex::new(String::new()));
        let mut screen = keyboard.try_clone().expect("a terminal");
        let of_thread = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Ends with an error once nobody holds the other end.
            while let Ok(length @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                of_thread.lock().expect("what is shown").push_str(&text);
            }
        });
        Self {
            keyboard,
            shown,
            program,
        }
    }

    pub(super) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a key");
    }

    /// What the terminal shows: what was typed, and stdout.
    pub(super) fn screen(&self) -> String {
        self.shown.lock().expect("what is shown").replace("\r\n", "\n")
    }

    /// What was said on stderr.
    pub(super) fn told(&self) -> String {
        self.program.stderr()
    }

    pub(super) async fn shows(&self, what: &str) {
        eventually(what, SOON, async || self.screen().contains(what).then_some(())).await;
    }

    pub(super) async fn tells(&self, what: &str) {
        eventually(what, SOON, async || self.told().contains(what).then_some(())).await;
    }

    /// Waits until somebody is asked for a line so many times.
    pub(super) async fn prompts(&self, times: usize) {
        eventually("a prompt", SOON, async || {
            (self.told().matches("> ").count() >= times).then_some(())
        })
        .await;
    }

    pub(super) async fn exit_code(&mut self) -> Option<i32> {
        self.program.wait_exit(SOON).await.code()
    }
}
