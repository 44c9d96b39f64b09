//! TLS to others, and whom to believe.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why there is no TLS: what is wrong, and what to do.
#[derive(Debug)]
pub enum Problem {
    /// With the file of authorities.
    Authorities(String),
    /// With what it takes where there is no such file.
    System(String),
}

/// What to do about it.
pub const HINT: &str = "give a file of certificates in PEM: ca_file = \"/etc/ssl/certs/ca-certificates.crt\"";

/// What TLS needs to reach this scheme; no authorities are looked for where it asks for no TLS. With a file, only those in it
/// are believed.
pub fn config(scheme: &str, ca_file: Option<&Path>) -> Result<ClientConfig, Problem> {
    let roots = if scheme == "https" {
        roots(ca_file)?
    } else {
        RootCertStore::empty()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::System(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whom to believe: those in the file, or else those whom the system trusts.
pub fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let failed =
                |cause: String| Problem::Authorities(format!("cannot read {}: {cause}", path.display()));
            let pem = fs::read(path).map_err(|cause| failed(cause.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|cause| failed(cause.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|cause| failed(cause.to_string()))?;
            }
            if roots.is_empty() {
                return Err(failed("it holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(Problem::System(
                    "is https, but this system trusts no authority".to_owned(),
                ));
            }
        }
    }
    Ok(roots)
}
