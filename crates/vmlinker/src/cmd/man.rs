//! `vmlinker man` and `vmlinker completions`: what a package needs beside the program.
//!
//! Both are made of the command line's own definition, so they cannot tell of an option that is not there. The date in
//! them is that of the program's commit: the same program writes the same bytes.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Writes the manual pages into a directory: vmlinker.1, and one for each command.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// The directory; it is made if it is not there.
    dir: PathBuf,
}

/// Prints what a shell needs to complete vmlinker's commands and options.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Writes the pages of `command` and of all its subcommands.
pub fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_pages(&command, dir)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the completions of `command`.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "vmlinker", &mut text);
    io::stdout().lock().write_all(&text).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &Command, dir: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, dir)?;
    }
    let man = Man::new(command.clone())
        .date(env!("VMLINKER_DATE"))
        .source(concat!("vmlinker ", env!("CARGO_PKG_VERSION")))
        .manual("Linking Linux kernels");
    let path = dir.join(man.get_filename());
    let mut text = Vec::new();
    page(&man, command, &mut text)?;
    let written = fs::write(&path, tidy(&String::from_utf8(text)?));
    written.with_context(|| path.display().to_string())
}

/// The page without what the sections' renderer repeats, and without breaks around an empty line, of which mandoc
/// complains.
fn tidy(page: &str) -> String {
    let page = page.replace("\n.br\n\n.br\n", "\n.sp\n");
    let preamble: Vec<&str> = page.lines().take_while(|line| !line.starts_with(".TH")).collect();
    let body = page.lines().skip(preamble.len()).filter(|line| !preamble.contains(line));
    preamble.iter().copied().chain(body).flat_map(|line| [line, "\n"]).collect()
}

fn page(man: &Man, command: &Command, out: &mut dyn Write) -> io::Result<()> {
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    let mut roff = Roff::default();
    if let Some(help) = command.get_after_help() {
        roff.control("SH", ["NOTES"]).control("nf", []);
        help.to_string().lines().for_each(|line| {
            roff.text([roman(line)]);
        });
        roff.control("fi", []);
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    if name == "vmlinker" {
        ENDING.iter().for_each(|section| section.render(&mut roff));
    } else {
        roff.control("SH", ["SEE ALSO"]).text([bold("vmlinker"), roman("(1)")]);
    }
    roff.to_writer(out)
}

/// A section of terms and what they mean.
struct Section {
    name: &'static str,
    entries: &'static [(&'static str, &'static str)],
}

impl Section {
    fn render(&self, roff: &mut Roff) {
        roff.control("SH", [self.name]);
        for &(term, meaning) in self.entries {
            roff.control("TP", []).text([bold(term)]).text([roman(meaning)]);
        }
    }
}

/// What ends the program's own page: nothing in it is known to the command line's definition.
const ENDING: [Section; 4] = [
    Section {
        name: "ENVIRONMENT",
        entries: &[
            (
                "VMLINKER_FLAGS",
                "Flags of vmlinker-plan(1) for a link that make calls, for example \
                 make VMLINKER_FLAGS=\"--engine btf=kernel\".",
            ),
            (
                "MAKEFLAGS",
                "Under make, native steps use as many threads as make's jobserver grants.",
            ),
            ("MAKELEVEL", "Under make there are no progress bars."),
            ("NO_COLOR", "If it is set, vmlinker-timeline(1) uses no colours."),
        ],
    },
    Section {
        name: "FILES",
        entries: &[
            (
                ".vmlinker.json",
                "In an object tree: the record of its last link, for vmlinker-relink(1).",
            ),
            (
                ".vmlinker.sizes",
                "In an object tree: the sizes of kallsyms and BTF, with which the next link is made once.",
            ),
            (
                ".vmlinker.types",
                "In an object tree: what its units have said of types, so that the next link reads those that changed. It can be removed at any time.",
            ),
            (
                ".vmlinker.linker",
                "In an object tree: what its linker said of its version, believed while that program is the same file. It can be removed at any time.",
            ),
            (
                ".vmlinker.strings",
                "In an object tree: of which strings its debug strings were, so that the next link merges those that changed. It can be removed at any time.",
            ),
            (
                ".vmlinker.timeline",
                "In an object tree: what its last two links did and when, for vmlinker-timeline(1).",
            ),
            (
                "scripts/.link-vmlinux.sh.kernel",
                "In a source tree: the kernel's own script, while vmlinker is installed there.",
            ),
        ],
    },
    Section {
        name: "EXIT STATUS",
        entries: &[
            ("0", "Success."),
            (
                "1",
                "Failure; the message names the step, the file and the cause. There is no vmlinux then.",
            ),
            ("2", "The command line is not understood."),
        ],
    },
    Section {
        name: "EXAMPLES",
        entries: &[
            (
                "vmlinker install ~/src/linux; make -C ~/src/linux",
                "The kernel's build links by vmlinker.",
            ),
            ("vmlinker timeline -C BUILD", "Where did the time of the last link go?"),
            ("vmlinker doctor -C BUILD", "What would a link do here, and what would stop it?"),
            (
                "vmlinker relink -C BUILD --output /tmp/a; vmlinker relink -C BUILD --output /tmp/b --script; cmp /tmp/a /tmp/b",
                "The same link by vmlinker and by the kernel's own script.",
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// All that a user sees of `command`: its options and its subcommands', by the name of the page.
    fn seen(command: &Command, into: &mut Vec<(String, Vec<String>)>) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let words = shown.flat_map(|argument| {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let short = argument.get_short().map(|short| format!("-{short}"));
            [long, short]
        });
        let below: Vec<_> =
            command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
        let names = below.iter().map(|below| format!("{name}-{}(1)", below.get_name()));
        into.push((name.to_string(), words.flatten().chain(names).collect()));
        below.into_iter().for_each(|below| seen(below, into));
    }

    #[test]
    fn every_command_has_a_page_and_every_option_is_on_it() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        for dir in [&first, &second] {
            man(&ManArgs { dir: dir.clone() }, crate::Cli::command()).unwrap();
        }
        let mut all = Vec::new();
        let mut command = crate::Cli::command().disable_help_subcommand(true);
        command.build();
        seen(&command, &mut all);
        assert_eq!(all.len(), fs::read_dir(&first).unwrap().count());
        for (name, words) in all {
            let file = format!("{name}.1");
            let page = fs::read_to_string(first.join(&file)).unwrap();
            assert_eq!(page, fs::read_to_string(second.join(&file)).unwrap());
            assert_eq!(page.matches(".ds Aq").count(), 2, "{name}: the preamble, once");
            let plain = page.replace('\\', "");
            for word in words {
                assert!(plain.contains(&word), "{name}: {word}");
            }
        }
    }

    #[test]
    fn the_definition_of_the_command_line_holds() {
        crate::Cli::command().debug_assert();
        crate::cmd::pahole::Alone::command().debug_assert();
    }
}
