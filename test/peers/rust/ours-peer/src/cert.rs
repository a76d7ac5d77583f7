//! Writes a development certificate that every implementation accepts: P-256, for `localhost` and loopback addresses.

use std::{
    error::Error,
    fs,
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use peer_common::SERVER_NAME;
use qcrypto::development::{DevelopmentOptions, KeyKind, self_signed};

/// Days the certificate is valid.
const DAYS: u32 = 14;

/// `cert --out DIRECTORY`: writes `cert.pem` and `key.pem` there.
pub fn write(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let (Some(flag), Some(directory), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("cert --out DIRECTORY");
        return ExitCode::from(2);
    };
    if flag != "--out" {
        eprintln!("unknown option {flag}");
        return ExitCode::from(2);
    }
    match make(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn make(directory: &Path) -> Result<(), Box<dyn Error>> {
    let certificate = self_signed(&DevelopmentOptions {
        names: [SERVER_NAME, "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        kind: KeyKind::P256,
        days: DAYS,
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH)?,
    })?;
    fs::write(directory.join("cert.pem"), certificate.cert_pem)?;
    fs::write(directory.join("key.pem"), certificate.key_pem)?;
    Ok(())
}
