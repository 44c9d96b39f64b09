//! The command line, described by its own definitions: for the documents, for shells and for `man`.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Args, Command, CommandFactory, ValueHint};
use clap_complete::Shell;

use super::{Cli, CommandError, cannot_write};
use crate::config::Settings;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For this shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write a page for each command into this directory, instead of the first to stdout
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
}

/// What a shell reads to complete commands, flags and their values.
pub(super) fn completions(completions: &Completions) -> Result<(), CommandError> {
    // Into memory first: the crate panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Cli::command(), "engagement", &mut script);
    io::stdout()
        .write_all(&script)
        .map_err(|cause| cannot_write(&cause))
}

/// The manual.
pub(super) fn man(man: &Man) -> Result<(), CommandError> {
    match &man.directory {
        None => clap_mangen::Man::new(Cli::command())
            .render(&mut io::stdout())
            .map_err(|cause| cannot_write(&cause)),
        Some(directory) => pages(directory).map_err(|cause| CommandError {
            message: format!("cannot write into {}: {cause}", directory.display()),
            hint: "give a directory that this user may write to".to_owned(),
            code: 1,
        }),
    }
}

/// The settings are on the first page; on each of the others they would hide what is its own.
fn pages(directory: &Path) -> io::Result<()> {
    let write = |command: Command, name: String| {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).title(&name).render(&mut page)?;
        std::fs::write(directory.join(format!("{name}.1")), page)
    };
    std::fs::create_dir_all(directory)?;
    write(Cli::command(), "engagement".to_owned())?;
    for (path, command) in all_commands() {
        let name = format!("engagement-{}", path.join("-"));
        write(command.display_name(name.clone()), name)?;
    }
    Ok(())
}

/// Every command below the program itself, with the words that lead to it. Nobody is told twice of what all of them take.
fn all_commands() -> Vec<(Vec<String>, Command)> {
    fn below(command: &Command, words: &[String], found: &mut Vec<(Vec<String>, Command)>) {
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let mut words = words.to_vec();
            words.push(command.get_name().to_owned());
            found.push((
                words.clone(),
                command
                    .clone()
                    .bin_name(format!("engagement {}", words.join(" "))),
            ));
            below(command, &words, found);
        }
    }
    let mut found = Vec::new();
    below(&Cli::command(), &[], &mut found);
    found
}

/// Every setting, as a table in Markdown.
pub fn settings() -> String {
    let mut table =
        "| Setting | Environment | Flag | Default | Meaning |\n|---|---|---|---|---|\n".to_owned();
    let rows = Settings::NAMES
        .iter()
        .zip(Settings::VARIABLES)
        .zip(Settings::DEFAULTS)
        .zip(Settings::meanings());
    for (((name, variable), default), meaning) in rows {
        let flag = name.replace('_', "-");
        // What is a value and not a word for one.
        let is_value = !default.contains(' ') && !["none", "any"].contains(default);
        let default = if is_value {
            format!("`{default}`")
        } else {
            (*default).to_owned()
        };
        let _ = writeln!(
            table,
            "| `{name}` | `{variable}` | `--{flag}` | {default} | {meaning} |"
        );
    }
    table
}

/// Every command with its arguments and options, in Markdown.
pub fn commands() -> String {
    let mut text = String::new();
    for (words, command) in all_commands() {
        let arguments: Vec<_> = command.get_arguments().filter(|arg| !arg.is_hide_set()).collect();
        let usage: String = arguments
            .iter()
            .filter(|argument| argument.is_positional())
            .map(|argument| {
                let value = value(argument);
                if argument.is_required_set() {
                    format!(" {value}")
                } else {
                    format!(" [{value}]")
                }
            })
            .collect();
        let is_group = command.has_subcommands();
        let tail = if is_group { " COMMAND".to_owned() } else { usage };
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(
            text,
            "### `engagement {}{tail}`\n\n{}\n",
            words.join(" "),
            sentence(&about)
        );
        if !is_group && !arguments.is_empty() {
            text.push_str("| | |\n|---|---|\n");
            for argument in arguments {
                let _ = writeln!(text, "| {} | {} |", spelled(argument), meaning(argument));
            }
            text.push('\n');
        }
    }
    text.trim_end().to_owned() + "\n"
}

fn value(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default();
    names
        .first()
        .map_or_else(|| argument.get_id().as_str().to_uppercase(), ToString::to_string)
}

fn spelled(argument: &Arg) -> String {
    let Some(long) = argument.get_long() else {
        return format!("`{}`", value(argument));
    };
    match argument.get_action() {
        ArgAction::SetTrue => format!("`--{long}`"),
        _ => format!("`--{long} {}`", value(argument)),
    }
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    // Where the text names no default, the definition may have one.
    let defaults = argument.get_default_values();
    let default = match defaults.first() {
        Some(default) if argument.get_action().takes_values() => {
            format!(" Default: `{}`.", default.to_string_lossy())
        }
        _ => String::new(),
    };
    format!(
        "{}{default}",
        sentence(&help.replace("\n\n", " ").replace('|', "\\|"))
    )
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with('.') {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("share/man1");
        pages(&directory).unwrap();
        let page = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
        assert!(page("engagement.1").contains("ENGAGEMENT_LISTEN"));
        assert!(page("engagement-keys-create.1").contains("engagement keys create"));
        assert!(!page("engagement-keys-create.1").contains("ENGAGEMENT_LISTEN"));
    }

    #[test]
    fn every_shell_completes_commands_and_settings() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "engagement", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("rotate"), "{shell}");
            assert!(script.contains("log-format"), "{shell}");
        }
    }
}
