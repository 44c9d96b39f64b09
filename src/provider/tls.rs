//! TLS to a provider, and whom to believe.

use std::{fs, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::config::{ConfigError, ProviderSettings};

/// What TLS needs; no authorities are looked for where the URL asks for no TLS.
pub(super) fn config(settings: &ProviderSettings) -> Result<ClientConfig, ConfigError> {
    let roots = if settings.base_url.scheme() == "https" {
        roots(settings)?
    } else {
        RootCertStore::empty()
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(settings, "base_url", &error.to_string(), "use http"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots(settings: &ProviderSettings) -> Result<RootCertStore, ConfigError> {
    const HINT: &str = "give a file of certificates in PEM: ca_file = \"/etc/ssl/certs/ca-certificates.crt\"";
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            let failed = |cause: String| {
                wrong(
                    settings,
                    "ca_file",
                    &format!("cannot read {}: {cause}", path.display()),
                    HINT,
                )
            };
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
                return Err(wrong(
                    settings,
                    "base_url",
                    "is https, but this system trusts no authority",
                    HINT,
                ));
            }
        }
    }
    Ok(roots)
}

fn wrong(settings: &ProviderSettings, key: &str, problem: &str, hint: &str) -> ConfigError {
    ConfigError::new(format!("providers.{}.{key}", settings.name), problem, hint)
}
