//! `sslmode` means here what it means to PostgreSQL's own clients
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>): which servers are talked to, whether
//! what is said is encrypted, and whom a certificate has to come from.

use std::path::{Path, PathBuf};

use engagement::store::{
    Store,
    postgres::{OpenError, Options, PostgresStore},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::postgres::{Durability, PrivateCluster, TestDatabase, private};

const NAME: &str = "db.example";
const OTHER_NAME: &str = "other.example";

/// An authority that signs certificates, and the file that trusts it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Lets the server show a certificate for this name.
    async fn certify(&self, server: &PrivateCluster, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let certificate = server.file("server.crt", &certificate.pem());
        let key = server.file("server.key", &key.serialize_pem());
        for (setting, value) in [
            ("ssl_cert_file", certificate.to_str().unwrap()),
            ("ssl_key_file", key.to_str().unwrap()),
            ("ssl", "on"),
        ] {
            server.set(setting, value).await;
        }
    }
}

/// What came of trying to connect.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Plain,
    Encrypted,
    Refused(String),
}

/// Connects as a node does, by this name of the server.
async fn connect(server: &PrivateCluster, database: &TestDatabase, name: &str, parameters: &str) -> Came {
    let url = format!(
        "postgres://postgres@{name}:{}/{}?hostaddr=127.0.0.1{parameters}",
        server.port(),
        database.name()
    );
    let store = match PostgresStore::open(&Options::new(url)).await {
        Ok(store) => store,
        Err(refused) => {
            assert!(matches!(refused, OpenError::Insecure { .. }), "{refused}");
            assert!(!refused.is_passing(), "trying again does not help: {refused}");
            return Came::Refused(refused.to_string());
        }
    };
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
               FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE datname = current_database() AND application_name = 'engagement'";
    let row = database.client().await.query_one(sql, &[]).await.unwrap();
    let (encrypted, plain): (i64, i64) = (row.get(0), row.get(1));
    store.close().await;
    match (encrypted, plain) {
        (0, 1..) => Came::Plain,
        (1.., 0) => Came::Encrypted,
        mixed => panic!("sessions of both kinds: {mixed:?}"),
    }
}

#[tokio::test]
async fn sslmode_decides_who_is_talked_to_and_how() {
    use Came::{Encrypted, Plain};
    let Some(server) = private(Durability::Fast).await else {
        return;
    };
    let database = server.database().await;
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (
        Authority::new(folder.path(), "ours"),
        Authority::new(folder.path(), "theirs"),
    );
    let trusting = |mode: &str, authority: &Authority| {
        format!("&sslmode={mode}&sslrootcert={}", authority.file.display())
    };
    let no_tls = || Came::Refused(String::from("server does not support TLS"));
    let unknown = || Came::Refused(String::from("invalid peer certificate: UnknownIssuer"));
    let misnamed = || Came::Refused(String::from("certificate not valid for name \"other.example\""));

    let without_tls = [
        (String::new(), Plain),
        ("&sslmode=disable".to_owned(), Plain),
        ("&sslmode=prefer".to_owned(), Plain),
        ("&sslmode=require".to_owned(), no_tls()),
        (trusting("verify-ca", &ours), no_tls()),
        (trusting("verify-full", &ours), no_tls()),
    ];
    for (parameters, expected) in without_tls {
        let came = connect(&server, &database, NAME, &parameters).await;
        assert!(is(&came, &expected), "without TLS, {parameters}: {came:?}");
    }

    ours.certify(&server, NAME).await;
    let with_tls = [
        (NAME, String::new(), Encrypted),
        (NAME, "&sslmode=disable".to_owned(), Plain),
        (OTHER_NAME, "&sslmode=prefer".to_owned(), Encrypted),
        (OTHER_NAME, "&sslmode=require".to_owned(), Encrypted),
        (OTHER_NAME, trusting("require", &ours), Encrypted),
        (NAME, trusting("require", &theirs), unknown()),
        (NAME, trusting("verify-ca", &ours), Encrypted),
        (OTHER_NAME, trusting("verify-ca", &ours), Encrypted),
        (NAME, trusting("verify-ca", &theirs), unknown()),
        (
            NAME,
            "&sslmode=verify-full&sslrootcert=system".to_owned(),
            unknown(),
        ),
        (NAME, trusting("verify-full", &ours), Encrypted),
        (OTHER_NAME, trusting("verify-full", &ours), misnamed()),
        (NAME, trusting("verify-full", &theirs), unknown()),
    ];
    for (name, parameters, expected) in with_tls {
        let came = connect(&server, &database, name, &parameters).await;
        assert!(is(&came, &expected), "{name}{parameters}: {came:?}");
    }
}

/// Whether it came as expected; of a refusal, whether it says so.
fn is(came: &Came, expected: &Came) -> bool {
    match (came, expected) {
        (Came::Refused(sentence), Came::Refused(part)) => sentence.contains(part.as_str()),
        (came, expected) => came == expected,
    }
}
