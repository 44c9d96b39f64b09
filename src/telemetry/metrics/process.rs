//! What the system says of this process. The names are those that every Prometheus library uses.
//!
//! Read from `/proc`; where there is none, nothing is told.

use std::fs;

use super::{Metric, Page};

pub(super) fn tell(page: &mut Page) {
    if let Some(figures) = fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| figures(&stat))
    {
        let ticks = rustix::param::clock_ticks_per_second();
        let seconds = |of: u64| float(of) / float(ticks);
        page.tell(Metric::ProcessCpu, &[], seconds(figures.cpu));
        page.tell(Metric::ProcessVirtual, &[], figures.virtual_bytes);
        let page_size = u64::try_from(rustix::param::page_size()).unwrap_or(0);
        page.tell(Metric::ProcessResident, &[], figures.resident_pages * page_size);
        if let Some(boot) = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot(&stat)) {
            page.tell(Metric::ProcessStart, &[], float(boot) + seconds(figures.started));
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is this look.
        page.tell(Metric::ProcessFiles, &[], files.count().saturating_sub(1));
    }
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(most) = most {
        page.tell(Metric::ProcessMostFiles, &[], most);
    }
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    /// Of the program and of the system for it, in ticks.
    cpu: u64,
    /// After the boot, in ticks.
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

fn figures(stat: &str) -> Option<Figures> {
    // The second field is the program's name in parentheses, with whatever is in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Numbered as in proc(5), where the first behind the name is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Figures {
        cpu: field(14)? + field(15)?,
        started: field(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// When the system started, in seconds since 1970.
fn boot(stat: &str) -> Option<u64> {
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since 1970 and ticks of a process are small"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_whatever_the_program_is_called() {
        let stat = "4711 (a ) b) S 1 2 3 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 123456 99000000 2500 18446744073709551615";
        let expected = Figures {
            cpu: 200,
            started: 123_456,
            virtual_bytes: 99_000_000,
            resident_pages: 2_500,
        };
        assert_eq!(figures(stat), Some(expected));
        assert_eq!(figures("4711 (cut"), None);
        assert_eq!(
            boot("cpu 1 2\nbtime 1763800000\nprocesses 3\n"),
            Some(1_763_800_000)
        );
    }
}
