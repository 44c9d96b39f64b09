//! Secrets in answers that are remembered: locked with what only the client has, so that whoever reads the database learns
//! nothing, and the client that asks again does.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What a request shows that is nowhere stored: its API key and its `Idempotency-Key`, both as they were understood, so that
/// another way of writing them changes nothing.
#[derive(Clone)]
pub(super) struct Lock(Zeroizing<Vec<u8>>);

impl Lock {
    pub(super) fn of(credentials: &[u8], idempotency_key: &[u8]) -> Self {
        // No header has a zero byte in it.
        Self(Zeroizing::new([credentials, idempotency_key].join(&0)))
    }

    /// Locks a secret. `name` is another one for each secret, and no secret.
    pub(super) fn seal(&self, name: &str, secret: &str) -> Option<String> {
        let mut sealed = secret.as_bytes().to_vec();
        let key = self.key(name)?;
        key.seal_in_place_append_tag(nonce(name), Aad::empty(), &mut sealed)
            .ok()?;
        Some(STANDARD_NO_PAD.encode(sealed))
    }

    /// The secret; `None` for whoever shows something else.
    pub(super) fn open(&self, name: &str, sealed: &str) -> Option<Zeroizing<String>> {
        let mut sealed = STANDARD_NO_PAD.decode(sealed).ok()?;
        let key = self.key(name)?;
        let secret = key.open_in_place(nonce(name), Aad::empty(), &mut sealed).ok()?;
        String::from_utf8(secret.to_vec()).ok().map(Zeroizing::new)
    }

    /// A key of its own for each name, so that no two secrets are under the same one.
    fn key(&self, name: &str) -> Option<LessSafeKey> {
        let drawn = Salt::new(HKDF_SHA256, b"engagement answers").extract(&self.0);
        let about = [name.as_bytes()];
        let key = drawn.expand(&about, &CHACHA20_POLY1305).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

fn nonce(name: &str) -> Nonce {
    let digest: [u8; 32] = Sha256::digest(name).into();
    Nonce::assume_unique_for_key(std::array::from_fn::<u8, NONCE_LEN, _>(|at| {
        digest.get(at).copied().unwrap_or_default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_the_same_gets_the_secret_and_nobody_else() {
        let sealed = Lock::of(b"k", b"1").seal("a", "secret").unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(
            Lock::of(b"k", b"1").open("a", &sealed).unwrap().as_str(),
            "secret"
        );
        for other in [Lock::of(b"j", b"1"), Lock::of(b"k", b"2")] {
            assert!(other.open("a", &sealed).is_none());
        }
        assert!(Lock::of(b"k", b"1").open("b", &sealed).is_none());
        assert!(Lock::of(b"k", b"1").open("a", "").is_none());
        assert_ne!(Some(sealed), Lock::of(b"k", b"1").seal("b", "secret"));
    }
}
