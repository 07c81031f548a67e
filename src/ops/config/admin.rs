//! `[consumer.admin]` and `[cdcconsumer.admin]`: where a binary serves its page, metrics and status.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ops::config::Secret;

/// Where, and what allows to change something.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port, or `"off"`. When it is not given: `127.0.0.1:9401` for `consumer`, `127.0.0.1:9402` for
    /// `cdcconsumer`, or any free port of this machine when that one is taken.
    pub address: Option<String>,
    /// Whoever asks for a change has to have it. Without one nobody can change anything.
    pub token: Option<Secret>,
    /// A file that holds the token, in its place.
    pub token_file: Option<PathBuf>,
}

/// What to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    Off,
    /// This address; one that is taken is a refusal.
    At(SocketAddr),
    /// This port of this machine alone, or any that is free when another process has it.
    Near(SocketAddr),
}

/// What turns it off.
const OFF: &str = "off";
/// Shorter ones are guessed.
const TOKEN_BYTES_MIN: usize = 16;

impl Admin {
    /// What to listen on, with the port of a binary that is told nothing.
    pub fn listen(&self, port_default: u16) -> Listen {
        match self.address.as_deref() {
            None => Listen::Near(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port_default)),
            Some(OFF) => Listen::Off,
            // One that is none was refused with the configuration.
            Some(address) => address.parse().map_or(Listen::Off, Listen::At),
        }
    }

    /// What cannot be, after the name of the section.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let address = self.address.as_deref().filter(|address| *address != OFF);
        let address = address.filter(|address| address.parse::<SocketAddr>().is_err()).map(|address| {
            format!("address = \"{address}\": give an address and a port as in \"127.0.0.1:9402\" or \"[::1]:9402\", or \"off\"")
        });
        let short = self.token.as_ref().is_some_and(|token| token.reveal().len() < TOKEN_BYTES_MIN);
        let token = short.then(|| {
            format!("token: it is shorter than {TOKEN_BYTES_MIN} characters: give a longer one (openssl rand -hex 32)")
        });
        address.into_iter().chain(token)
    }

    pub(super) fn warning(&self, name: &str) -> Option<String> {
        let address: SocketAddr = self.address.as_deref()?.parse().ok()?;
        (!address.ip().is_loopback()).then(|| {
            format!(
                "{name}.admin.address = \"{address}\": whoever reaches it reads the status, the metrics and the \
                 configuration without its secrets, on a connection without TLS"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Admin {
        toml::from_str(text).expect("it can be read")
    }

    #[test]
    fn it_listens_on_this_machine_alone_unless_it_is_told_otherwise() {
        let near: SocketAddr = "127.0.0.1:9402".parse().expect("an address");
        assert_eq!(read("").listen(9402), Listen::Near(near));
        assert_eq!(read("address = \"off\"").listen(9402), Listen::Off);
        let everywhere = read("address = \"0.0.0.0:80\"");
        assert_eq!(everywhere.listen(9402), Listen::At("0.0.0.0:80".parse().expect("an address")));
        assert!(everywhere.warning("consumer").is_some_and(|warning| warning.starts_with("consumer.admin.address")));
        assert_eq!(read("address = \"[::1]:0\"").warning("consumer"), None);
    }

    #[test]
    fn what_cannot_be_is_said_and_no_token_is_repeated() {
        let problems = |text: &str| read(text).problems().collect::<Vec<_>>().join("\n");
        assert_eq!(problems("address = \"127.0.0.1:0\"\ntoken = \"0123456789abcdef\""), "");
        insta::assert_snapshot!(problems("address = \"localhost:9402\"\ntoken = \"hunter2\""), @r#"
        address = "localhost:9402": give an address and a port as in "127.0.0.1:9402" or "[::1]:9402", or "off"
        token: it is shorter than 16 characters: give a longer one (openssl rand -hex 32)
        "#);
    }
}
