//! TLS by rustls, as strict as `sslmode` says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::files::home;
use super::params::Params;
use super::settings::{Settings, SslMode};
use crate::exit::Failure;

/// What rustls is told for these settings.
pub(super) fn config(settings: &Settings) -> Result<ClientConfig, Failure> {
    let params = &settings.params;
    let provider = Arc::new(ring::default_provider());
    let roots = roots(params, settings.ssl_mode)?;
    let verifier = Verifier::new(&provider, roots, settings.ssl_mode)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::config(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_certificate(params)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| Failure::config(format!("the client certificate: {error}")))?,
        None => builder.with_no_client_auth(),
    };
    if params.get("sslnegotiation") == Some("direct") {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

fn file(params: &Params, keyword: &str, default: &str) -> Option<PathBuf> {
    if let Some(file) = params.get(keyword) {
        Some(PathBuf::from(file))
    } else {
        let file = home()?.join(".postgresql").join(default);
        file.exists().then_some(file)
    }
}

/// The certificates that are trusted. As in libpq, a file that is there is used in every mode.
fn roots(params: &Params, mode: SslMode) -> Result<Option<RootCertStore>, Failure> {
    let mut roots = RootCertStore::empty();
    if params.get("sslrootcert") == Some("system") {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Failure::config("this system has no root certificates"));
        }
        return Ok(Some(roots));
    }
    let Some(path) = file(params, "sslrootcert", "root.crt").filter(|path| path.exists()) else {
        if mode >= SslMode::VerifyCa {
            return Err(Failure::config(
                "there is no root certificate to verify the server's with: set `sslrootcert`, or \
                 PGSSLROOTCERT, to a file or to `system`",
            ));
        }
        return Ok(None);
    };
    for certificate in certificates(&path)? {
        roots
            .add(certificate)
            .map_err(|error| unreadable(&path, &error))?;
    }
    Ok(Some(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(unreadable(path, &"it has no certificate")),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::config(format!("{} cannot be used: {why}", path.display()))
}

type ClientCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client_certificate(params: &Params) -> Result<Option<ClientCertificate>, Failure> {
    let Some(chain) = file(params, "sslcert", "postgresql.crt") else {
        return Ok(None);
    };
    let key = file(params, "sslkey", "postgresql.key").ok_or_else(|| {
        Failure::config("there is a client certificate, and no key: set `sslkey`")
    })?;
    let chain = certificates(&chain)?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&key, &error))?;
    Ok(Some((chain, key)))
}

/// Verifies as much as the mode asks for.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Without it, any certificate will do, as libpq has it.
    chain: Option<Arc<WebPkiServerVerifier>>,
    name_too: bool,
}

impl Verifier {
    fn new(
        provider: &Arc<CryptoProvider>,
        roots: Option<RootCertStore>,
        mode: SslMode,
    ) -> Result<Self, Failure> {
        let chain = roots.map(|roots| {
            let provider = Arc::clone(provider);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()
        });
        Ok(Self {
            provider: Arc::clone(provider),
            chain: chain
                .transpose()
                .map_err(|error| Failure::config(error.to_string()))?,
            name_too: mode == SslMode::VerifyFull,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            // The name is what is looked at last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name_too => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
