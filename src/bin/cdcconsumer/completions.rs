//! `cdcconsumer completions`: scripts that let a shell complete the command line.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Prints the completion script of a shell, made of the command line itself. It reads no configuration.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  cdcconsumer completions bash > ~/.local/share/bash-completion/completions/cdcconsumer
  cdcconsumer completions zsh > ~/.zfunc/_cdcconsumer      # with fpath+=~/.zfunc before compinit
  cdcconsumer completions fish > ~/.config/fish/completions/cdcconsumer.fish"
)]
pub struct Flags {
    shell: Shell,
}

/// Prints the script.
pub fn run(asked: &Flags) {
    // Who closes standard output early has read enough.
    let _ = std::io::stdout().write_all(&script(asked.shell));
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::Flags::command(), "cdcconsumer", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_its_flags_can_be_completed() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).expect("scripts are text");
            for part in crate::Flags::command().get_subcommands().map(|command| command.get_name().to_string()) {
                assert!(script.contains(&part), "{shell}: {part}");
            }
            assert!(script.contains("to-beginning") && script.contains("redrive"), "{shell}");
        }
    }

    /// Somebody who asks a command for help gets an example, of every command of this binary.
    #[test]
    fn the_help_of_every_command_has_examples() {
        fn lacking(command: &clap::Command, lacks: &mut Vec<String>) {
            if !command.get_after_help().is_some_and(|help| help.to_string().contains("Examples:")) {
                lacks.push(command.get_name().to_string());
            }
            command.get_subcommands().for_each(|command| lacking(command, lacks));
        }
        let mut lacks = Vec::new();
        lacking(&crate::Flags::command(), &mut lacks);
        assert!(lacks.is_empty(), "no examples in the help of {}", lacks.join(", "));
    }

    #[test]
    fn the_command_line_has_no_contradiction() {
        crate::Flags::command().debug_assert();
    }
}
