//! TLS to a provider: who is believed.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use super::{ask, configured};
use crate::support::upstream::Upstream;

const ANSWER: &str = r#"{"choices":[{"message":{"content":"in private"},"finish_reason":"stop"}]}"#;

/// A server for `localhost` that gives each caller who believes it the same answer, and its certificate in PEM.
fn server() -> (SocketAddr, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a server's configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = Stream::new(&mut session, &mut socket);
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
                let _ = write!(stream, "{head}content-length: {}\r\n\r\n{ANSWER}", ANSWER.len());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (address, made.cert.pem())
}

#[tokio::test]
async fn a_server_is_believed_if_the_named_authority_knows_it_under_its_name() {
    let home = tempfile::tempdir().expect("a folder");
    let (address, own) = server();
    let (_, other) = server();
    let ask_with = async |authority: &str, host: &str| {
        let file = home.path().join("ca.pem");
        std::fs::write(&file, authority).expect("a file");
        let url = format!("https://{host}:{}/v1", address.port());
        let providers = configured(&format!(
            "base_url = '{url}'\nmodels = ['m']\nstream = false\nca_file = '{}'",
            file.display()
        ));
        let asked = ask(&providers, "hello").await;
        (asked.outcome(), asked.text)
    };
    assert_eq!(
        ask_with(&own, "localhost").await,
        ("ok".to_owned(), "in private".to_owned())
    );
    for (authority, host) in [(&other, "localhost"), (&own, "127.0.0.1")] {
        assert_eq!(
            ask_with(authority, host).await.0,
            "retry provider_unreachable",
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_not_spoken_to_without() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("ca.pem");
    std::fs::write(&file, server().1).expect("a file");
    let upstream = Upstream::start().await;
    let url = upstream.openai_url().replace("http://", "https://");
    let lines = format!(
        "base_url = '{url}'\nmodels = ['m']\nca_file = '{}'",
        file.display()
    );
    assert_eq!(
        ask(&configured(&lines), "hello").await.outcome(),
        "retry provider_unreachable"
    );
    assert_eq!(upstream.calls(), 0);
}
