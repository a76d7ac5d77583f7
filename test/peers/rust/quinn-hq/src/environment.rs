//! What the runner says.

use std::{
    env,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

/// The side of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Fetches files.
    Client,
    /// Offers them.
    Server,
}

/// The environment of one run.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Which side we are.
    pub role: Role,
    /// Name of the case.
    pub case: String,
    /// URLs to fetch.
    pub requests: Vec<Request>,
    /// Folder of `cert.pem` and `priv.key`.
    pub certs: PathBuf,
    /// Files offered.
    pub www: PathBuf,
    /// Where downloads go.
    pub downloads: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Addresses to offer as preferred.
    pub preferred: Vec<SocketAddr>,
}

/// One URL.
#[derive(Clone, Debug)]
pub struct Request {
    /// The server; names are not looked up here.
    pub server: SocketAddr,
    /// What to ask for, with its slash.
    pub path: String,
}

impl Environment {
    /// Reads it.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub fn read() -> Result<Self, String> {
        let say = |name: &str, otherwise: &str| {
            env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| otherwise.to_owned())
        };
        let role = match say("ROLE", "").as_str() {
            "client" => Role::Client,
            "server" => Role::Server,
            other => return Err(format!("ROLE is '{other}'")),
        };
        let requests = say("REQUESTS", "").split_whitespace().map(Request::parse).collect::<Result<Vec<_>, _>>()?;
        if role == Role::Client && requests.is_empty() {
            return Err("REQUESTS is empty".to_owned());
        }
        let port = say("PORT", "443").parse::<u16>().map_err(|error| format!("PORT: {error}"))?;
        let host = match say("HOST", "").as_str() {
            "" => Ipv6Addr::UNSPECIFIED.into(),
            text => text.parse::<IpAddr>().map_err(|error| format!("HOST: {error}"))?,
        };
        let preferred = say("PREFERRED_ADDRESS", "");
        let preferred = preferred.split_whitespace().map(|text| text.parse().map_err(|error| format!("{text}: {error}")));
        Ok(Self {
            role,
            case: say("TESTCASE", ""),
            requests,
            certs: say("CERTS", "/certs").into(),
            www: say("WWW", "/www").into(),
            downloads: say("DOWNLOADS", "/downloads").into(),
            listen: (host, port).into(),
            preferred: preferred.collect::<Result<_, _>>()?,
        })
    }
}

impl Request {
    /// `https://ip:port/path`.
    fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").ok_or_else(|| format!("{url} is no https URL"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let server = authority.parse().map_err(|error| format!("{authority}: {error}"))?;
        Ok(Self { server, path: path.to_owned() })
    }

    /// Name of the file, if it asks for one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.path.rsplit('/').next().filter(|name| !name.is_empty())
    }
}
