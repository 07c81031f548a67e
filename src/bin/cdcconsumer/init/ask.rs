//! Questions to a person at a terminal, and what is given by flags in their place.

use std::io::{self, BufRead, Write};

/// Asks on `output` and reads lines from `input`.
pub struct Asker<R, W> {
    pub input: R,
    pub output: W,
}

impl<R: BufRead, W: Write> Asker<R, W> {
    /// One line, asked for until it is given; an empty one is the default, where there is one. The end of the input is
    /// an error.
    pub fn line(&mut self, question: &str, default: Option<&str>) -> io::Result<String> {
        loop {
            match default {
                Some(default) => write!(self.output, "{question} [{default}]: ")?,
                None => write!(self.output, "{question}: ")?,
            }
            self.output.flush()?;
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match (line.trim(), default) {
                ("", Some(default)) => return Ok(default.into()),
                ("", None) => writeln!(self.output, "It is needed.")?,
                (line, _) => return Ok(line.into()),
            }
        }
    }

    /// Some of the names, by their numbers; an empty line is all of them.
    pub fn some(&mut self, question: &str, names: &[String]) -> io::Result<Vec<String>> {
        for (at, name) in names.iter().enumerate() {
            writeln!(self.output, "  {:>3}  {name}", at + 1)?;
        }
        loop {
            let line = self.line(&format!("{question}: numbers with commas, or all"), Some("all"))?;
            if line == "all" {
                return Ok(names.to_vec());
            }
            let number = |word: &str| word.trim().parse::<usize>().ok()?.checked_sub(1);
            let chosen = line.split(',').map(|word| names.get(number(word)?).cloned());
            match chosen.collect::<Option<Vec<String>>>() {
                Some(chosen) => return Ok(chosen),
                None => writeln!(self.output, "Write numbers between 1 and {}, as in 1,3.", names.len())?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<T>(
        input: &str,
        ask: impl FnOnce(&mut Asker<&[u8], &mut Vec<u8>>) -> io::Result<T>,
    ) -> (Option<T>, String) {
        let mut output = Vec::new();
        let answer = ask(&mut Asker { input: input.as_bytes(), output: &mut output });
        (answer.ok(), String::from_utf8(output).expect("text"))
    }

    #[test]
    fn a_line_is_asked_for_until_it_is_given() {
        let (answer, told) = asked("\n  a:1 \n", |asker| asker.line("Brokers", None));
        assert_eq!((answer.as_deref(), told.as_str()), (Some("a:1"), "Brokers: It is needed.\nBrokers: "));
        let (answer, told) = asked("\n", |asker| asker.line("Group", Some("g")));
        assert_eq!((answer.as_deref(), told.as_str()), (Some("g"), "Group [g]: "));
        assert_eq!(asked("", |asker| asker.line("Brokers", Some("a:1"))).0, None, "nobody is there");
    }

    #[test]
    fn names_are_chosen_by_their_numbers() {
        let names = ["a", "b", "c"].map(String::from);
        let chosen = |input: &str| asked(input, |asker| asker.some("Topics", &names)).0;
        assert_eq!(chosen("\n"), Some(names.to_vec()));
        assert_eq!(chosen("3, 1\n"), Some(vec!["c".into(), "a".into()]));
        for wrong in ["0\n2\n", "4\n2\n", "a\n2\n", "1,,2\n2\n"] {
            assert_eq!(chosen(wrong), Some(vec!["b".into()]), "{wrong}");
        }
    }
}
