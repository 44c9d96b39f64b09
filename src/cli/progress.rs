//! The bar of what takes long, for people: on a terminal, and nowhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a bar moves of which nobody knows how far it is.
const TICK: Duration = Duration::from_millis(120);

/// A bar on stderr, if that is a terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    is_counting: bool,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {msg}"));
        bar.set_prefix(what);
        Self {
            bar,
            is_counting: false,
        }
    }

    /// So much of so much is done.
    pub(super) fn show(&mut self, step: &'static str, done: u64, of: u64) {
        if !self.is_counting {
            self.bar.disable_steady_tick();
            self.bar
                .set_style(style("{prefix} {bar:40} {percent:>3} % {msg}, {eta} left"));
            self.bar.set_message(step);
            self.is_counting = true;
        }
        self.bar.set_length(of);
        self.bar.set_position(done);
    }

    /// Something is done that is not counted.
    pub(super) fn work(&mut self, step: impl Into<std::borrow::Cow<'static, str>>) {
        if self.is_counting {
            self.bar.set_style(style("{prefix} {spinner} {msg}"));
            self.is_counting = false;
        }
        self.bar.set_message(step);
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// Says something on stderr, above the bar.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
