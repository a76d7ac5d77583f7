//! Writes the certificate that every program of the benchmarks uses.

use std::{
    error::Error,
    fs,
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use bench_common::settings::SERVER_NAME;
use qcrypto::development::{DevelopmentOptions, KeyKind, self_signed};

/// `cert DIRECTORY`: writes `cert.pem` and `key.pem` there.
pub fn write(directory: Option<String>) -> ExitCode {
    let Some(directory) = directory else {
        eprintln!("cert DIRECTORY");
        return ExitCode::from(2);
    };
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
        names: vec![SERVER_NAME.to_owned()],
        kind: KeyKind::P256,
        days: 1,
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH)?,
    })?;
    fs::write(directory.join("cert.pem"), certificate.cert_pem)?;
    fs::write(directory.join("key.pem"), certificate.key_pem)?;
    Ok(())
}
